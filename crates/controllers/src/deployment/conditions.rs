//! Conditions of a Deployment.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};

use super::plan::spec;
use crate::core::context::time;

pub const PROGRESSING: &str = "Progressing";

pub fn get<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == kind)
}

pub fn new(kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_update_time: Some(time(now)),
        last_transition_time: Some(time(now)),
    }
}

/// Sets a condition, unless one of the same status and reason is there; it moves to the end.
pub fn set(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    if let Some(current) = get(status, &condition.type_) {
        if current.status == condition.status && current.reason == condition.reason {
            return;
        }
        if current.status == condition.status {
            condition
                .last_transition_time
                .clone_from(&current.last_transition_time);
        }
    }
    remove(status, &condition.type_.clone());
    status.conditions.get_or_insert_default().push(condition);
}

pub fn remove(status: &mut DeploymentStatus, kind: &str) {
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|c| c.type_ != kind);
    if conditions.is_empty() {
        status.conditions = None;
    }
}

/// The deadline; the largest number means none.
pub fn deadline_s(deployment: &Deployment) -> Option<i32> {
    spec(deployment)
        .progress_deadline_seconds
        .filter(|s| *s != i32::MAX)
}

/// Marks pausing and resuming, so that the time in between does not count as lack of progress.
pub fn pause(deployment: &mut Deployment, now: Timestamp) {
    if deadline_s(deployment).is_none() {
        return;
    }
    let paused = spec(deployment).paused == Some(true);
    let status = deployment.status.get_or_insert_default();
    let reason = get(status, PROGRESSING).and_then(|c| c.reason.as_deref());
    let condition = match reason {
        Some("ProgressDeadlineExceeded") => return,
        Some("DeploymentPaused") if !paused => ("DeploymentResumed", "Deployment is resumed"),
        reason if paused && reason != Some("DeploymentPaused") => {
            ("DeploymentPaused", "Deployment is paused")
        }
        _ => return,
    };
    set(status, new(PROGRESSING, "Unknown", condition.0, condition.1, now));
}

/// A set for the template is there although no condition says how far it is.
pub fn found(deployment: &mut Deployment, name: &str, now: Timestamp) {
    let known = get(deployment.status.get_or_insert_default(), PROGRESSING).is_some();
    if !known && deadline_s(deployment).is_some() {
        let message = format!("Found new replica set \"{name}\"");
        progress(deployment, "FoundNewReplicaSet", &message, now);
    }
}

pub fn created(deployment: &mut Deployment, name: &str, now: Timestamp) {
    if deadline_s(deployment).is_some() {
        let message = format!("Created new replica set \"{name}\"");
        progress(deployment, "NewReplicaSetCreated", &message, now);
    }
}

fn progress(deployment: &mut Deployment, reason: &str, message: &str, now: Timestamp) {
    let status = deployment.status.get_or_insert_default();
    set(status, new(PROGRESSING, "True", reason, message, now));
}

/// The deployment with the condition that says its set could not be made.
pub fn create_failed(deployment: &Deployment, message: &str, now: Timestamp) -> Option<Deployment> {
    deadline_s(deployment)?;
    let mut failed = deployment.clone();
    let status = failed.status.get_or_insert_default();
    set(
        status,
        new(PROGRESSING, "False", "ReplicaSetCreateError", message, now),
    );
    (failed.status != deployment.status).then_some(failed)
}
