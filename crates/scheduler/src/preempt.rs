//! DefaultPreemption: which less important pods would have to go.

use std::sync::Arc;

use corten_client::Pod;
use corten_client::object::MetaExt;
use corten_client::selector::Selector;
use jiff::Timestamp;

use crate::fit_error::FitError;
use crate::plugins::{Plugin, Refusal, filter_local, inter_pod, spread};
use crate::pod_info::PodInfo;
use crate::snapshot::Snapshot;

/// Nodes tried at most for one pod; upstream tries 10 % and at least 100.
pub const MIN_CANDIDATES: usize = 100;

/// A PodDisruptionBudget: how many of its pods may still go.
#[derive(Debug, Clone)]
pub struct Budget {
    pub ns: String,
    pub selector: Selector,
    pub allowed: i32,
}

/// The least harmful way to make room.
#[derive(Debug)]
pub struct Preemption {
    pub node: String,
    pub victims: Vec<Arc<Pod>>,
}

struct Candidate {
    place: usize,
    victims: Vec<Arc<PodInfo>>,
    violations: usize,
}

/// Finds a node and the pods to remove from it.
///
/// # Errors
/// With what the event says after `preemption: `.
pub fn attempt(
    snapshot: &mut Snapshot,
    pod: &Arc<PodInfo>,
    places: &[usize],
    budgets: &[Budget],
) -> Result<Preemption, String> {
    if pod.spec().preemption_policy.as_deref() == Some("Never") {
        return Err("not eligible due to preemptionPolicy=Never.".into());
    }
    if waits_for_victims(snapshot, pod) {
        return Err("not eligible due to a terminating pod on the nominated node.".into());
    }
    let live = snapshot.live().count();
    let most = (live / 10).max(MIN_CANDIDATES);
    let (mut found, mut none) = (Vec::new(), 0);
    for &place in places {
        match candidate(snapshot, pod, place, budgets) {
            Some(candidate) => found.push(candidate),
            None => none += 1,
        }
        if found.len() >= most {
            break;
        }
    }
    match found
        .into_iter()
        .min_by(|a, b| rank(a).partial_cmp(&rank(b)).unwrap_or(std::cmp::Ordering::Equal))
    {
        Some(best) => Ok(Preemption {
            node: snapshot.nodes[best.place].name.to_string(),
            victims: best.victims.iter().map(|v| Arc::clone(&v.pod)).collect(),
        }),
        None => {
            let mut error = FitError::new(live);
            let helpless = Refusal::new(
                Plugin::NodeResourcesFit,
                "No preemption victims found for incoming pod",
                false,
            );
            let useless = Refusal::new(
                Plugin::NodeResourcesFit,
                "Preemption is not helpful for scheduling",
                false,
            );
            for (refusal, count) in [(helpless, none), (useless, live - none)] {
                if count > 0 {
                    error.add(&refusal, count);
                }
            }
            Err(error.message())
        }
    }
}

/// Whether pods this one preempted earlier are still going.
fn waits_for_victims(snapshot: &Snapshot, pod: &PodInfo) -> bool {
    let nominated = pod
        .pod
        .status
        .as_ref()
        .and_then(|s| s.nominated_node_name.as_deref());
    let Some(place) = nominated.and_then(|n| snapshot.find(n)) else {
        return false;
    };
    snapshot.nodes[place]
        .pods
        .iter()
        .any(|p| p.priority < pod.priority && p.pod.metadata.terminating())
}

fn fits(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> bool {
    let around = inter_pod::look(snapshot, pod);
    filter_local(snapshot, pod, place).is_ok()
        && spread::filter(snapshot, pod, &spread::count(snapshot, pod), place).is_ok()
        && inter_pod::filter(snapshot, pod, &around, place).is_ok()
}

fn candidate(snapshot: &mut Snapshot, pod: &PodInfo, place: usize, budgets: &[Budget]) -> Option<Candidate> {
    let node = snapshot.nodes[place].name.to_string();
    let mut lower: Vec<Arc<PodInfo>> = snapshot.nodes[place]
        .pods
        .iter()
        .filter(|p| p.priority < pod.priority)
        .cloned()
        .collect();
    if lower.is_empty() {
        return None;
    }
    for victim in &lower {
        snapshot.remove_pod(&node, victim.pod.metadata.uid());
    }
    let possible = fits(snapshot, pod, place);
    // The most important get back first; those a budget protects before others.
    lower.sort_by(|a, b| {
        b.priority
            .cmp(&a.priority)
            .then_with(|| started(a).cmp(&started(b)))
    });
    let (protected, free) = by_budget(&lower, budgets);
    let (mut victims, mut violations) = (Vec::new(), 0);
    for (victim, guarded) in protected
        .into_iter()
        .map(|v| (v, true))
        .chain(free.into_iter().map(|v| (v, false)))
    {
        snapshot.add_pod(&node, &victim);
        if possible && !fits(snapshot, pod, place) {
            snapshot.remove_pod(&node, victim.pod.metadata.uid());
            violations += usize::from(guarded);
            victims.push(victim);
        }
    }
    for victim in &victims {
        snapshot.add_pod(&node, victim);
    }
    (possible && !victims.is_empty()).then_some(Candidate {
        place,
        victims,
        violations,
    })
}

type Pods = Vec<Arc<PodInfo>>;

fn by_budget(pods: &[Arc<PodInfo>], budgets: &[Budget]) -> (Pods, Pods) {
    let mut left: Vec<i32> = budgets.iter().map(|b| b.allowed).collect();
    let mut split = (Vec::new(), Vec::new());
    for pod in pods {
        let mut violates = false;
        for (budget, left) in budgets.iter().zip(&mut left) {
            let meta = &pod.pod.metadata;
            if budget.ns == meta.ns() && meta.labels.is_some() && budget.selector.matches(meta.labels()) {
                *left -= 1;
                violates |= *left < 0;
            }
        }
        if violates {
            split.0.push(Arc::clone(pod))
        } else {
            split.1.push(Arc::clone(pod))
        }
    }
    split
}

fn started(pod: &PodInfo) -> Option<Timestamp> {
    pod.pod.status.as_ref()?.start_time.as_ref().map(|t| t.0)
}

/// Fewest violated budgets, then least important victims, then fewest, then those that ran for the shortest time.
fn rank(candidate: &Candidate) -> (usize, i32, i64, usize, i64) {
    let priorities = candidate.victims.iter().map(|v| v.priority);
    let highest = priorities.clone().max().unwrap_or(i32::MIN);
    let sum = priorities.map(i64::from).sum();
    let earliest = candidate
        .victims
        .iter()
        .filter(|v| v.priority == highest)
        .filter_map(|v| started(v))
        .min();
    (
        candidate.violations,
        highest,
        sum,
        candidate.victims.len(),
        -earliest.map_or(0, |t| t.as_second()),
    )
}
