//! ImageLocality: nodes that have the images already, big ones more so, common ones less.

use super::{Cycle, MAX_NODE_SCORE};
use crate::model::NodeInfo;

const MIB: i64 = 1024 * 1024;
const LEAST: i64 = 23 * MIB;
const MOST_PER_CONTAINER: i64 = 1000 * MIB;

pub(super) fn score(cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
    if node.images.is_empty() || cycle.pod.images.is_empty() {
        return 0;
    }
    let mut sum = 0.0;
    for image in &cycle.pod.images {
        let Some(size) = node.images.get(image) else { continue };
        let holders = cycle.nodes().filter(|node| node.images.contains_key(image)).count();
        sum += *size as f64 * holders as f64 / cycle.node_count.max(1) as f64;
    }
    let most = MOST_PER_CONTAINER * cycle.pod.images.len() as i64;
    MAX_NODE_SCORE * ((sum as i64).clamp(LEAST, most) - LEAST) / (most - LEAST)
}
