//! `containerStatuses`: one per container of the spec (upstream's `convertToAPIContainerStatuses`).

use crate::machine::Input;
use crate::machine::containers::needs_start;
use crate::machine::memory::Memory;
use crate::machine::view::{ContainerView, State};
use crate::pod::{self, PodExt};
use crate::probes::Outcome;
use crate::spec::{resources, security};
use crate::status::whole_second;
use corten_runtime::cri;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, ContainerUser, LinuxContainerUser, Pod, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The scheme of `containerID`.
pub const RUNTIME: &str = "corten";
/// The exit code of a container that is gone without a trace.
const LOST: i32 = 137;

pub(super) fn statuses(
    input: &Input<'_>,
    memory: &Memory,
    list: &[Container],
    old: Option<&Vec<ContainerStatus>>,
    init: bool,
) -> Vec<ContainerStatus> {
    let old = old.map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .map(|c| {
            let before = old.iter().find(|s| s.name == c.name);
            let mut status = one(input, memory, c, before, init);
            readiness(input, c, before, &mut status, init);
            status
        })
        .collect()
}

fn one(
    input: &Input<'_>,
    memory: &Memory,
    c: &Container,
    old: Option<&ContainerStatus>,
    init: bool,
) -> ContainerStatus {
    let mut found = input.view.containers.iter().filter(|v| v.name == c.name);
    let newest = found.next();
    let mut status = match newest {
        Some(v) => reported(input, memory, c, v, old),
        None => absent(input, c, old, init),
    };
    if let Some(previous) = found.next() {
        status.last_state = Some(state_of(previous));
    }
    if init && newest.is_some_and(|v| v.state == State::Exited && v.exit_code == 0) {
        return status;
    }
    if needs_start(input, c, newest)
        && !memory.starting.contains(&c.name)
        && let Some(failure) = memory.failures.get(&c.name)
    {
        if let Some(state) = status.state.take().filter(|s| s.terminated.is_some()) {
            status.last_state = Some(state);
        }
        status.state = Some(waiting(failure.reason, Some(failure.message.clone())));
    }
    status
}

/// A container that the runtime knows.
fn reported(
    input: &Input<'_>,
    memory: &Memory,
    c: &Container,
    v: &ContainerView,
    old: Option<&ContainerStatus>,
) -> ContainerStatus {
    let id = container_id(&v.id);
    let mut state = state_of(v);
    let starting = v.state == State::Running && memory.starting.contains(&c.name);
    if starting || v.state == State::Created {
        // Its post-start hook still runs, or it was only made: not running yet, as far as the API is concerned.
        state = waiting(default_wait(input), None);
    }
    let last_state = old.and_then(|o| {
        let replaced = o.container_id.as_deref() != Some(&id);
        let ended = o.state.as_ref().filter(|s| replaced && s.terminated.is_some());
        ended
            .or(o.last_state.as_ref())
            .filter(|s| s.terminated.is_some())
            .cloned()
    });
    ContainerStatus {
        name: c.name.clone(),
        image: v.image.clone(),
        image_id: v.image_ref.clone(),
        container_id: Some(id),
        restart_count: v.restart_count,
        state: Some(state),
        last_state,
        volume_mounts: mounts(c),
        resources: Some(resources::actual(c, v)),
        allocated_resources: c.resources.as_ref().and_then(|r| r.requests.clone()),
        user: v
            .user
            .as_ref()
            .filter(|_| security::states_identity(input.pod, c))
            .map(user),
        ..ContainerStatus::default()
    }
}

/// A container that the runtime does not know: not created yet, or lost.
fn absent(input: &Input<'_>, c: &Container, old: Option<&ContainerStatus>, init: bool) -> ContainerStatus {
    let mut status = ContainerStatus {
        name: c.name.clone(),
        image: c.image.clone().unwrap_or_default(),
        state: Some(waiting(default_wait(input), None)),
        volume_mounts: mounts(c),
        ..ContainerStatus::default()
    };
    let Some(old) = old else {
        return if init {
            forgotten_init(input, c, status)
        } else {
            status
        };
    };
    if old.state.as_ref().is_some_and(|s| s.terminated.is_some()) {
        return old.clone();
    }
    status.restart_count = old.restart_count;
    status.last_state.clone_from(&old.last_state);
    let was_running = old.state.as_ref().is_some_and(|s| s.running.is_some());
    let ended = status.last_state.as_ref().is_some_and(|s| s.terminated.is_some());
    if was_running && !ended {
        let message =
            "The container could not be located when the pod was deleted.  The container used to be Running";
        status.last_state = Some(lost(message));
        status.restart_count += i32::from(!input.pod.is_deleting());
    }
    if init {
        forgotten_init(input, c, status)
    } else {
        status
    }
}

