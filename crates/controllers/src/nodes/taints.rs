//! The taints a node should have, and how fast nodes of a zone may get those that evict.

use std::collections::HashMap;

use corten_client::object::MetaExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};

use super::{ZONE, condition, is_ready, ready};
use crate::core::context::time;

pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Condition, its status, the taint that says so.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    (
        "NetworkUnavailable",
        "True",
        "node.kubernetes.io/network-unavailable",
    ),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];

/// The taints a node should have: those that keep pods away follow its conditions at once, the one that evicts pods only
/// when `evict` allows it. None if it has them already.
#[must_use]
pub fn wanted(node: &Node, evict: bool, now: Timestamp) -> Option<Vec<Taint>> {
    let current = node
        .spec
        .as_ref()
        .and_then(|s| s.taints.clone())
        .unwrap_or_default();
    let ours = |t: &Taint| match t.effect.as_str() {
        "NoSchedule" => t.key == UNSCHEDULABLE || BY_CONDITION.iter().any(|(_, _, key)| *key == t.key),
        "NoExecute" => t.key == NOT_READY || t.key == UNREACHABLE,
        _ => false,
    };
    let mut desired: Vec<(&str, &str)> = Vec::new();
    for (kind, status, key) in BY_CONDITION {
        if condition(node, kind).is_some_and(|c| c.status == status) {
            desired.push((key, "NoSchedule"));
        }
    }
    if node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true) {
        desired.push((UNSCHEDULABLE, "NoSchedule"));
    }
    if let Some(key) = evicting(node).filter(|_| evict) {
        desired.push((key, "NoExecute"));
    }
    let mut taints: Vec<Taint> = current
        .iter()
        .filter(|t| {
            !ours(t)
                || desired
                    .iter()
                    .any(|(key, effect)| *key == t.key && *effect == t.effect)
        })
        .cloned()
        .collect();
    for (key, effect) in desired {
        if !taints.iter().any(|t| t.key == key && t.effect == effect) {
            let time_added = Some(time(now));
            taints.push(Taint {
                key: key.into(),
                effect: effect.into(),
                value: None,
                time_added,
            });
        }
    }
    (taints != current).then_some(taints)
}

/// The taint that would evict pods from the node in its present condition.
#[must_use]
pub fn evicting(node: &Node) -> Option<&'static str> {
    match ready(node)? {
        "False" => Some(NOT_READY),
        "Unknown" => Some(UNREACHABLE),
        _ => None,
    }
}

/// Whether the node has the taint that evicts, as its condition asks for.
#[must_use]
pub fn is_evicting(node: &Node) -> bool {
    let taints = node.spec.iter().flat_map(|s| s.taints.iter().flatten());
    evicting(node).is_some_and(|key| {
        taints
            .into_iter()
            .any(|t| t.key == key && t.effect == "NoExecute")
    })
}

/// The zone a node fails with.
#[must_use]
pub fn zone_of(node: &Node) -> String {
    let label = |key: &str| node.metadata.label(key).unwrap_or_default().to_owned();
    let (region, zone) = (label("topology.kubernetes.io/region"), label(ZONE));
    format!("{region}:\0:{zone}")
}

/// How many nodes of a zone are well.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Zone {
    pub ready: usize,
    pub not_ready: usize,
}

/// Share of unready nodes from which on the zone, not the nodes, is thought to be at fault.
pub const UNHEALTHY_SHARE: f64 = 0.55;
/// Nodes per second that get the taint that evicts.
pub const EVICTION_RATE: f64 = 0.1;
/// The same in a zone that is at fault, if it is large; in small ones eviction stops.
pub const SECONDARY_RATE: f64 = 0.01;
pub const LARGE_ZONE: usize = 50;

impl Zone {
    #[must_use]
    pub fn is_down(self) -> bool {
        self.ready == 0 && self.not_ready > 0
    }
    /// Evictions per second.
    #[must_use]
    pub fn rate(self) -> f64 {
        let all = self.ready + self.not_ready;
        let partial = self.not_ready > 2 && self.not_ready as f64 / all as f64 >= UNHEALTHY_SHARE;
        match (self.is_down(), partial, all > LARGE_ZONE) {
            (true, _, _) | (_, false, _) => EVICTION_RATE,
            (_, true, true) => SECONDARY_RATE,
            (_, true, false) => 0.0,
        }
    }
}

/// The zones of all nodes. Nodes that load balancers skip do not count.
pub fn zones<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> HashMap<String, Zone> {
    let mut zones: HashMap<String, Zone> = HashMap::new();
    for node in nodes {
        if node
            .metadata
            .label("node.kubernetes.io/exclude-disruption")
            .is_some()
        {
            continue;
        }
        let zone = zones.entry(zone_of(node)).or_default();
        if is_ready(node) {
            zone.ready += 1;
        } else {
            zone.not_ready += 1;
        }
    }
    zones
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn taints_follow_conditions_and_leave_others_alone() {
        let now = Timestamp::UNIX_EPOCH;
        let node: Node = serde_json::from_value(json!({
            "spec": {"taints": [{"key": "mine", "effect": "NoExecute"},
                {"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]},
            "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}
        }))
        .unwrap();
        let names = |evict| -> Vec<String> {
            wanted(&node, evict, now)
                .unwrap()
                .iter()
                .map(|t| format!("{}:{}", t.key, t.effect))
                .collect()
        };
        let unreachable = "node.kubernetes.io/unreachable:NoSchedule";
        assert_eq!(names(false), ["mine:NoExecute", unreachable]);
        assert_eq!(
            names(true),
            [
                "mine:NoExecute",
                unreachable,
                "node.kubernetes.io/unreachable:NoExecute"
            ]
        );
    }

    #[test]
    fn a_zone_at_fault_evicts_slowly_or_not_at_all() {
        let zone = |ready, not_ready| Zone { ready, not_ready };
        assert_eq!(zone(3, 1).rate(), EVICTION_RATE);
        assert_eq!(zone(1, 3).rate(), 0.0);
        assert_eq!(zone(20, 40).rate(), SECONDARY_RATE);
        assert!(zone(0, 1).is_down());
    }
}
