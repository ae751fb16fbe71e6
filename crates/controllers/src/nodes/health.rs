//! Whether a node is alive, judged by its lease and its status. Upstream: `tryUpdateNodeHealth`.

use std::time::Duration;

use corten_client::object::MetaExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::{Value, json};

use super::condition;
use crate::core::context::time;

/// Conditions that are not known either when the kubelet is silent.
const KUBELETS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Signs of life, by our own clock: the node's may be wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// When a sign of life was last seen.
    pub seen: Timestamp,
    renewed: Option<MicroTime>,
    heartbeat: Option<Timestamp>,
}

/// What is to be thought of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Alive; to be looked at again after this long.
    Alive(Duration),
    /// Silent for too long: the conditions that say so, unless they do already.
    Silent(Option<Vec<NodeCondition>>),
}

impl Health {
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            seen: now,
            renewed: None,
            heartbeat: None,
        }
    }

    /// The lease was seen with this renewal time.
    pub fn leased(&mut self, renewed: Option<&MicroTime>, now: Timestamp) {
        if renewed.is_some_and(|r| self.renewed.as_ref().is_none_or(|old| old < r)) {
            self.renewed = renewed.cloned();
            self.seen = now;
        }
    }

    /// The node was seen with this status.
    pub fn reported(&mut self, node: &Node, now: Timestamp) {
        let heartbeat = condition(node, "Ready").and_then(|c| Some(c.last_heartbeat_time.as_ref()?.0));
        if heartbeat.is_some() && heartbeat != self.heartbeat {
            self.heartbeat = heartbeat;
            self.seen = now;
        }
    }

    /// Judges a node that may be silent for `grace`.
    #[must_use]
    pub fn judge(&self, node: &Node, grace: Duration, now: Timestamp) -> Verdict {
        let left = (self.seen + grace).duration_since(now);
        if left.is_positive() {
            return Verdict::Alive(left.unsigned_abs());
        }
        let silent = unknown(node, now);
        let before = node
            .status
            .as_ref()
            .and_then(|s| s.conditions.clone())
            .unwrap_or_default();
        Verdict::Silent((silent != before).then_some(silent))
    }
}

fn unknown(node: &Node, now: Timestamp) -> Vec<NodeCondition> {
    let mut conditions = node
        .status
        .as_ref()
        .and_then(|s| s.conditions.clone())
        .unwrap_or_default();
    for kind in KUBELETS {
        match conditions.iter_mut().find(|c| c.type_ == kind) {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                condition.status = "Unknown".into();
                condition.reason = Some("NodeStatusUnknown".into());
                condition.message = Some("Kubelet stopped posting node status.".into());
                condition.last_transition_time = Some(time(now));
            }
            None => conditions.push(NodeCondition {
                type_: kind.into(),
                status: "Unknown".into(),
                reason: Some("NodeStatusNeverUpdated".into()),
                message: Some("Kubelet never posted node status.".into()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(time(now)),
            }),
        }
    }
    conditions
}

/// The patch that marks a pod of a silent node unready.
#[must_use]
pub fn unready(pod: &corten_client::Pod, now: Timestamp) -> Option<Value> {
    if !crate::core::pod::is_ready(pod) {
        return None;
    }
    Some(
        json!({"metadata": {"uid": pod.metadata.uid()}, "status": {"conditions": [
        {"type": "Ready", "status": "False", "lastTransitionTime": time(now)}]}}),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_node_is_silent_when_neither_lease_nor_status_moves() {
        let grace = Duration::from_secs(50);
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        let node: Node = serde_json::from_value(json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}}))
        .unwrap();
        let mut health = Health::new(at(0));
        health.reported(&node, at(10));
        assert_eq!(
            health.judge(&node, grace, at(40)),
            Verdict::Alive(Duration::from_secs(20))
        );
        health.leased(Some(&MicroTime(at(1))), at(55));
        health.leased(Some(&MicroTime(at(1))), at(90));
        assert_eq!(
            health.judge(&node, grace, at(60)),
            Verdict::Alive(Duration::from_secs(45))
        );
        let Verdict::Silent(Some(conditions)) = health.judge(&node, grace, at(105)) else {
            panic!("alive")
        };
        let reasons: Vec<_> = conditions.iter().map(|c| c.reason.as_deref().unwrap()).collect();
        let never = "NodeStatusNeverUpdated";
        assert_eq!(reasons, ["NodeStatusUnknown", never, never, never]);
    }
}
