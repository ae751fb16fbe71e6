//! How a Deployment moves pods from old sets to the new one, and how it scales what there is.

use corten_client::object::MetaExt;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::plan::{fenceposts, is_recreate, replicas, size, spec};
use super::revision::{self, DESIRED_REPLICAS, MAX_REPLICAS};
use super::sets::{Sets, Split, age};
use super::status::{available, is_complete};

/// The size a new set may have now, when all sets together have `used` replicas of which it has `own`.
pub(super) fn new_size(deployment: &Deployment, used: i32, own: i32) -> i32 {
    let wanted = replicas(deployment);
    if is_recreate(deployment) {
        return wanted;
    }
    let most = wanted + fenceposts(deployment).0;
    if used >= most {
        own
    } else {
        own + (most - used).min(wanted - own)
    }
}

/// RollingUpdate: one step up or down, within maxSurge and maxUnavailable.
pub(super) fn rolling(sets: &mut Sets) -> Split {
    let (new, olds) = sets.sync_revision(true);
    let Some(index) = new else { return (new, olds) };
    let (own, wanted) = (size(&sets.sets[index]), replicas(&sets.deployment));
    let scaled = if own > wanted {
        sets.scale(index, wanted, false)
    } else if own < wanted {
        let used = sets.sets.iter().map(size).sum();
        let count = new_size(&sets.deployment, used, own);
        sets.scale(index, count, false)
    } else {
        false
    };
    if scaled || scale_down(sets, index, &olds) {
        return (new, olds);
    }
    let status = sets.deployment.status.clone().unwrap_or_default();
    if is_complete(&sets.deployment, &status) {
        clean_up(sets, &olds);
    }
    (new, olds)
}

fn scale_down(sets: &mut Sets, new: usize, olds: &[usize]) -> bool {
    let active: Vec<usize> = olds
        .iter()
        .copied()
        .filter(|i| size(&sets.sets[*i]) > 0)
        .collect();
    if active.is_empty() {
        return false;
    }
    let all: i32 = sets.sets.iter().map(size).sum();
    let least = replicas(&sets.deployment) - fenceposts(&sets.deployment).1;
    let unavailable = size(&sets.sets[new]) - available(&sets.sets[new]);
    let most_down = all - least - unavailable;
    if most_down <= 0 {
        return false;
    }
    // Pods that serve nobody go first: that costs no availability.
    let mut cleaned = 0;
    for &index in &active {
        let broken = size(&sets.sets[index]) - available(&sets.sets[index]);
        let count = broken.min(most_down - cleaned);
        if count > 0 {
            let left = size(&sets.sets[index]) - count;
            sets.scale(index, left, false);
            cleaned += count;
        }
    }
    let serving: i32 = active
        .iter()
        .chain([&new])
        .map(|i| available(&sets.sets[*i]))
        .sum();
    let mut spare = (serving - least).max(0);
    let mut down = 0;
    for &index in &active {
        let count = size(&sets.sets[index]).min(spare);
        if count > 0 {
            let left = size(&sets.sets[index]) - count;
            sets.scale(index, left, false);
            spare -= count;
            down += count;
        }
    }
    cleaned + down > 0
}

/// Recreate: all old pods go before a new one comes.
pub(super) fn recreate(sets: &mut Sets, running: &[String]) -> Split {
    let (new, olds) = sets.sync_revision(false);
    let mut scaled = false;
    for &index in &olds {
        scaled |= sets.scale(index, 0, false);
    }
    let old_runs = olds
        .iter()
        .any(|i| running.iter().any(|uid| uid == sets.sets[*i].metadata.uid()));
    if scaled || old_runs {
        return (new, olds);
    }
    let (new, olds) = if new.is_none() {
        sets.sync_revision(true)
    } else {
        (new, olds)
    };
    if let Some(index) = new {
        let wanted = replicas(&sets.deployment);
        sets.scale(index, wanted, false);
    }
    let status = sets.deployment.status.clone().unwrap_or_default();
    if is_complete(&sets.deployment, &status) {
        clean_up(sets, &olds);
    }
    (new, olds)
}