/// An init container whose record is gone, in a pod whose main containers exist, has done its work.
fn forgotten_init(input: &Input<'_>, c: &Container, mut status: ContainerStatus) -> ContainerStatus {
    let created = input
        .pod
        .mains()
        .iter()
        .any(|m| input.view.find(&m.name).is_some());
    if created && !pod::is_sidecar(c) {
        status.state = Some(ContainerState {
            terminated: Some(ContainerStateTerminated {
                reason: Some("Completed".into()),
                message: Some("Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally".into()),
                ..ContainerStateTerminated::default()
            }),
            ..ContainerState::default()
        });
    }
    status
}

fn readiness(
    input: &Input<'_>,
    c: &Container,
    old: Option<&ContainerStatus>,
    status: &mut ContainerStatus,
    init: bool,
) {
    let state = status.state.clone().unwrap_or_default();
    let view = input.view.find(&c.name);
    let adopted = old.filter(|o| o.container_id.is_some() && o.container_id == status.container_id);
    let started = state.running.is_some()
        && (c.startup_probe.is_none()
            || match view.and_then(|v| input.probes.startup(&v.id)) {
                Some(outcome) => outcome == Outcome::Success,
                None => adopted.is_some_and(|o| o.started == Some(true)),
            });
    status.started = Some(started);
    status.ready = if init && !pod::is_sidecar(c) {
        state.terminated.is_some_and(|t| t.exit_code == 0)
    } else if !started {
        false
    } else if c.readiness_probe.is_none() {
        true
    } else {
        match view.and_then(|v| input.probes.readiness(&v.id)) {
            Some(outcome) => outcome == Outcome::Success,
            None => adopted.is_some_and(|o| o.ready),
        }
    };
}

/// After the last stop: what has no end yet gets one, so that the pod can reach a terminal phase.
pub(super) fn close(pod: &Pod, mains: &mut [ContainerStatus], inits: &mut [ContainerStatus]) {
    let message = "The container could not be located when the pod was terminated";
    let ended = |s: &ContainerStatus| s.state.as_ref().is_some_and(|s| s.terminated.is_some());
    let traced = |s: &ContainerStatus| s.container_id.is_some() || s.last_state.is_some();
    let initialized =
        pod.inits().is_empty() || mains.iter().any(traced) || inits.last().is_some_and(|s| s.ready);
    let last_init = inits.iter().rposition(traced).map_or(0, |i| i + 1);
    let open_inits = inits[..last_init].iter_mut();
    let open_mains = mains.iter_mut().filter(|_| initialized);
    for status in open_inits.chain(open_mains).filter(|s| !ended(s)) {
        status.state = Some(lost(message));
        status.ready = false;
        status.started = Some(false);
    }
}

fn lost(message: &str) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            reason: Some("ContainerStatusUnknown".into()),
            message: Some(message.into()),
            exit_code: LOST,
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

fn default_wait(input: &Input<'_>) -> &'static str {
    if input.pod.inits().is_empty() {
        "ContainerCreating"
    } else {
        "PodInitializing"
    }
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    let reason = Some(reason.to_owned()).filter(|r| !r.is_empty());
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason, message }),
        ..ContainerState::default()
    }
}

pub fn container_id(id: &str) -> String {
    format!("{RUNTIME}://{id}")
}

/// A container that never started did so in 1970, as upstream says it.
fn time(nanos: i64) -> Option<Time> {
    let at = Timestamp::from_nanosecond(i128::from(nanos.max(0))).ok()?;
    Some(Time(whole_second(at)))
}

fn state_of(v: &ContainerView) -> ContainerState {
    let text = |s: &str| Some(s.to_owned()).filter(|s| !s.is_empty());
    match v.state {
        State::Running => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: time(v.started_at),
            }),
            ..ContainerState::default()
        },
        State::Exited => ContainerState {
            terminated: Some(ContainerStateTerminated {
                container_id: Some(container_id(&v.id)),
                exit_code: v.exit_code,
                reason: text(&v.reason),
                message: text(&v.message),
                started_at: time(v.started_at),
                finished_at: time(v.finished_at),
                signal: None,
            }),
            ..ContainerState::default()
        },
        State::Created | State::Unknown => waiting("", None),
    }
}

fn mounts(c: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = c.volume_mounts.as_ref().filter(|m| !m.is_empty())?;
    let one = |m: &k8s_openapi::api::core::v1::VolumeMount| {
        let read_only = m.read_only.filter(|r| *r);
        VolumeMountStatus {
            name: m.name.clone(),
            mount_path: m.mount_path.clone(),
            read_only,
            recursive_read_only: read_only.map(|_| match m.recursive_read_only.as_deref() {
                Some("Enabled" | "IfPossible") => "Enabled".into(),
                _ => "Disabled".into(),
            }),
            ..VolumeMountStatus::default()
        }
    };
    Some(mounts.iter().map(one).collect())
}

fn user(u: &cri::LinuxContainerUser) -> ContainerUser {
    ContainerUser {
        linux: Some(LinuxContainerUser {
            uid: u.uid,
            gid: u.gid,
            supplemental_groups: Some(u.supplemental_groups.clone()).filter(|g| !g.is_empty()),
        }),
    }
}
