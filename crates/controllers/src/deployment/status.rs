//! The status of a Deployment. Upstream: pkg/controller/deployment/progress.go.

use std::time::Duration;

use corten_client::object::MetaExt;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetStatus,
};

use super::conditions::{self, PROGRESSING, deadline_s};
use super::plan::{fenceposts, replicas, size};
use super::sets::Sets;

fn observed(set: &ReplicaSet) -> ReplicaSetStatus {
    set.status.clone().unwrap_or_default()
}

/// Available pods of a set.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    observed(set).available_replicas.unwrap_or(0)
}

/// What the sets add up to.
pub(super) fn calculate(
    sets: &Sets,
    new: Option<usize>,
    _olds: &[usize],
    now: Timestamp,
) -> DeploymentStatus {
    let deployment = &sets.deployment;
    let sum = |f: &dyn Fn(&ReplicaSet) -> i32| sets.sets.iter().map(f).sum::<i32>();
    let serving = sum(&available);
    let some = |n: i32| Some(n).filter(|n| *n != 0);
    let old = deployment.status.clone().unwrap_or_default();
    // Known only once every set has reported it.
    let terminating: Option<i32> = sets.sets.iter().map(|s| observed(s).terminating_replicas).sum();
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(sum(&|s| observed(s).replicas)),
        updated_replicas: some(new.map_or(0, |i| observed(&sets.sets[i]).replicas)),
        ready_replicas: some(sum(&|s| observed(s).ready_replicas.unwrap_or(0))),
        available_replicas: some(serving),
        unavailable_replicas: some((sum(&size) - serving).max(0)),
        terminating_replicas: terminating,
        collision_count: old.collision_count,
        conditions: old.conditions,
    };
    let enough = serving >= replicas(deployment) - fenceposts(deployment).1;
    let condition = if enough {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    let condition = conditions::new("Available", condition.0, condition.1, condition.2, now);
    conditions::set(&mut status, condition);
    status
}

/// As [`calculate`], with how the rollout gets on.
pub(super) fn rollout(sets: &Sets, new: Option<usize>, olds: &[usize], now: Timestamp) -> DeploymentStatus {
    let deployment = &sets.deployment;
    let mut status = calculate(sets, new, olds, now);
    match deadline_s(deployment) {
        None => conditions::remove(&mut status, PROGRESSING),
        Some(deadline) => {
            let current = conditions::get(&status, PROGRESSING).cloned();
            let finished = current
                .as_ref()
                .is_some_and(|c| c.reason.as_deref() == Some("NewReplicaSetAvailable"));
            if !(finished && status.replicas == status.updated_replicas) {
                progress(sets, new, &mut status, current.as_ref(), deadline, now);
            }
        }
    }
    match failure(sets, new) {
        Some(condition) => conditions::set(&mut status, condition),
        None => conditions::remove(&mut status, "ReplicaFailure"),
    }
    status
}

fn progress(
    sets: &Sets,
    new: Option<usize>,
    status: &mut DeploymentStatus,
    current: Option<&DeploymentCondition>,
    deadline_s: i32,
    now: Timestamp,
) {
    let deployment = &sets.deployment;
    let what = match new {
        Some(i) => format!("ReplicaSet \"{}\"", sets.sets[i].metadata.name()),
        None => format!("Deployment \"{}\"", deployment.metadata.name()),
    };
    if is_complete(deployment, status) {
        let message = format!("{what} has successfully progressed.");
        conditions::set(
            status,
            conditions::new(PROGRESSING, "True", "NewReplicaSetAvailable", &message, now),
        );
    } else if is_progressing(deployment, status) {
        let message = format!("{what} is progressing.");
        let mut condition = conditions::new(PROGRESSING, "True", "ReplicaSetUpdated", &message, now);
        if let Some(current) = current {
            if current.status == "True" {
                condition
                    .last_transition_time
                    .clone_from(&current.last_transition_time);
            }
            // The update time moves on although the reason stays.
            conditions::remove(status, PROGRESSING);
        }
        conditions::set(status, condition);
    } else if is_timed_out(current, deadline_s, now) {
        let message = format!("{what} has timed out progressing.");
        conditions::set(
            status,
            conditions::new(PROGRESSING, "False", "ProgressDeadlineExceeded", &message, now),
        );
    }
}

/// Every replica is of the new template and available.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = replicas(deployment);
    status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn is_progressing(deployment: &Deployment, new: &DeploymentStatus) -> bool {
    let old = deployment.status.clone().unwrap_or_default();
    let olds = |s: &DeploymentStatus| s.replicas.unwrap_or(0) - s.updated_replicas.unwrap_or(0);
    new.updated_replicas.unwrap_or(0) > old.updated_replicas.unwrap_or(0)
        || olds(new) < olds(&old)
        || new.ready_replicas.unwrap_or(0) > old.ready_replicas.unwrap_or(0)
        || new.available_replicas.unwrap_or(0) > old.available_replicas.unwrap_or(0)
}

fn is_timed_out(current: Option<&DeploymentCondition>, deadline_s: i32, now: Timestamp) -> bool {
    let Some(current) = current else { return false };
    match current.reason.as_deref() {
        Some("NewReplicaSetAvailable") => false,
        Some("ProgressDeadlineExceeded") => true,
        _ => left_ms(current, deadline_s, now) < 0,
    }
}

fn left_ms(condition: &DeploymentCondition, deadline_s: i32, now: Timestamp) -> i64 {
    let since = condition.last_update_time.as_ref().map_or(now, |t| t.0);
    since.as_millisecond() + i64::from(deadline_s) * 1000 - now.as_millisecond()
}

/// When the progress deadline will have passed, if nothing changes until then.
pub(super) fn next_check(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = deadline_s(deployment)?;
    let current = conditions::get(status, PROGRESSING)?;
    if is_complete(deployment, status) || current.reason.as_deref() == Some("ProgressDeadlineExceeded") {
        return None;
    }
    let left = left_ms(current, deadline, now).max(0).unsigned_abs();
    Some(Duration::from_millis(left + 1000))
}

/// The failure of the new set, else of any other.
fn failure(sets: &Sets, new: Option<usize>) -> Option<DeploymentCondition> {
    let mut order: Vec<&ReplicaSet> = new.map(|i| &sets.sets[i]).into_iter().collect();
    order.extend(&sets.sets);
    let found = order.into_iter().find_map(|s| {
        s.status
            .as_ref()?
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == "ReplicaFailure")
            .cloned()
    })?;
    Some(DeploymentCondition {
        type_: found.type_,
        status: found.status,
        reason: found.reason,
        message: found.message,
        last_update_time: found.last_transition_time.clone(),
        last_transition_time: found.last_transition_time,
    })
}
