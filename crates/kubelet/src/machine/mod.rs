//! The pod state machine: pure. From a pod, what the runtime says, probe results and the time, it derives the pod's
//! status and what to do next. It never waits and never calls anything; the worker carries actions out and reports.

pub mod backoff;
pub mod containers;
mod ending;
mod init;
pub mod memory;
mod replacing;
pub mod view;

#[cfg(test)]
mod transcripts;

pub(crate) use ending::grace_seconds;

use crate::pod::{Kind, PodExt};
use crate::probes::Results;
use crate::status;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use memory::{Memory, Step};
use view::PodView;

/// Containers of one name that are kept: the current and the last.
const KEPT: usize = 2;

/// Why a container is stopped; decides its grace period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillReason {
    Other,
    Liveness,
    Startup,
}

/// One thing to do. Actions of one plan may run side by side, except starts: those run in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Directories, cgroup and volumes of the pod.
    Prepare,
    RunSandbox {
        attempt: u32,
    },
    /// Image, container, post-start hook.
    Start {
        kind: Kind,
        name: String,
        restart_count: i32,
    },
    /// Pre-stop hook, stop signal, SIGKILL at `deadline`.
    Kill {
        id: String,
        name: String,
        message: String,
        deadline: Timestamp,
        pre_stop: bool,
    },
    /// In-place resize of a running container.
    Resize {
        id: String,
        name: String,
    },
    Remove {
        id: String,
    },
    RemoveSandbox {
        id: String,
    },
    /// Stops every sandbox that is not stopped.
    StopSandboxes,
    /// Unmounts volumes and removes the cgroup of a pod that has ended.
    Clean,
    /// Removes sandboxes, containers and directories of a pod that is gone from the API.
    Purge,
    /// Final deletion in the API, once the final status is there.
    DeleteObject,
    Event(Event),
}

/// An event in upstream's words, on the pod or on one of its containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub container: Option<String>,
    pub warning: bool,
    pub reason: &'static str,
    pub message: String,
}

impl Event {
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            container: None,
            warning: false,
            reason,
            message: message.into(),
        }
    }
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            warning: true,
            ..Self::normal(reason, message)
        }
    }
    #[must_use]
    pub fn on(mut self, container: &str) -> Self {
        self.container = Some(container.to_owned());
        self
    }
}

/// What never changes for one node, as far as the machine cares.
#[derive(Debug, Clone, Default)]
pub struct NodeFacts {
    /// The node's addresses, the primary first.
    pub host_ips: Vec<String>,
    /// For `oom_score_adj` and resource fields without limits.
    pub memory_bytes: i64,
    pub cpu_milli: i64,
}

/// What the machine looks at.
pub struct Input<'a> {
    pub pod: &'a Pod,
    pub view: &'a PodView,
    pub probes: &'a Results,
    pub node: &'a NodeFacts,
    pub now: Timestamp,
}

/// What the machine wants.
#[derive(Debug)]
pub struct Plan {
    pub status: PodStatus,
    pub actions: Vec<Action>,
    /// Ask again at this moment even if nothing happens before.
    pub wake: Option<Timestamp>,
    /// The status is not to be told before.
    pub held: Option<Timestamp>,
}

/// Collects actions and the next moment of interest.
#[derive(Debug, Default)]
struct Draft {
    actions: Vec<Action>,
    wake: Option<Timestamp>,
}

impl Draft {
    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |w| w.min(at)));
    }
}

/// One look at the pod.
pub fn sync(input: &Input<'_>, memory: &mut Memory) -> Plan {
    let mut draft = Draft::default();
    let status = status::generate(input, memory, false);
    ending::decide(input, memory, &status, &mut draft);
    if memory.end.is_some() {
        ending::plan(input, memory, &mut draft);
    } else {
        keep_running(input, memory, &mut draft);
        forget_old(input, memory, &mut draft);
    }
    let terminal = memory.end.is_some() && !memory.busy(input.view);
    let status = status::generate(input, memory, terminal);
    ending::last_steps(input, memory, &status, &mut draft);
    memory.status = status.clone();
    let held = replacing::held_until(input, memory, &draft);
    if let Some(at) = held {
        draft.wake_at(at);
    }
    Plan {
        held,
        status,
        actions: draft.actions,
        wake: draft.wake,
    }
}

/// Brings the pod up and keeps it up.
fn keep_running(input: &Input<'_>, memory: &mut Memory, draft: &mut Draft) {
    match memory.volumes {
        Step::Idle => draft.actions.push(Action::Prepare),
        Step::Failed { retry } if retry <= input.now => draft.actions.push(Action::Prepare),
        Step::Failed { retry } => draft.wake_at(retry),
        Step::Running | Step::Done => {}
    }
    if memory.sandbox == Step::Running {
        return;
    }
    if sandbox_is_good(input) {
        if memory.volumes == Step::Done {
            containers::plan(input, memory, draft);
        }
        return;
    }
    replace_sandbox(input, memory, draft);
}

fn sandbox_is_good(input: &Input<'_>) -> bool {
    let host = input.pod.host_network();
    input
        .view
        .ready_sandbox()
        .is_some_and(|s| s.host_network == host && (host || !s.ips.is_empty()))
}

/// Everything in a pod dies with its sandbox; then it starts over, unless it has nothing left to run.
fn replace_sandbox(input: &Input<'_>, memory: &mut Memory, draft: &mut Draft) {
    if !input.view.sandboxes.is_empty() && !containers::wants_new_sandbox(input) {
        memory.end = Some(memory::End::Finished);
        return;
    }
    let stale = input.view.running().next().is_some() || input.view.sandboxes.iter().any(|s| s.ready);
    if stale {
        ending::stop_all(input, memory, draft, &|name| format!("Stopping container {name}"));
        return;
    }
    if let Step::Failed { retry } = memory.sandbox
        && retry > input.now
    {
        draft.wake_at(retry);
        return;
    }
    let last = input.view.sandboxes.first();
    if last.is_some() {
        let message = "Pod sandbox changed, it will be killed and re-created.";
        draft
            .actions
            .push(Action::Event(Event::normal("SandboxChanged", message)));
    }
    let inits: Vec<&str> = input.pod.inits().iter().map(|c| c.name.as_str()).collect();
    for c in input
        .view
        .containers
        .iter()
        .filter(|c| inits.contains(&c.name.as_str()))
    {
        draft.actions.push(Action::Remove { id: c.id.clone() });
    }
    draft.actions.push(Action::RunSandbox {
        attempt: last.map_or(0, |s| s.attempt + 1),
    });
}

/// Of each container the current and the one before are kept (its logs, its exit code), of sandboxes the same.
fn forget_old(input: &Input<'_>, memory: &Memory, draft: &mut Draft) {
    let mut seen: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for c in &input.view.containers {
        let count = seen.entry(&c.name).or_default();
        *count += 1;
        let old = match c.state {
            view::State::Exited => *count > KEPT,
            // Made by an agent that ended before it could start it.
            view::State::Created => *count > 1,
            view::State::Running | view::State::Unknown => false,
        };
        if old && !memory.removing.contains(&c.id) {
            draft.actions.push(Action::Remove { id: c.id.clone() });
        }
    }
    for s in input.view.sandboxes.iter().skip(KEPT) {
        if !s.ready && !memory.removing.contains(&s.id) {
            draft.actions.push(Action::RemoveSandbox { id: s.id.clone() });
        }
    }
}
