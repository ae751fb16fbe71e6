//! Which containers to start, stop or resize while the pod is to run.

use super::backoff::go_duration;
use super::memory::{Failure, Memory};
use super::view::{ContainerView, State};
use super::{Action, Draft, Event, Input, KillReason, ending, init};
use crate::pod::{self, Kind, PodExt};
use crate::probes::Outcome;
use crate::spec::resources;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;

pub(super) fn plan(input: &Input<'_>, memory: &mut Memory, draft: &mut Draft) {
    judge_resize(input, memory);
    let mut starts: Vec<(Kind, Container)> = Vec::new();
    for c in input.pod.ephemerals() {
        if input.view.find(&c.name).is_none() {
            starts.push((Kind::Ephemeral, pod::plain(c)));
        }
    }
    let inits = init::plan(input, memory, draft);
    starts.extend(
        inits
            .start
            .into_iter()
            .map(|i| (Kind::Init, input.pod.inits()[i].clone())),
    );
    let mut kill_pod = inits.kill_pod;
    if inits.initialized && !kill_pod {
        let before = starts.len();
        let keep = mains(input, memory, draft, &mut starts);
        if keep == 0 && starts.len() == before {
            kill_pod = true;
        }
    }
    if kill_pod {
        // Nothing is left to run: what still does (sidecars) must not keep the pod alive.
        memory.end = Some(super::memory::End::Finished);
        ending::plan(input, memory, draft);
        return;
    }
    for (kind, c) in starts {
        if !start(input, memory, draft, kind, &c) && kind == Kind::Init && !pod::is_sidecar(&c) {
            break;
        }
    }
}

/// Main containers: returns how many stay as they are.
fn mains(
    input: &Input<'_>,
    memory: &Memory,
    draft: &mut Draft,
    starts: &mut Vec<(Kind, Container)>,
) -> usize {
    let mut keep = 0;
    for c in input.pod.mains() {
        let current = input.view.find(&c.name);
        let Some(running) = current.filter(|v| v.state == State::Running) else {
            if needs_start(input, c, current) {
                starts.push((Kind::Main, c.clone()));
            }
            continue;
        };
        match why_kill(input, c, running) {
            None => {
                keep += 1;
                resize(input, memory, draft, c, running);
            }
            Some((message, reason, restart)) => {
                if restart {
                    keep += 1; // It comes back once it has stopped.
                }
                let suffix = if restart { ", will be restarted" } else { "" };
                kill(
                    input,
                    memory,
                    draft,
                    c,
                    running,
                    format!("{message}{suffix}"),
                    reason,
                );
            }
        }
    }
    keep
}

/// Why a running container may not go on: message, kind of reason, whether it starts again.
fn why_kill(input: &Input<'_>, c: &Container, v: &ContainerView) -> Option<(String, KillReason, bool)> {
    let mut restart = pod::restarts_on_failure(input.pod.spec());
    if let Some(own) = &c.restart_policy {
        restart = own != "Never";
    }
    if v.hash != pod::container_hash(c) {
        return Some((
            format!("Container {} definition changed", c.name),
            KillReason::Other,
            true,
        ));
    }
    if input.probes.liveness(&v.id) == Some(Outcome::Failure) {
        return Some((
            format!("Container {} failed liveness probe", c.name),
            KillReason::Liveness,
            restart,
        ));
    }
    if input.probes.startup(&v.id) == Some(Outcome::Failure) {
        return Some((
            format!("Container {} failed startup probe", c.name),
            KillReason::Startup,
            restart,
        ));
    }
    if resources::resize_needs_restart(input.pod, c, v, input.node) {
        return Some((
            format!("Container {} resize requires restart", c.name),
            KillReason::Other,
            true,
        ));
    }
    None
}

/// Stops one container of a pod that goes on.
pub(super) fn kill(
    input: &Input<'_>,
    memory: &Memory,
    draft: &mut Draft,
    c: &Container,
    v: &ContainerView,
    message: String,
    reason: KillReason,
) {
    if memory.killing.contains_key(&v.id) {
        return;
    }
    let grace = ending::grace_seconds(input.pod, c, reason);
    draft.actions.push(Action::Kill {
        id: v.id.clone(),
        name: c.name.clone(),
        message,
        deadline: input.now + jiff::SignedDuration::from_secs(grace),
        pre_stop: grace > 0,
    });
}

pub(super) fn resize(
    input: &Input<'_>,
    memory: &Memory,
    draft: &mut Draft,
    c: &Container,
    v: &ContainerView,
) {
    let wanted = !memory.resizing.contains(&v.id) && resources::resize_pending(input.pod, c, v, input.node);
    if wanted && memory.resize.pending.is_none() {
        draft.actions.push(Action::Resize {
            id: v.id.clone(),
            name: c.name.clone(),
        });
    }
}

