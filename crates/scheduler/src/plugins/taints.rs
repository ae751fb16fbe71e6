//! NodeUnschedulable and TaintToleration.

use corten_client::placement::tolerates;
use k8s_openapi::api::core::v1::Taint;

use super::{Plugin, Refusal};
use crate::pod_info::PodInfo;
use crate::snapshot::Snapshot;

fn tolerated(pod: &PodInfo, taint: &Taint) -> bool {
    pod.spec()
        .tolerations
        .iter()
        .flatten()
        .any(|t| tolerates(t, taint))
}

pub fn unschedulable(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> Result<(), Refusal> {
    if !snapshot.nodes[place].unschedulable {
        return Ok(());
    }
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        effect: "NoSchedule".into(),
        ..Taint::default()
    };
    if tolerated(pod, &taint) {
        return Ok(());
    }
    Err(Refusal::new(
        Plugin::NodeUnschedulable,
        "node(s) were unschedulable",
        false,
    ))
}

pub fn filter(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> Result<(), Refusal> {
    if untolerated(snapshot, pod, place) {
        return Err(Refusal::new(
            Plugin::TaintToleration,
            "node(s) had untolerated taint(s)",
            false,
        ));
    }
    Ok(())
}

/// Whether a taint keeps the pod off the node.
#[must_use]
pub fn untolerated(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> bool {
    let hard = snapshot.nodes[place]
        .taints
        .iter()
        .filter(|t| t.effect != "PreferNoSchedule");
    hard.into_iter().any(|t| !tolerated(pod, t))
}

/// 100 less ten for each PreferNoSchedule taint the pod does not tolerate.
#[must_use]
pub fn score(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> f64 {
    let soft = snapshot.nodes[place]
        .taints
        .iter()
        .filter(|t| t.effect == "PreferNoSchedule");
    let count = soft.filter(|t| !tolerated(pod, t)).count();
    100.0 - 10.0 * count.min(10) as f64
}
