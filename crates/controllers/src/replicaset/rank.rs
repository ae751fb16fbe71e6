//! Which pods go first when there are too many. Upstream: `ActivePodsWithRanks`.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use corten_client::Pod;
use corten_client::object::MetaExt;
use jiff::Timestamp;

use crate::core::pod;

/// Sorts pods so that those to be deleted come first.
pub fn by_deletion_order(pods: &mut [Arc<Pod>], crowd: &HashMap<String, usize>, now: Timestamp) {
    pods.sort_by(|a, b| compare(a, b, crowd, now));
}

fn compare(a: &Pod, b: &Pod, crowd: &HashMap<String, usize>, now: Timestamp) -> Ordering {
    let crowded = |p: &Pod| crowd.get(pod::node(p)).copied().unwrap_or(0);
    let assigned = |p: &Pod| !pod::node(p).is_empty();
    assigned(a)
        .cmp(&assigned(b))
        .then_with(|| phase_rank(a).cmp(&phase_rank(b)))
        .then_with(|| pod::is_ready(a).cmp(&pod::is_ready(b)))
        .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
        .then_with(|| crowded(b).cmp(&crowded(a)))
        .then_with(|| by_age(pod::ready_since(a), pod::ready_since(b), a, b, now))
        .then_with(|| pod::restarts(b).cmp(&pod::restarts(a)))
        .then_with(|| by_age(created(a), created(b), a, b, now))
        .then_with(|| a.metadata.uid().cmp(b.metadata.uid()))
}

fn phase_rank(pod: &Pod) -> u8 {
    match pod::phase(pod) {
        "Unknown" => 1,
        "Running" => 2,
        _ => 0,
    }
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|t| t.0)
}

fn deletion_cost(pod: &Pod) -> i32 {
    pod.metadata
        .annotation("controller.kubernetes.io/pod-deletion-cost")
        .and_then(|c| c.parse().ok())
        .unwrap_or(0)
}

/// Younger first; ages of the same power of two are equal and the uid decides, so that deletion spreads (KEP-2185).
fn by_age(a: Option<Timestamp>, b: Option<Timestamp>, pa: &Pod, pb: &Pod, now: Timestamp) -> Ordering {
    let (Some(a), Some(b)) = (a, b) else {
        return a.is_some().cmp(&b.is_some());
    };
    if a == b {
        return Ordering::Equal;
    }
    let bucket = |t: Timestamp| match now.duration_since(t).as_nanos() {
        ..=0 => -1,
        age => i32::try_from(age.ilog2()).unwrap_or(i32::MAX),
    };
    bucket(a)
        .cmp(&bucket(b))
        .then_with(|| pa.metadata.uid().cmp(pb.metadata.uid()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn pod(name: &str, node: &str, phase: &str, ready_s: Option<u32>, cost: &str) -> Arc<Pod> {
        let ready = ready_s.map(|s| {
            json!([{"type": "Ready", "status": "True", "lastTransitionTime": format!("2026-01-01T00:{:02}:{:02}Z", s / 60, s % 60)}])
        });
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z",
                    "annotations": {"controller.kubernetes.io/pod-deletion-cost": cost}},
                "spec": {"nodeName": node, "containers": []},
                "status": {"phase": phase, "conditions": ready}
            }))
            .unwrap(),
        )
    }

    #[test]
    fn the_least_useful_pod_goes_first() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let mut pods = vec![
            pod("old", "n1", "Running", Some(1), ""),
            pod("young", "n1", "Running", Some(3500), ""),
            pod("crowded", "n2", "Running", Some(1), ""),
            pod("cheap", "n1", "Running", Some(1), "-5"),
            pod("unready", "n1", "Running", None, ""),
            pod("pending", "n1", "Pending", None, ""),
            pod("unassigned", "", "Pending", None, ""),
        ];
        let crowd = [("n1".to_string(), 1), ("n2".to_string(), 2)].into();
        by_deletion_order(&mut pods, &crowd, now);
        let names: Vec<_> = pods.iter().map(|p| p.metadata.name().to_owned()).collect();
        assert_eq!(
            names,
            [
                "unassigned",
                "pending",
                "unready",
                "cheap",
                "crowded",
                "young",
                "old"
            ]
        );
    }
}
