//! A pod, parsed for scheduling.

use super::node::HostPort;
use super::resources::Resources;
use super::terms::{NodeTerms, PodTerm, SpreadConstraint};
use k8s_openapi::api::core::v1::{Affinity, Pod, PodAffinityTerm, PodSpec, Toleration, WeightedPodAffinityTerm};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the plugins ask of a pod. Made once for each change of the pod.
#[derive(Debug)]
pub struct PodInfo {
    pub pod: Arc<Pod>,
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub priority: i32,
    pub requests: Resources,
    pub non_zero: Resources,
    pub node_terms: NodeTerms,
    pub tolerations: Vec<Toleration>,
    pub host_ports: Vec<HostPort>,
    /// Images of all containers, with a tag.
    pub images: Vec<String>,
    pub affinity: Vec<PodTerm>,
    pub anti_affinity: Vec<PodTerm>,
    pub preferred_affinity: Vec<PodTerm>,
    pub preferred_anti_affinity: Vec<PodTerm>,
    pub spread: Vec<SpreadConstraint>,
}

impl PodInfo {
    pub fn new(pod: Arc<Pod>) -> Self {
        let meta = &pod.metadata;
        let labels = meta.labels.clone().unwrap_or_default();
        let namespace = meta.namespace.clone().unwrap_or_default();
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let affinity = spec.affinity.as_ref();
        let own = (namespace.as_str(), &labels);
        let [requires, avoids] = required_terms(affinity).map(|terms| {
            terms.into_iter().flatten().map(|term| PodTerm::new(term, 0, own)).collect()
        });
        let [prefers, dislikes] = preferred_terms(affinity).map(|terms| {
            terms.into_iter().flatten().map(|w| PodTerm::new(&w.pod_affinity_term, w.weight, own)).collect()
        });
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            priority: spec.priority.unwrap_or(0),
            requests: Resources::of_pod(spec),
            non_zero: Resources::non_zero_of_pod(spec),
            node_terms: NodeTerms::new(spec.node_selector.as_ref(), affinity),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            host_ports: host_ports(spec),
            images: spec.init_containers.iter().flatten().chain(&spec.containers).filter_map(|c| c.image.as_deref()).map(tagged).collect(),
            affinity: requires,
            anti_affinity: avoids,
            preferred_affinity: prefers,
            preferred_anti_affinity: dislikes,
            spread: spec.topology_spread_constraints.iter().flatten().map(|c| SpreadConstraint::new(c, &labels)).collect(),
            labels,
            namespace,
            pod,
        }
    }

    pub fn spec(&self) -> Option<&PodSpec> {
        self.pod.spec.as_ref()
    }

    pub fn node_name(&self) -> Option<&str> {
        self.spec()?.node_name.as_deref().filter(|name| !name.is_empty())
    }

    pub fn nominated_node(&self) -> Option<&str> {
        self.pod.status.as_ref()?.nominated_node_name.as_deref().filter(|name| !name.is_empty())
    }

    /// The uid of the controller that made it: pods of one controller are spread by default.
    pub fn controller(&self) -> Option<&str> {
        let owners = self.pod.metadata.owner_references.as_ref()?;
        owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
    }

    pub fn is_terminating(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Succeeded or Failed: takes no more resources.
    pub fn is_finished(&self) -> bool {
        let phase = self.pod.status.as_ref().and_then(|s| s.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    }
}

/// Required affinity and anti-affinity.
fn required_terms(affinity: Option<&Affinity>) -> [Option<&Vec<PodAffinityTerm>>; 2] {
    let with = affinity.and_then(|a| a.pod_affinity.as_ref());
    let without = affinity.and_then(|a| a.pod_anti_affinity.as_ref());
    [
        with.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()),
        without.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()),
    ]
}

/// Preferred affinity and anti-affinity.
fn preferred_terms(affinity: Option<&Affinity>) -> [Option<&Vec<WeightedPodAffinityTerm>>; 2] {
    let with = affinity.and_then(|a| a.pod_affinity.as_ref());
    let without = affinity.and_then(|a| a.pod_anti_affinity.as_ref());
    [
        with.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()),
        without.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()),
    ]
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(HostPort {
                port: port.host_port.filter(|p| *p > 0)?,
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                ip: port.host_ip.clone().unwrap_or_default(),
            })
        })
        .collect()
}

/// The image's name as node status lists it.
pub(super) fn tagged(image: &str) -> String {
    let tag = image.rfind(':').map_or(-1, |at| at as isize);
    let slash = image.rfind('/').map_or(-1, |at| at as isize);
    if tag <= slash { format!("{image}:latest") } else { image.to_owned() }
}
