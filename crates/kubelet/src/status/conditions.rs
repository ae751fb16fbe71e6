//! Pod conditions: those the kubelet owns, made anew each time; those of others, kept.

use crate::machine::Input;
use crate::machine::memory::{End, Memory};
use crate::pod::{self, PodExt};
use crate::status::{condition, whole_second};
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Types that nobody but the kubelet sets.
pub const OWNED: [&str; 7] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "PodResizePending",
    "PodResizeInProgress",
];

#[derive(Default, Clone)]
struct Verdict {
    ok: bool,
    reason: Option<String>,
    message: Option<String>,
}

impl Verdict {
    fn yes() -> Self {
        Self {
            ok: true,
            ..Self::default()
        }
    }
    fn because(reason: &str, message: Option<String>) -> Self {
        Self {
            ok: false,
            reason: Some(reason.into()),
            message,
        }
    }
}

pub(super) fn all(input: &Input<'_>, memory: &Memory, status: &PodStatus) -> Vec<PodCondition> {
    let foreign = input
        .pod
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    let mut out: Vec<PodCondition> = foreign
        .filter(|c| !OWNED.contains(&c.type_.as_str()))
        .cloned()
        .collect();
    let mut put = |kind: &str, v: Verdict| {
        let new = stamped(input, memory, kind, v);
        out.retain(|c| c.type_ != kind);
        out.push(new);
    };
    if memory.evicted.is_some()
        && let Some(End::Failed { message, .. }) = &memory.end
    {
        let reason = "TerminationByKubelet".to_owned();
        put(
            "DisruptionTarget",
            Verdict {
                ok: true,
                reason: Some(reason),
                message: Some(message.clone()),
            },
        );
    }
    if let Some((reason, message)) = &memory.resize.pending {
        let (reason, message) = (Some(reason.clone()), Some(message.clone()));
        put(
            "PodResizePending",
            Verdict {
                ok: true,
                reason,
                message,
            },
        );
    }
    if let Some(message) = &memory.resize.in_progress {
        let failed = !message.is_empty();
        let reason = failed.then(|| "Error".to_owned());
        put(
            "PodResizeInProgress",
            Verdict {
                ok: true,
                reason,
                message: failed.then(|| message.clone()),
            },
        );
    }
    let containers = containers_ready(input, status);
    let ready = if containers.ok {
        gates(input)
    } else {
        containers.clone()
    };
    put(
        "PodReadyToStartContainers",
        Verdict {
            ok: sandboxed(input),
            ..Verdict::default()
        },
    );
    put("Initialized", initialized(input, status));
    put("Ready", ready);
    put("ContainersReady", containers);
    put("PodScheduled", Verdict::yes());
    out
}

fn stamped(input: &Input<'_>, memory: &Memory, kind: &str, v: Verdict) -> PodCondition {
    let status = if v.ok { "True" } else { "False" };
    let known = condition(&memory.status, kind)
        .or_else(|| input.pod.status.as_ref().and_then(|s| condition(s, kind)))
        .filter(|c| c.status == status)
        .and_then(|c| c.last_transition_time.clone());
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: v.reason,
        message: v.message,
        observed_generation: input.pod.metadata.generation,
        last_transition_time: known.or_else(|| Some(Time(whole_second(input.now)))),
        last_probe_time: None,
    }
}

fn sandboxed(input: &Input<'_>) -> bool {
    let host = input.pod.host_network();
    input
        .view
        .ready_sandbox()
        .is_some_and(|s| host || !s.ips.is_empty())
}

/// Go's `%v` of a string slice.
fn go_list(names: &[&str]) -> String {
    format!("[{}]", names.join(" "))
}

fn unready(what: &str, unknown: &[&str], bad: &[&str]) -> Option<String> {
    let mut parts = Vec::new();
    if !unknown.is_empty() {
        parts.push(format!("containers with unknown status: {}", go_list(unknown)));
    }
    if !bad.is_empty() {
        parts.push(format!("containers with {what} status: {}", go_list(bad)));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn containers_ready(input: &Input<'_>, status: &PodStatus) -> Verdict {
    let mains = status.container_statuses.as_deref().unwrap_or_default();
    let inits = status.init_container_statuses.as_deref().unwrap_or_default();
    let (mut unknown, mut bad) = (Vec::new(), Vec::new());
    let sidecars = input.pod.inits().iter().filter(|c| pod::is_sidecar(c));
    for c in sidecars.chain(input.pod.mains()) {
        match inits.iter().chain(mains).find(|s| s.name == c.name) {
            None => unknown.push(c.name.as_str()),
            Some(s) if !s.ready => bad.push(c.name.as_str()),
            Some(_) => {}
        }
    }
    match status.phase.as_deref() {
        Some("Succeeded") if unknown.is_empty() => Verdict::because("PodCompleted", None),
        Some("Failed") => Verdict::because("PodFailed", None),
        _ => match unready("unready", &unknown, &bad) {
            Some(message) => Verdict::because("ContainersNotReady", Some(message)),
            None => Verdict::yes(),
        },
    }
}

/// Readiness gates are conditions that others set.
fn gates(input: &Input<'_>) -> Verdict {
    let mut messages = Vec::new();
    for gate in input.pod.spec().readiness_gates.iter().flatten() {
        let kind = &gate.condition_type;
        match input.pod.status.as_ref().and_then(|s| condition(s, kind)) {
            None => messages.push(format!(
                "corresponding condition of pod readiness gate \"{kind}\" does not exist."
            )),
            Some(c) if c.status != "True" => {
                messages.push(format!(
                    "the status of pod readiness gate \"{kind}\" is not \"True\", but {}",
                    c.status
                ));
            }
            Some(_) => {}
        }
    }
    if messages.is_empty() {
        return Verdict::yes();
    }
    Verdict::because("ReadinessGatesNotReady", Some(messages.join(", ")))
}

fn initialized(input: &Input<'_>, status: &PodStatus) -> Verdict {
    let inits = status.init_container_statuses.as_deref().unwrap_or_default();
    let (mut unknown, mut bad) = (Vec::new(), Vec::new());
    for c in input.pod.inits() {
        match inits.iter().find(|s| s.name == c.name) {
            None => unknown.push(c.name.as_str()),
            Some(s) => {
                let done = if pod::is_sidecar(c) {
                    s.started == Some(true)
                } else {
                    s.ready
                };
                if !done {
                    bad.push(c.name.as_str());
                }
            }
        }
    }
    if status.phase.as_deref() == Some("Succeeded") && unknown.is_empty() {
        return Verdict {
            ok: true,
            reason: Some("PodCompleted".into()),
            message: None,
        };
    }
    if status.container_statuses.iter().flatten().any(has_started) {
        return Verdict::yes();
    }
    match unready("incomplete", &unknown, &bad) {
        Some(message) => Verdict::because("ContainersNotInitialized", Some(message)),
        None => Verdict::yes(),
    }
}

fn has_started(s: &ContainerStatus) -> bool {
    let state = s.state.clone().unwrap_or_default();
    let ended = |t: &k8s_openapi::api::core::v1::ContainerState| t.terminated.is_some();
    s.started == Some(true)
        || state.running.is_some()
        || ended(&state)
        || s.last_state.as_ref().is_some_and(ended)
}
