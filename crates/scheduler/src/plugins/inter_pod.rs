//! InterPodAffinity: toward or away from other pods, within a domain of nodes.

use std::collections::{HashMap, HashSet};

use super::{Plugin, Refusal};
use crate::pod_info::{PodInfo, PodTerm};
use crate::snapshot::Snapshot;

type Domain = (String, String);

/// What other pods mean for one pod, by domain (label key, value).
#[derive(Default)]
pub struct Around {
    /// Domains with a pod that each required affinity term matches.
    affinity: Vec<HashSet<Domain>>,
    anti_affinity: HashSet<Domain>,
    /// Domains that pods there keep this one out of.
    refused: HashSet<Domain>,
    scores: HashMap<Domain, i64>,
    /// The pod satisfies its own affinity, so that the first of a group finds a place.
    self_affine: bool,
}

/// Looks at all pods once.
#[must_use]
pub fn look(snapshot: &Snapshot, pod: &PodInfo) -> Around {
    let spaces = &snapshot.namespaces;
    let mut around = Around {
        affinity: vec![HashSet::new(); pod.required_affinity.len()],
        ..Around::default()
    };
    around.self_affine = pod.required_affinity.iter().all(|t| t.matches(&pod.pod, spaces));
    for place in snapshot.live() {
        let node = &snapshot.nodes[place];
        let domain = |term: &PodTerm| {
            node.labels
                .get(&term.topology_key)
                .map(|value| (term.topology_key.clone(), value.clone()))
        };
        for other in &node.pods {
            for (term, found) in pod.required_affinity.iter().zip(&mut around.affinity) {
                found.extend(term.matches(&other.pod, spaces).then(|| domain(term)).flatten());
            }
            for term in pod
                .required_anti_affinity
                .iter()
                .filter(|t| t.matches(&other.pod, spaces))
            {
                around.anti_affinity.extend(domain(term));
            }
            for term in other
                .required_anti_affinity
                .iter()
                .filter(|t| t.matches(&pod.pod, spaces))
            {
                around.refused.extend(domain(term));
            }
            for term in pod.preferred.iter().filter(|t| t.matches(&other.pod, spaces)) {
                if let Some(domain) = domain(term) {
                    *around.scores.entry(domain).or_default() += term.weight;
                }
            }
            for term in other.preferred.iter().filter(|t| t.matches(&pod.pod, spaces)) {
                if let Some(domain) = domain(term) {
                    *around.scores.entry(domain).or_default() += term.weight;
                }
            }
        }
    }
    around
}

/// Whether the pods around allow the node.
///
/// # Errors
/// With why they do not.
pub fn filter(snapshot: &Snapshot, pod: &PodInfo, around: &Around, place: usize) -> Result<(), Refusal> {
    let labels = &snapshot.nodes[place].labels;
    let holds = |set: &HashSet<Domain>, key: &str| {
        labels
            .get(key)
            .is_some_and(|value| set.contains(&(key.to_owned(), value.clone())))
    };
    let nobody = around.affinity.iter().all(HashSet::is_empty);
    for (term, found) in pod.required_affinity.iter().zip(&around.affinity) {
        let first = nobody && around.self_affine && labels.contains_key(&term.topology_key);
        if !first && !holds(found, &term.topology_key) {
            return Err(Refusal::new(
                Plugin::InterPodAffinity,
                "node(s) didn't match pod affinity rules",
                false,
            ));
        }
    }
    if pod
        .required_anti_affinity
        .iter()
        .any(|t| holds(&around.anti_affinity, &t.topology_key))
    {
        return Err(Refusal::new(
            Plugin::InterPodAffinity,
            "node(s) didn't match pod anti-affinity rules",
            true,
        ));
    }
    let refused = labels
        .iter()
        .any(|(k, v)| around.refused.contains(&(k.clone(), v.clone())));
    if refused {
        let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
        return Err(Refusal::new(Plugin::InterPodAffinity, reason, true));
    }
    Ok(())
}

/// The preferences met at a node, between 0 and 100 over all domains.
#[must_use]
pub fn score(snapshot: &Snapshot, around: &Around, place: usize) -> f64 {
    if around.scores.is_empty() {
        return 0.0;
    }
    let labels = &snapshot.nodes[place].labels;
    let met = labels
        .iter()
        .filter_map(|(k, v)| around.scores.get(&(k.clone(), v.clone())));
    let sum: i64 = met.sum();
    let least: i64 = around.scores.values().filter(|s| **s < 0).sum();
    let most: i64 = around.scores.values().filter(|s| **s > 0).sum();
    if most == least {
        0.0
    } else {
        (sum - least) as f64 * 100.0 / (most - least) as f64
    }
}