/// Says of a resize whether it is under way until every running container has what it is to have. A resize to more than
/// the whole node has is never carried out.
pub(super) fn judge_resize(input: &Input<'_>, memory: &mut Memory) {
    let mut containers = input.pod.mains().iter().chain(input.pod.inits());
    let differs = containers.any(|c| {
        let running = input.view.find(&c.name).filter(|v| v.state == State::Running);
        running.is_some_and(|v| resources::resize_pending(input.pod, c, v, input.node))
    });
    let resize = &mut memory.resize;
    match resources::beyond(input.pod, input.node).filter(|_| differs) {
        Some((name, requested, capacity)) => {
            let message = format!(
                "Node didn't have enough capacity: {name}, requested: {requested}, capacity: {capacity}"
            );
            resize.pending = Some(("Infeasible".into(), message));
            resize.in_progress = None;
        }
        None => {
            resize.pending = None;
            resize.in_progress = differs.then(|| resize.in_progress.take().unwrap_or_default());
        }
    }
}

/// Whether a container that does not run is to be started (upstream's `ShouldContainerBeRestarted`).
pub fn needs_start(input: &Input<'_>, c: &Container, current: Option<&ContainerView>) -> bool {
    if input.pod.is_deleting() {
        return false;
    }
    match current {
        None => true,
        Some(v) => match v.state {
            State::Running => false,
            State::Created | State::Unknown => true,
            State::Exited => pod::should_restart(c, input.pod.spec(), v.exit_code),
        },
    }
}

/// Back-off key and the failure it counts from, for a container that has ended before.
pub(super) fn backoff_key(input: &Input<'_>, name: &str) -> Option<(String, Timestamp)> {
    let exited = input
        .view
        .containers
        .iter()
        .find(|v| v.name == name && v.state == State::Exited)?;
    let since = Timestamp::from_nanosecond(i128::from(exited.finished_at)).ok()?;
    let (_, c) = input.pod.container(name)?;
    let image = c.image.unwrap_or_default();
    let size = serde_json::to_string(&c.resources).unwrap_or_default();
    Some((format!("{name}/{image}/{size}"), since))
}

/// Starts a container unless something makes it wait. Says whether it starts (or is starting).
fn start(input: &Input<'_>, memory: &mut Memory, draft: &mut Draft, kind: Kind, c: &Container) -> bool {
    if memory.starting.contains(&c.name) {
        return true;
    }
    if let Some(retry) = memory.failures.get(&c.name).and_then(|f| f.retry)
        && retry > input.now
    {
        draft.wake_at(retry);
        return false;
    }
    if let Some((key, since)) = backoff_key(input, &c.name)
        && let Some(until) = memory.restarts.until(&key, since, input.now)
    {
        draft.wake_at(until);
        crash_loop(input, memory, draft, c, &key);
        return false;
    }
    let restart_count = input.view.find(&c.name).map_or(0, |v| match v.state {
        State::Created => v.restart_count,
        _ => v.restart_count + 1,
    });
    draft.actions.push(Action::Start {
        kind,
        name: c.name.clone(),
        restart_count,
    });
    true
}

fn crash_loop(input: &Input<'_>, memory: &mut Memory, draft: &mut Draft, c: &Container, key: &str) {
    let delay = go_duration(memory.restarts.delay(key));
    let desc = input.pod.desc();
    let message = format!(
        "back-off {delay} restarting failed container={} pod={desc}",
        c.name
    );
    let failure = Failure {
        reason: "CrashLoopBackOff",
        message,
        retry: None,
    };
    if memory.failures.get(&c.name) != Some(&failure) {
        memory.failures.insert(c.name.clone(), failure);
        let message = format!("Back-off restarting failed container {} in pod {desc}", c.name);
        draft
            .actions
            .push(Action::Event(Event::warning("BackOff", message).on(&c.name)));
    }
}

/// Whether a pod that lost its sandbox has anything left to run in a new one.
pub(super) fn wants_new_sandbox(input: &Input<'_>) -> bool {
    if input.view.containers.is_empty() {
        return true;
    }
    let spec = input.pod.spec();
    if !pod::restarts_on_failure(spec) && !input.pod.mains().iter().any(|c| c.restart_policy.is_some()) {
        return false;
    }
    input.pod.mains().iter().any(|c| {
        let done = input
            .view
            .find(&c.name)
            .is_some_and(|v| v.state == State::Exited && v.exit_code == 0);
        let once = match c.restart_policy.as_deref() {
            Some(own) => own != "Always",
            None => pod::restart_policy(spec) == "OnFailure",
        };
        !(once && done)
    })
}
