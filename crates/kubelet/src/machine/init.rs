//! Init containers: one after another, sidecars staying up from their turn on (KEP-753).

use super::memory::Memory;
use super::view::{ContainerView, State};
use super::{Draft, Input, KillReason, containers};
use crate::pod::{self, PodExt};
use crate::probes::Outcome;
use k8s_openapi::api::core::v1::Container;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inits {
    /// Indices into the pod's init containers, in order.
    pub start: Vec<usize>,
    /// Initialization has failed for good.
    pub kill_pod: bool,
    pub initialized: bool,
}

enum Verdict {
    /// Leave it; the ones after it wait.
    Wait,
    Start,
    /// Done, or up as a sidecar: the next may start.
    Passed,
    /// A sidecar that is to be stopped, and started again once it has.
    Killed,
    FailedForGood,
}

/// Walks backwards from the last init container: those before the last that left a trace have passed, even where
/// the runtime has forgotten them.
pub(super) fn plan(input: &Input<'_>, memory: &Memory, draft: &mut Draft) -> Inits {
    let inits = input.pod.inits();
    if inits.is_empty() {
        return Inits {
            initialized: true,
            ..Inits::default()
        };
    }
    let mut out = Inits {
        initialized: main_has_started(input),
        ..Inits::default()
    };
    let was_initialized = out.initialized;
    let mut seen = was_initialized;
    for (i, c) in inits.iter().enumerate().rev() {
        let sidecar = pod::is_sidecar(c);
        let Some(v) = input.view.find(&c.name) else {
            if seen && sidecar {
                out.start.push(i);
            }
            continue;
        };
        if seen && !sidecar {
            continue;
        }
        match look(input, memory, draft, c, v) {
            Verdict::Start => out.start.push(i),
            Verdict::Passed if i + 1 == inits.len() => out.initialized = true,
            Verdict::Passed if !seen => out.start.push(i + 1),
            Verdict::FailedForGood => {
                return Inits {
                    kill_pod: true,
                    ..Inits::default()
                };
            }
            Verdict::Passed | Verdict::Wait | Verdict::Killed => {}
        }
        seen = true;
    }
    if !seen {
        out.start.push(0);
    }
    out.start.sort_unstable();
    out.start.dedup();
    out
}

fn main_has_started(input: &Input<'_>) -> bool {
    input.pod.mains().iter().any(|c| {
        input
            .view
            .find(&c.name)
            .is_some_and(|v| matches!(v.state, State::Created | State::Running))
    })
}

fn look(input: &Input<'_>, memory: &Memory, draft: &mut Draft, c: &Container, v: &ContainerView) -> Verdict {
    let sidecar = pod::is_sidecar(c);
    match v.state {
        State::Created | State::Unknown => Verdict::Start,
        State::Running if sidecar => running_sidecar(input, memory, draft, c, v),
        State::Running => {
            containers::resize(input, memory, draft, c, v);
            Verdict::Wait
        }
        State::Exited if sidecar => Verdict::Start,
        State::Exited if v.exit_code == 0 && v.reason != "OOMKilled" => Verdict::Passed,
        State::Exited if containers::needs_start(input, c, Some(v)) => Verdict::Start,
        State::Exited => Verdict::FailedForGood,
    }
}

fn running_sidecar(
    input: &Input<'_>,
    memory: &Memory,
    draft: &mut Draft,
    c: &Container,
    v: &ContainerView,
) -> Verdict {
    let mut kill = |message: String, reason| {
        containers::kill(input, memory, draft, c, v, message, reason);
        Verdict::Killed
    };
    if c.startup_probe.is_some() {
        match input.probes.startup(&v.id) {
            Some(Outcome::Success) => {}
            Some(Outcome::Failure) => {
                return kill(
                    format!("Init container {} failed startup probe", c.name),
                    KillReason::Startup,
                );
            }
            None => return Verdict::Wait,
        }
    }
    if v.hash != pod::container_hash(c) {
        return kill(
            format!("Init container {} definition changed", c.name),
            KillReason::Other,
        );
    }
    if input.probes.liveness(&v.id) == Some(Outcome::Failure) {
        return kill(
            format!("Init container {} failed liveness probe", c.name),
            KillReason::Liveness,
        );
    }
    containers::resize(input, memory, draft, c, v);
    if memory.starting.contains(&c.name) {
        return Verdict::Wait;
    }
    Verdict::Passed
}
