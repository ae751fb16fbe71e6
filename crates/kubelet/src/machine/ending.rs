//! The end of a pod: who decides it, in which order its containers stop, and what is left to do afterwards.

use super::memory::{End, Memory, Step};
use super::view::ContainerView;
use super::{Action, Draft, Input, KillReason};
use crate::pod::{self, PodExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};

/// Upstream never gives a container less than this between the stop signal and SIGKILL.
const MIN_GRACE_SECONDS: i64 = 2;
/// Upstream's default where a pod has no grace period of its own.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// Finds out whether the pod is to end, and why.
pub(super) fn decide(input: &Input<'_>, memory: &mut Memory, status: &PodStatus, draft: &mut Draft) {
    let end = if memory.removed {
        Some(End::Removed)
    } else if input.pod.is_deleting() {
        Some(End::Deleted)
    } else if let Some((reason, message)) = memory.rejected.clone().or_else(|| memory.evicted.clone()) {
        Some(End::Failed { reason, message })
    } else if is_terminal(input.pod.phase()) || is_terminal(status.phase.as_deref().unwrap_or_default()) {
        Some(End::Finished)
    } else {
        deadline_passed(input, status, draft)
    };
    match (&memory.end, end) {
        // An end that was decided stays; only the API's word goes above it.
        (Some(_), Some(new @ (End::Deleted | End::Removed))) => memory.end = Some(new),
        (None, Some(new)) => memory.end = Some(new),
        _ => {}
    }
    if memory.end.is_some() && memory.ending_since.is_none() {
        memory.ending_since = Some(input.now);
    }
}

fn is_terminal(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed")
}

fn deadline_passed(input: &Input<'_>, status: &PodStatus, draft: &mut Draft) -> Option<End> {
    let seconds = input.pod.spec().active_deadline_seconds?;
    let started = status.start_time.as_ref()?.0;
    let at = started + SignedDuration::from_secs(seconds);
    if at > input.now {
        draft.wake_at(at);
        return None;
    }
    Some(End::Failed {
        reason: "DeadlineExceeded".into(),
        message: "Pod was active on the node longer than the specified deadline".into(),
    })
}

/// Stops what runs, then the sandboxes, then gives everything back.
pub(super) fn plan(input: &Input<'_>, memory: &mut Memory, draft: &mut Draft) {
    if memory.ending_since.is_none() {
        memory.ending_since = Some(input.now);
    }
    stop_all(input, memory, draft, &|name| format!("Stopping container {name}"));
}

/// Kills containers in order and stops sandboxes when nothing runs in them.
pub(super) fn stop_all(
    input: &Input<'_>,
    memory: &Memory,
    draft: &mut Draft,
    message: &dyn Fn(&str) -> String,
) {
    let since = memory.ending_since.unwrap_or(input.now);
    let running: Vec<&ContainerView> = input.view.running().collect();
    for v in &running {
        let spec = input.pod.container(&v.name).map(|(_, c)| c).unwrap_or_default();
        let grace = grace_seconds(input.pod, &spec, KillReason::Other);
        let deadline = since + SignedDuration::from_secs(grace);
        if input.now < deadline
            && let Some(wait_for) = before(input.pod, &v.name)
            && running.iter().any(|o| wait_for.contains(&o.name.as_str()))
        {
            draft.wake_at(deadline);
            continue;
        }
        let floor = input.now + SignedDuration::from_secs(MIN_GRACE_SECONDS.min(grace.max(1)));
        let deadline = deadline.max(floor);
        // A shorter grace period than the one under way takes its place.
        if memory.killing.get(&v.id).is_some_and(|old| *old <= deadline) {
            continue;
        }
        draft.actions.push(Action::Kill {
            id: v.id.clone(),
            name: v.name.clone(),
            message: message(&v.name),
            deadline,
            pre_stop: grace > 0 && !memory.killing.contains_key(&v.id),
        });
    }
    let idle = !memory.busy(input.view);
    if idle && input.view.sandboxes.iter().any(|s| s.ready) && !waits(memory.stop_sandboxes, input.now, draft)
    {
        draft.actions.push(Action::StopSandboxes);
    }
}

/// Containers that must have ended before this one is stopped: sidecars go after the main containers, the last
/// started first. None for a container that need not wait.
fn before<'a>(pod: &'a Pod, name: &str) -> Option<Vec<&'a str>> {
    let at = pod
        .inits()
        .iter()
        .position(|c| c.name == name && pod::is_sidecar(c))?;
    let later = pod.inits()[at + 1..].iter().filter(|c| pod::is_sidecar(c));
    Some(later.chain(pod.mains()).map(|c| c.name.as_str()).collect())
}

/// The grace period of one container: the deletion's, else the failed probe's, else the pod's.
pub(crate) fn grace_seconds(pod: &Pod, c: &Container, reason: KillReason) -> i64 {
    if let Some(s) = pod.metadata.deletion_grace_period_seconds {
        return s.max(0);
    }
    let probe = match reason {
        KillReason::Liveness => c.liveness_probe.as_ref(),
        KillReason::Startup => c.startup_probe.as_ref(),
        KillReason::Other => None,
    };
    probe
        .and_then(|p| p.termination_grace_period_seconds)
        .or(pod.spec().termination_grace_period_seconds)
        .unwrap_or(DEFAULT_GRACE_SECONDS)
}

fn waits(step: Step, now: Timestamp, draft: &mut Draft) -> bool {
    match step {
        Step::Idle => false,
        Step::Running | Step::Done => true,
        Step::Failed { retry } if retry > now => {
            draft.wake_at(retry);
            true
        }
        Step::Failed { .. } => false,
    }
}

/// After the last container: volumes and cgroup, the final status, the object, and at last what the runtime keeps.
pub(super) fn last_steps(input: &Input<'_>, memory: &Memory, status: &PodStatus, draft: &mut Draft) {
    let Some(end) = &memory.end else { return };
    if memory.busy(input.view) || memory.volumes == Step::Running {
        return;
    }
    if input.view.sandboxes.iter().any(|s| s.ready) {
        return;
    }
    if !waits(memory.clean, input.now, draft) {
        draft.actions.push(Action::Clean);
    }
    if memory.clean != Step::Done {
        return;
    }
    let gone = match end {
        End::Removed => true,
        End::Deleted => {
            let told = memory.status_written && *status == memory.status;
            if told && !waits(memory.delete, input.now, draft) {
                draft.actions.push(Action::DeleteObject);
            }
            false
        }
        End::Finished | End::Failed { .. } => false,
    };
    if gone && !waits(memory.purge, input.now, draft) {
        draft.actions.push(Action::Purge);
    }
}
