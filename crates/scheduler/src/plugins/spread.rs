//! PodTopologySpread: pods of a kind evenly over the values of a node label.

use std::collections::HashMap;

use corten_client::object::MetaExt;

use super::{Plugin, Refusal, affinity, taints};
use crate::pod_info::{PodInfo, Spread};
use crate::snapshot::Snapshot;

/// For one constraint: matching pods by domain.
pub struct Counts {
    by_domain: HashMap<String, i64>,
    least: i64,
    most: i64,
}

/// Counts for every constraint of a pod, over the nodes it could go to.
#[must_use]
pub fn count(snapshot: &Snapshot, pod: &PodInfo) -> Vec<Counts> {
    pod.spread
        .iter()
        .map(|constraint| count_one(snapshot, pod, constraint))
        .collect()
}

fn count_one(snapshot: &Snapshot, pod: &PodInfo, constraint: &Spread) -> Counts {
    let mut by_domain: HashMap<String, i64> = HashMap::new();
    for place in snapshot.live() {
        let node = &snapshot.nodes[place];
        let Some(domain) = node.labels.get(&constraint.topology_key) else {
            continue;
        };
        let eligible = (constraint.ignore_affinity || affinity::matches(snapshot, pod, place))
            && !(constraint.honor_taints && taints::untolerated(snapshot, pod, place));
        if !eligible {
            continue;
        }
        let matching = node.pods.iter().filter(|p| {
            p.pod.metadata.ns() == pod.pod.metadata.ns()
                && !p.pod.metadata.terminating()
                && constraint.selector.matches(p.pod.metadata.labels())
        });
        *by_domain.entry(domain.clone()).or_default() += matching.count() as i64;
    }
    let enough = by_domain.len() as i64 >= constraint.min_domains;
    let least = if enough {
        by_domain.values().copied().min().unwrap_or(0)
    } else {
        0
    };
    let most = by_domain.values().copied().max().unwrap_or(0);
    Counts {
        by_domain,
        least,
        most,
    }
}

/// Whether the hard constraints allow the node.
///
/// # Errors
/// With why they do not.
pub fn filter(snapshot: &Snapshot, pod: &PodInfo, counts: &[Counts], place: usize) -> Result<(), Refusal> {
    let labels = &snapshot.nodes[place].labels;
    for (constraint, count) in pod.spread.iter().zip(counts).filter(|(c, _)| c.hard) {
        let Some(domain) = labels.get(&constraint.topology_key) else {
            let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
            return Err(Refusal::new(Plugin::PodTopologySpread, reason, false));
        };
        let itself = i64::from(constraint.selector.matches(pod.pod.metadata.labels()));
        let here = count.by_domain.get(domain).copied().unwrap_or(0);
        if here + itself - count.least > constraint.max_skew {
            let reason = "node(s) didn't match pod topology spread constraints";
            return Err(Refusal::new(Plugin::PodTopologySpread, reason, true));
        }
    }
    Ok(())
}

/// 100 where fewest matching pods are, over the soft constraints.
#[must_use]
pub fn score(snapshot: &Snapshot, pod: &PodInfo, counts: &[Counts], place: usize) -> f64 {
    let labels = &snapshot.nodes[place].labels;
    let (mut sum, mut soft) = (0.0, 0.0);
    for (constraint, count) in pod.spread.iter().zip(counts) {
        soft += 1.0;
        let Some(domain) = labels.get(&constraint.topology_key) else {
            continue;
        };
        let here = count.by_domain.get(domain).copied().unwrap_or(0);
        sum += 100.0 * (count.most - here + 1) as f64 / (count.most + 1) as f64;
    }
    if soft == 0.0 { 0.0 } else { sum / soft }
}
