//! NodeName and NodeAffinity.

use super::{Cycle, Rejection, reject};
use crate::model::NodeInfo;

pub(super) fn filter_name(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Rejection> {
    if cycle.pod.node_name().is_none_or(|name| name == node.name) {
        return None;
    }
    reject("NodeName", "node(s) didn't match the requested node name", true)
}

pub(super) fn filter(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Rejection> {
    if cycle.pod.node_terms.admit(&node.name, &node.labels) {
        return None;
    }
    reject("NodeAffinity", "node(s) didn't match Pod's node affinity/selector", true)
}

pub(super) fn score(cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
    cycle.pod.node_terms.preference(&node.name, &node.labels)
}
