//! InterPodAffinity: required terms of the incoming pod, required anti-affinity of the pods that are there, and the
//! preferences of both.

use super::{Cycle, MAX_NODE_SCORE, Rejection, reject};
use crate::model::{NodeInfo, PodInfo, PodTerm};
use std::collections::HashMap;

/// What required affinity (of either side) weighs when nodes are scored (upstream's HardPodAffinityWeight).
const HARD_AFFINITY_WEIGHT: i64 = 1;

/// Counts by topology key and value.
type Pairs = HashMap<(String, String), i64>;

#[derive(Default)]
pub(super) struct State {
    /// Domains that pods already there forbid to the incoming one.
    forbidden: Pairs,
    /// Pods in each domain that match all of the incoming pod's affinity terms.
    affinity: Pairs,
    anti_affinity: Pairs,
    preferences: Pairs,
}

impl State {
    pub(super) fn new(cycle: &Cycle<'_>) -> Self {
        let mut state = Self::default();
        let (pod, context) = (cycle.pod, cycle.cluster.terms());
        for (guard, node) in cycle.cluster.guarded() {
            let gone = cycle.overlay.is_some_and(|o| o.name == node.name && !o.pods.contains_key(&guard.uid));
            for term in guard.anti_affinity.iter().filter(|term| !gone && term.matches(pod, &context)) {
                bump(&mut state.forbidden, node, &term.topology_key, 1);
            }
        }
        if has_terms(pod) || any_preferences(cycle) {
            for node in cycle.nodes() {
                node.pods.values().for_each(|other| state.meet(cycle, node, other));
            }
        }
        state
    }

    /// Counts one pod that is there.
    fn meet(&mut self, cycle: &Cycle<'_>, node: &NodeInfo, other: &PodInfo) {
        let (pod, context) = (cycle.pod, cycle.cluster.terms());
        if !pod.affinity.is_empty() && pod.affinity.iter().all(|term| term.matches(other, &context)) {
            pod.affinity.iter().for_each(|term| bump(&mut self.affinity, node, &term.topology_key, 1));
        }
        for term in pod.anti_affinity.iter().filter(|term| term.matches(other, &context)) {
            bump(&mut self.anti_affinity, node, &term.topology_key, 1);
        }
        let mut prefer = |terms: &[PodTerm], whom: &PodInfo, factor: i64| {
            for term in terms.iter().filter(|term| term.matches(whom, &context)) {
                let weight = if term.weight == 0 { HARD_AFFINITY_WEIGHT } else { term.weight };
                bump(&mut self.preferences, node, &term.topology_key, factor * weight);
            }
        };
        prefer(&pod.preferred_affinity, other, 1);
        prefer(&pod.preferred_anti_affinity, other, -1);
        prefer(&other.affinity, pod, 1);
        prefer(&other.preferred_affinity, pod, 1);
        prefer(&other.preferred_anti_affinity, pod, -1);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.forbidden.is_empty() && self.affinity.is_empty() && self.anti_affinity.is_empty()
    }

    /// The first pod of a group that wants to be together may go anywhere: nobody is there yet, and it matches itself.
    fn is_first_of_its_kind(&self, cycle: &Cycle<'_>) -> bool {
        self.affinity.is_empty() && cycle.pod.affinity.iter().all(|term| term.matches(cycle.pod, &cycle.cluster.terms()))
    }
}

fn has_terms(pod: &PodInfo) -> bool {
    [&pod.affinity, &pod.anti_affinity, &pod.preferred_affinity, &pod.preferred_anti_affinity].iter().any(|terms| !terms.is_empty())
}

fn any_preferences(cycle: &Cycle<'_>) -> bool {
    let speaks = |pod: &PodInfo| !(pod.affinity.is_empty() && pod.preferred_affinity.is_empty() && pod.preferred_anti_affinity.is_empty());
    cycle.nodes().any(|node| node.pods.values().any(|pod| speaks(pod)))
}

fn bump(pairs: &mut Pairs, node: &NodeInfo, key: &str, by: i64) {
    if let Some(value) = node.labels.get(key) {
        *pairs.entry((key.to_owned(), value.clone())).or_default() += by;
    }
}

fn at(pairs: &Pairs, node: &NodeInfo, key: &str) -> Option<i64> {
    let value = node.labels.get(key)?;
    Some(pairs.get(&(key.to_owned(), value.clone())).copied().unwrap_or(0))
}

pub(super) fn filter(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Rejection> {
    let (state, pod) = (&cycle.affinity, cycle.pod);
    let satisfied = pod.affinity.iter().all(|term| at(&state.affinity, node, &term.topology_key).is_some_and(|n| n > 0));
    let labelled = pod.affinity.iter().all(|term| node.labels.contains_key(&term.topology_key));
    if !satisfied && !(labelled && state.is_first_of_its_kind(cycle)) {
        return reject("InterPodAffinity", "node(s) didn't match pod affinity rules", true);
    }
    if pod.anti_affinity.iter().any(|term| at(&state.anti_affinity, node, &term.topology_key).is_some_and(|n| n > 0)) {
        return reject("InterPodAffinity", "node(s) didn't match pod anti-affinity rules", false);
    }
    if state.forbidden.keys().any(|(key, value)| node.labels.get(key) == Some(value)) {
        return reject("InterPodAffinity", "node(s) didn't satisfy existing pods anti-affinity rules", false);
    }
    None
}

pub(super) fn score(cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
    let here = cycle.affinity.preferences.iter().filter(|((key, value), _)| node.labels.get(key) == Some(value));
    here.map(|(_, weight)| weight).sum()
}

pub(super) fn normalize(cycle: &Cycle<'_>, scores: &mut [i64]) {
    if cycle.affinity.preferences.is_empty() {
        scores.fill(0);
        return;
    }
    let (least, most) = (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
    for score in scores {
        *score = if most > least { MAX_NODE_SCORE * (*score - least) / (most - least) } else { 0 };
    }
}
