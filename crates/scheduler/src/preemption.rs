//! DefaultPreemption: which pods of lower priority would have to go, and from which node, so that this one fits.

use crate::algorithm::FitError;
use crate::model::{Cluster, NodeInfo, PodInfo};
use crate::plugins::{self, Cycle, Rejection};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A disruption budget as preemption needs it.
pub struct Budget {
    pub namespace: String,
    pub selector: corten_client::selector::Selector,
    pub allowed: i32,
}

impl Budget {
    pub fn of(pdb: &PodDisruptionBudget) -> Option<Self> {
        let selector = pdb.spec.as_ref()?.selector.as_ref()?;
        Some(Self {
            namespace: pdb.metadata.namespace.clone()?,
            selector: corten_client::selector::Selector::new(Some(selector)).ok()?,
            allowed: pdb.status.as_ref().map_or(0, |status| status.disruptions_allowed.unwrap_or(0)),
        })
    }
}

/// A node and the pods to evict from it.
#[derive(Debug)]
pub struct Candidate {
    pub node: String,
    pub victims: Vec<Arc<PodInfo>>,
    violations: usize,
}

/// The best candidate.
///
/// # Errors
/// What upstream says where preemption does not help; goes behind the pod's fit error.
pub fn preempt(pod: &PodInfo, cluster: &Cluster, error: &FitError, budgets: &[Budget]) -> Result<Candidate, String> {
    if pod.spec().and_then(|s| s.preemption_policy.as_deref()) == Some("Never") {
        return Err("not eligible due to preemptionPolicy=Never.".to_owned());
    }
    if let Some(node) = pod.nominated_node().and_then(|name| cluster.node(name))
        && node.pods.values().any(|other| other.is_terminating() && other.priority < pod.priority)
    {
        return Err("not eligible due to a terminating pod on the nominated node.".to_owned());
    }
    let mut objections = BTreeMap::new();
    let mut candidates = Vec::new();
    for (name, rejection) in &error.rejections {
        let Some(node) = cluster.node(name) else { continue };
        let found = if rejection.unresolvable { Err(not_helpful()) } else { victims(pod, cluster, node, budgets) };
        match found {
            Ok(candidate) => candidates.push(candidate),
            Err(rejection) => {
                objections.insert(name.clone(), rejection);
            }
        }
    }
    let best = candidates.into_iter().min_by_key(Candidate::cost);
    best.ok_or_else(|| FitError { nodes: error.nodes, rejections: objections, post_filter: String::new() }.to_string())
}

impl Candidate {
    /// Upstream's order of preference: fewest broken budgets, lowest highest priority, lowest sum, fewest pods, latest start.
    fn cost(&self) -> (usize, i32, i64, usize, Reverse<Option<jiff::Timestamp>>, String) {
        let highest = self.victims.iter().map(|v| v.priority).max().unwrap_or(i32::MIN);
        let sum = self.victims.iter().map(|v| i64::from(v.priority) + i64::from(i32::MAX) + 1).sum();
        let of_highest = self.victims.iter().filter(|v| v.priority == highest);
        let earliest = of_highest.filter_map(|v| started(v)).min();
        (self.violations, highest, sum, self.victims.len(), Reverse(earliest), self.node.clone())
    }
}

fn started(pod: &PodInfo) -> Option<jiff::Timestamp> {
    pod.pod.status.as_ref()?.start_time.as_ref().map(|time| time.0)
}

fn not_helpful() -> Rejection {
    Rejection { plugin: "DefaultPreemption", reasons: vec!["Preemption is not helpful for scheduling".to_owned()], unresolvable: true }
}

/// All lower pods removed, then as many brought back as still fit: those whose budget would break first, then by priority.
fn victims(pod: &PodInfo, cluster: &Cluster, node: &NodeInfo, budgets: &[Budget]) -> Result<Candidate, Rejection> {
    let mut lower: Vec<_> = node.pods.values().filter(|other| other.priority < pod.priority).cloned().collect();
    if lower.is_empty() {
        let reasons = vec!["No preemption victims found for incoming pod".to_owned()];
        return Err(Rejection { plugin: "DefaultPreemption", reasons, unresolvable: false });
    }
    let mut without = node.clone();
    for other in &lower {
        without.remove_pod(&other.uid);
    }
    if let Some(rejection) = fits(pod, cluster, &without) {
        return Err(rejection);
    }
    lower.sort_by_key(|other| (Reverse(other.priority), started(other)));
    let (breaking, harmless) = split_by_budget(lower, budgets);
    let mut candidate = Candidate { node: node.name.clone(), victims: Vec::new(), violations: 0 };
    for (others, violates) in [(breaking, true), (harmless, false)] {
        for other in others {
            without.add_pod(Arc::clone(&other));
            if fits(pod, cluster, &without).is_some() {
                without.remove_pod(&other.uid);
                candidate.violations += usize::from(violates);
                candidate.victims.push(other);
            }
        }
    }
    candidate.victims.sort_by_key(|victim| Reverse(victim.priority));
    Ok(candidate)
}

fn fits(pod: &PodInfo, cluster: &Cluster, node: &NodeInfo) -> Option<Rejection> {
    plugins::filter(&Cycle::new(pod, cluster, Some(node)), node)
}

type Pods = Vec<Arc<PodInfo>>;

/// Those whose eviction would break a budget, given that those before them in the list go too; and the others.
fn split_by_budget(pods: Pods, budgets: &[Budget]) -> (Pods, Pods) {
    let mut left: Vec<i32> = budgets.iter().map(|budget| budget.allowed).collect();
    pods.into_iter().partition(|pod| {
        let mut breaks = false;
        for (budget, left) in budgets.iter().zip(&mut left) {
            if budget.namespace == pod.namespace && budget.selector.matches(Some(&pod.labels)) {
                *left -= 1;
                breaks |= *left < 0;
            }
        }
        breaks
    })
}
