//! NodePorts.

use super::{Cycle, Rejection, reject};
use crate::model::NodeInfo;

pub(super) fn filter(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Rejection> {
    if cycle.pod.host_ports.is_empty() {
        return None;
    }
    let mut taken = node.pods.values().flat_map(|pod| &pod.host_ports);
    if !taken.any(|port| cycle.pod.host_ports.iter().any(|wanted| wanted.conflicts(port))) {
        return None;
    }
    reject("NodePorts", "node(s) didn't have free ports for the requested pod ports", false)
}
