//! The status of a DaemonSet.

use corten_client::object::MetaExt;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};

use super::plan::Scene;
use crate::core::{Action, Write, pod};

/// The write of the status, if it changes.
pub(super) fn write(scene: &Scene<'_>) -> Option<Action> {
    let set = scene.view.set;
    let old = set.status.clone().unwrap_or_default();
    let mut status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        collision_count: old.collision_count,
        conditions: old.conditions.clone(),
        ..DaemonSetStatus::default()
    };
    let (mut updated, mut available) = (0, 0);
    for node in &scene.view.nodes {
        let pods = scene
            .by_node
            .get(node.metadata.name())
            .map(Vec::as_slice)
            .unwrap_or_default();
        let alive: Vec<_> = pods.iter().filter(|p| !p.metadata.terminating()).collect();
        if !scene.wants(node).0 {
            status.number_misscheduled += i32::from(!pods.is_empty());
            continue;
        }
        status.desired_number_scheduled += 1;
        if pods.is_empty() {
            continue;
        }
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(alive.iter().any(|p| pod::is_ready(p)));
        available += i32::from(alive.iter().any(|p| pod::is_ready(p) && scene.is_available(p)));
        // With a surge the newest pod speaks for the node.
        let newest = pods
            .iter()
            .max_by_key(|p| p.metadata.creation_timestamp.as_ref().map(|t| t.0));
        updated += i32::from(newest.is_some_and(|p| scene.is_new(p)));
    }
    let some = |n: i32| Some(n).filter(|n| *n != 0);
    status.updated_number_scheduled = some(updated);
    status.number_available = some(available);
    status.number_unavailable = some(status.desired_number_scheduled - available);
    if set.status.as_ref() == Some(&status) {
        return None;
    }
    Some(
        Write::status(&DaemonSet {
            status: Some(status),
            ..set.clone()
        })
        .into(),
    )
}
