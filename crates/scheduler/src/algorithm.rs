//! One scheduling cycle: filter every node, score those that will do, take the best.

use crate::model::{Cluster, PodInfo};
use crate::plugins::{self, Cycle, Rejection};
use std::collections::BTreeMap;

/// Why no node will do. `Display` is upstream's FitError.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FitError {
    pub nodes: usize,
    /// What each node's first objecting plugin said.
    pub rejections: BTreeMap<String, Rejection>,
    /// What preemption had to say about it.
    pub post_filter: String,
}

impl FitError {
    /// The plugins that stood in the way: only a change that concerns one of them can help.
    pub fn plugins(&self) -> Vec<&'static str> {
        let mut plugins: Vec<_> = self.rejections.values().map(|rejection| rejection.plugin).collect();
        plugins.sort_unstable();
        plugins.dedup();
        plugins
    }
}

impl std::fmt::Display for FitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.nodes == 0 {
            write!(f, "no nodes available to schedule pods")?;
        } else {
            write!(f, "0/{} nodes are available: {}", self.nodes, histogram(&self.rejections))?;
        }
        if self.post_filter.is_empty() { Ok(()) } else { write!(f, " {}", self.post_filter) }
    }
}

/// `2 Insufficient cpu, 1 node(s) were unschedulable.`, in the order of the words.
fn histogram(rejections: &BTreeMap<String, Rejection>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in rejections.values().flat_map(|rejection| &rejection.reasons) {
        *counts.entry(reason).or_default() += 1;
    }
    let mut parts: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    format!("{}.", parts.join(", "))
}

/// The node for the pod. `chance` decides among equals (any number; upstream draws one).
///
/// # Errors
/// No node will do; the error says what stood in the way on each.
pub fn schedule(pod: &PodInfo, cluster: &Cluster, chance: u64) -> Result<String, FitError> {
    let cycle = Cycle::new(pod, cluster, None);
    let mut error = FitError::default();
    let mut fitting = Vec::new();
    for node in cluster.nodes() {
        error.nodes += 1;
        let crowded = || {
            let with = cluster.with_nominated(node, pod)?;
            plugins::filter(&Cycle::new(pod, cluster, Some(&with)), &with)
        };
        match plugins::filter(&cycle, node).or_else(crowded) {
            None => fitting.push(node),
            Some(rejection) => {
                error.rejections.insert(node.name.clone(), rejection);
            }
        }
    }
    if let Some(nominated) = pod.nominated_node().and_then(|name| fitting.iter().find(|node| node.name == name)) {
        return Ok(nominated.name.clone());
    }
    if let [only] = fitting.as_slice() {
        return Ok(only.name.clone());
    }
    let scores = plugins::score(&cycle, &fitting);
    let Some(best) = scores.iter().copied().max() else { return Err(error) };
    let winners: Vec<_> = fitting.iter().zip(&scores).filter(|(_, score)| **score == best).collect();
    let (winner, _) = winners[(chance % winners.len() as u64) as usize];
    Ok(winner.name.clone())
}
