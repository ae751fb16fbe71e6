//! What controllers ask about pods.

use std::time::Duration;

use corten_client::object::MetaExt;
use corten_client::pod::{Pod, PodCondition};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod as NewPod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

#[must_use]
pub fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|s| s.phase.as_deref())
        .unwrap_or_default()
}

#[must_use]
pub fn node(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|s| s.node_name.as_deref())
        .unwrap_or_default()
}

/// Succeeded or Failed.
#[must_use]
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Neither finished nor going away.
#[must_use]
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !pod.metadata.terminating()
}

/// Going away but not finished.
#[must_use]
pub fn is_terminating(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.terminating()
}

#[must_use]
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|c| c.type_ == kind)
}

#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|c| c.status == "True")
}

/// Since when the pod is ready.
#[must_use]
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready")
        .filter(|c| c.status == "True")?
        .last_transition_time
        .as_ref()
        .map(|t| t.0)
}

/// Ready for at least `min_ready_s` seconds.
#[must_use]
pub fn is_available(pod: &Pod, min_ready_s: i32, now: Timestamp) -> bool {
    is_ready(pod) && (min_ready_s == 0 || available_in(pod, min_ready_s, now).is_some_and(|d| d.is_zero()))
}

/// How long a ready pod still has to stay ready to be available.
#[must_use]
pub fn available_in(pod: &Pod, min_ready_s: i32, now: Timestamp) -> Option<Duration> {
    let left = ready_since(pod)?.as_millisecond() + i64::from(min_ready_s) * 1000 - now.as_millisecond();
    Some(Duration::from_millis(left.max(0).unsigned_abs()))
}

/// The shortest wait until another ready pod becomes available.
#[must_use]
pub fn next_available<'a>(
    pods: impl IntoIterator<Item = &'a Pod>,
    min_ready_s: i32,
    now: Timestamp,
) -> Option<Duration> {
    let waits = pods.into_iter().filter_map(|p| available_in(p, min_ready_s, now));
    waits.filter(|d| !d.is_zero()).min()
}

/// The restarts of all containers.
#[must_use]
pub fn restarts(pod: &Pod) -> i32 {
    let Some(status) = &pod.status else { return 0 };
    status
        .container_statuses
        .iter()
        .flatten()
        .map(|c| c.restart_count)
        .sum()
}

/// A pod of a template, to be named by the server after `owner`.
#[must_use]
pub fn from_template(template: &PodTemplateSpec, ns: &str, owner: OwnerReference) -> NewPod {
    let meta = template.metadata.clone().unwrap_or_default();
    // The server cuts prefixes that are too long; a prefix that is no valid name is left without its dash.
    let metadata = ObjectMeta {
        namespace: Some(ns.into()),
        generate_name: Some(format!("{}-", owner.name)),
        labels: meta.labels,
        annotations: meta.annotations,
        finalizers: meta.finalizers,
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    NewPod {
        metadata,
        spec: template.spec.clone(),
        status: None,
    }
}
