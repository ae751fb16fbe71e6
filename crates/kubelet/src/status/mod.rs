//! The status a pod has in the API: pure, from the pod, the runtime's view, probe results and what was said before.

mod conditions;
pub mod containers;
pub mod patch;
mod phase;

use crate::machine::Input;
use crate::machine::memory::{End, Memory};
use crate::machine::view::PodView;
use crate::pod::{PodExt, plain};
use crate::spec::resources;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, HostIP, PodCondition, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What a pod's resize conditions say; both None when nothing is being resized.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resize {
    /// `Deferred` or `Infeasible`, and why.
    pub pending: Option<(String, String)>,
    /// Under way; the message of the last failed attempt, if any.
    pub in_progress: Option<String>,
}

/// The pod's status now. `terminal`: nothing of the pod runs and nothing will.
pub fn generate(input: &Input<'_>, memory: &Memory, terminal: bool) -> PodStatus {
    let old = &memory.status;
    let pod = input.pod;
    let ephemerals: Vec<Container> = pod.ephemerals().iter().map(plain).collect();
    let one =
        |list: &[Container], old: Option<&_>, init| containers::statuses(input, memory, list, old, init);
    let mut mains = one(pod.mains(), old.container_statuses.as_ref(), false);
    let mut inits = one(pod.inits(), old.init_container_statuses.as_ref(), true);
    let ephemeral = one(&ephemerals, old.ephemeral_container_statuses.as_ref(), false);
    mains.sort_by(|a, b| a.name.cmp(&b.name));
    if terminal && matches!(memory.end, Some(End::Deleted | End::Failed { .. })) {
        containers::close(pod, &mut mains, &mut inits);
    }
    let raw = phase::of(pod, &mains, &inits, terminal);
    let (phase, reason, message) = settle(input, memory, raw, terminal);

    let mut status = PodStatus {
        phase: Some(phase),
        reason,
        message,
        qos_class: Some(resources::qos_class(pod).to_owned()),
        observed_generation: pod.metadata.generation,
        start_time: old
            .start_time
            .clone()
            .or_else(|| Some(Time(whole_second(input.now)))),
        container_statuses: Some(mains),
        init_container_statuses: Some(inits).filter(|l| !l.is_empty()),
        ephemeral_container_statuses: Some(ephemeral).filter(|l| !l.is_empty()),
        // Written by others; ours to keep as they are.
        nominated_node_name: old.nominated_node_name.clone(),
        resource_claim_statuses: old.resource_claim_statuses.clone(),
        extended_resource_claim_status: old.extended_resource_claim_status.clone(),
        resize: old.resize.clone(),
        ..PodStatus::default()
    };
    addresses(input, old, &mut status);
    status.resources.clone_from(&pod.spec().resources);
    status.allocated_resources = Some(resources::pod_total(pod, false)).filter(|r| !r.is_empty());
    let conditions = conditions::all(input, memory, &status);
    status.conditions = Some(conditions);
    status
}

/// metav1.Time has whole seconds on the wire: finer times would look like changes.
pub fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// The phase that may be told: terminal phases stay, and are told only when nothing runs any more.
fn settle(
    input: &Input<'_>,
    memory: &Memory,
    raw: &'static str,
    terminal: bool,
) -> (String, Option<String>, Option<String>) {
    let old = &memory.status;
    let known = |p: &str| matches!(p, "Succeeded" | "Failed");
    let said = [old.phase.as_deref().unwrap_or_default(), input.pod.phase()];
    if let Some(phase) = said.into_iter().find(|p| known(p)) {
        return (phase.to_owned(), old.reason.clone(), old.message.clone());
    }
    let mut phase = raw;
    let (mut reason, mut message) = (None, None);
    if let Some(End::Failed {
        reason: r,
        message: m,
    }) = &memory.end
    {
        phase = "Failed";
        reason = Some(r.clone());
        message = Some(m.clone());
    } else if old.phase.as_deref() == Some(phase) {
        (reason, message) = (old.reason.clone(), old.message.clone());
    }
    if known(phase) && !terminal && memory.busy(input.view) {
        let before = old
            .phase
            .clone()
            .filter(|p| !p.is_empty())
            .unwrap_or_else(|| "Pending".into());
        return (before, old.reason.clone(), old.message.clone());
    }
    if terminal && !known(phase) && matches!(memory.end, Some(End::Deleted)) {
        phase = "Failed";
    }
    (phase.to_owned(), reason, message)
}

fn addresses(input: &Input<'_>, old: &PodStatus, status: &mut PodStatus) {
    let hosts = &input.node.host_ips;
    status.host_ip = hosts.first().cloned();
    status.host_ips = Some(hosts.iter().map(|ip| HostIP { ip: ip.clone() }).collect());
    let ips = pod_ips(input.pod.host_network(), input.view, hosts);
    if ips.is_empty() && !input.view.sandboxes.iter().any(|s| s.ready) {
        // The sandbox is gone: clients still want to know where the pod was.
        status.pod_ip = old.pod_ip.clone();
        status.pod_ips = old.pod_ips.clone();
    } else if !ips.is_empty() {
        status.pod_ip = ips.first().cloned();
        status.pod_ips = Some(ips.into_iter().map(|ip| PodIP { ip }).collect());
    }
}

/// A pod's addresses: its newest sandbox's, or the node's.
pub fn pod_ips(host_network: bool, view: &PodView, hosts: &[String]) -> Vec<String> {
    if host_network {
        return hosts.to_vec();
    }
    view.sandboxes.first().map(|s| s.ips.clone()).unwrap_or_default()
}

/// The condition of that type.
pub fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == kind)
}