/// Replicas changed, or the Deployment is paused: sizes follow without moving the rollout on.
pub(super) fn scale(sets: &mut Sets, new: Option<usize>, olds: &[usize]) {
    let wanted = replicas(&sets.deployment);
    let mut active: Vec<usize> = olds
        .iter()
        .copied()
        .chain(new)
        .filter(|i| size(&sets.sets[*i]) > 0)
        .collect();
    match active.len() {
        0 => {
            let newest = olds.iter().copied().max_by_key(|i| age(&sets.sets[*i]));
            if let Some(index) = new.or(newest) {
                sets.scale(index, wanted, false);
            }
        }
        1 => {
            sets.scale(active[0], wanted, false);
        }
        _ if new.is_some_and(|i| is_saturated(&sets.deployment, &sets.sets[i])) => {
            for index in active.into_iter().filter(|i| Some(*i) != new) {
                sets.scale(index, 0, false);
            }
        }
        _ if is_recreate(&sets.deployment) => {}
        _ => proportionally(sets, &mut active),
    }
}

fn is_saturated(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let wanted = replicas(deployment);
    let desired = set
        .metadata
        .annotation(DESIRED_REPLICAS)
        .and_then(|d| d.parse::<i32>().ok());
    size(set) == wanted && desired == Some(wanted) && available(set) == wanted
}

fn proportionally(sets: &mut Sets, active: &mut [usize]) {
    let wanted = replicas(&sets.deployment);
    let allowed = if wanted > 0 {
        wanted + fenceposts(&sets.deployment).0
    } else {
        0
    };
    let to_add = allowed - active.iter().map(|i| size(&sets.sets[*i])).sum::<i32>();
    // Larger sets first; of equal ones the newer grows first and the older shrinks first.
    active.sort_by(|a, b| {
        let (a, b) = (&sets.sets[*a], &sets.sets[*b]);
        let ages = if to_add > 0 {
            age(b).cmp(&age(a))
        } else {
            age(a).cmp(&age(b))
        };
        size(b).cmp(&size(a)).then(ages)
    });
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::new();
    for &index in active.iter() {
        let set = &sets.sets[index];
        let share = if to_add == added {
            0
        } else {
            fraction(&sets.deployment, set)
        };
        let left = to_add - added;
        let share = if to_add > 0 {
            share.min(left)
        } else {
            share.max(left)
        };
        let share = if to_add == 0 { 0 } else { share };
        sizes.push(size(set) + share);
        added += share;
    }
    if to_add != 0 {
        sizes[0] = (sizes[0] + to_add - added).max(0);
    }
    for (&index, count) in active.iter().zip(sizes) {
        sets.scale(index, count, true);
    }
}

fn fraction(deployment: &Deployment, set: &ReplicaSet) -> i32 {
    let wanted = replicas(deployment);
    if wanted == 0 {
        return -size(set);
    }
    let most = wanted + fenceposts(deployment).0;
    let annotated = set
        .metadata
        .annotation(MAX_REPLICAS)
        .and_then(|m| m.parse::<i32>().ok());
    let before = annotated
        .filter(|m| *m != 0)
        .or(deployment.status.as_ref().and_then(|s| s.replicas))
        .unwrap_or(0);
    if before == 0 {
        return 0;
    }
    let exact = f64::from(size(set)) * f64::from(most) / f64::from(before);
    exact.round() as i32 - size(set)
}

/// Deletes the oldest sets beyond revisionHistoryLimit, once they are empty.
pub(super) fn clean_up(sets: &mut Sets, olds: &[usize]) {
    let limit = spec(&sets.deployment)
        .revision_history_limit
        .filter(|l| *l != i32::MAX);
    let Some(limit) = limit.and_then(|l| usize::try_from(l).ok()) else {
        return;
    };
    let mut alive: Vec<usize> = olds
        .iter()
        .copied()
        .filter(|i| !sets.sets[*i].metadata.terminating())
        .collect();
    let Some(extra) = alive.len().checked_sub(limit) else {
        return;
    };
    alive.sort_by_key(|i| revision::of(&sets.sets[*i].metadata));
    for index in alive.into_iter().take(extra) {
        let set = &sets.sets[index];
        let status = set.status.clone().unwrap_or_default();
        let settled = set.metadata.generation <= status.observed_generation;
        if status.replicas == 0 && size(set) == 0 && settled {
            sets.delete(index);
        }
    }
}
