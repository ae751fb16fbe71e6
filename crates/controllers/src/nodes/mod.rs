//! Controllers of nodes and of the pods on them: lifecycle, eviction by taint, pod CIDRs, pod garbage.

mod health;
pub mod ipam;
pub mod lifecycle;
pub mod pod_gc;
pub mod tainted;
mod taints;
pub mod ttl;

use corten_client::Pod;
use k8s_openapi::api::core::v1::{Node, NodeCondition};

use crate::core::pod;

pub use health::{Health, Verdict};
pub use taints::{NOT_READY, UNREACHABLE, Zone};

/// The label of a node that says in which zone it is.
pub const ZONE: &str = "topology.kubernetes.io/zone";

/// A node's condition.
#[must_use]
pub fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status
        .as_ref()?
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == kind)
}

/// `True`, `False` or `Unknown`; none if the node never said.
#[must_use]
pub fn ready(node: &Node) -> Option<&str> {
    condition(node, "Ready").map(|c| c.status.as_str())
}

#[must_use]
pub fn is_ready(node: &Node) -> bool {
    ready(node) == Some("True")
}

/// Index value of a pod: its node.
pub fn by_node(pod: &Pod) -> Vec<String> {
    Some(pod::node(pod).to_owned())
        .filter(|n| !n.is_empty())
        .into_iter()
        .collect()
}
