//! NodeName and NodeAffinity, nodeSelector included.

use corten_client::placement::term;

use super::{Plugin, Refusal};
use crate::pod_info::PodInfo;
use crate::snapshot::Snapshot;

pub fn node_name(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> Result<(), Refusal> {
    match pod.spec().node_name.as_deref() {
        Some(name) if !name.is_empty() && *name != *snapshot.nodes[place].name => Err(Refusal::new(
            Plugin::NodeName,
            "node(s) didn't match the requested node name",
            false,
        )),
        _ => Ok(()),
    }
}

pub fn filter(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> Result<(), Refusal> {
    if matches(snapshot, pod, place) {
        return Ok(());
    }
    Err(Refusal::new(
        Plugin::NodeAffinity,
        "node(s) didn't match Pod's node affinity/selector",
        false,
    ))
}

/// Whether the node has what nodeSelector and required node affinity ask for.
#[must_use]
pub fn matches(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> bool {
    let node = &snapshot.nodes[place];
    let selected = pod
        .spec()
        .node_selector
        .iter()
        .flatten()
        .all(|(k, v)| node.labels.get(k) == Some(v));
    let required = pod
        .node_affinity()
        .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    selected
        && required.is_none_or(|r| {
            r.node_selector_terms
                .iter()
                .any(|t| term(t, &node.labels, &node.name))
        })
}

/// The weights of the preferences a node meets, of 100.
#[must_use]
pub fn score(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> f64 {
    let preferred = pod
        .node_affinity()
        .and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
    let Some(preferred) = preferred.filter(|p| !p.is_empty()) else {
        return 0.0;
    };
    let node = &snapshot.nodes[place];
    let all: i32 = preferred.iter().map(|p| p.weight).sum();
    let met = preferred
        .iter()
        .filter(|p| term(&p.preference, &node.labels, &node.name));
    f64::from(met.map(|p| p.weight).sum::<i32>()) * 100.0 / f64::from(all.max(1))
}
