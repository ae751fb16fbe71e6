//! The phase of a pod from the states of its containers (upstream's `getPhase`).

use crate::pod::{self, PodExt};
use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Pod};

fn find<'a>(list: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    list.iter().find(|s| s.name == name)
}

fn exit_code(state: Option<&ContainerState>) -> Option<i32> {
    state?.terminated.as_ref().map(|t| t.exit_code)
}

#[derive(Default)]
struct Inits {
    pending: bool,
    pending_sidecar: bool,
    failed_for_good: bool,
    unknown: bool,
    running: bool,
    waiting: bool,
}

pub(super) fn of(
    pod: &Pod,
    mains: &[ContainerStatus],
    inits: &[ContainerStatus],
    terminal: bool,
) -> &'static str {
    let mut i = Inits::default();
    for c in pod.inits() {
        if pod::is_sidecar(c) {
            sidecar(&mut i, find(inits, &c.name))
        } else {
            init(&mut i, pod, c, inits)
        }
    }
    if i.failed_for_good {
        return "Failed";
    }
    let started = mains.iter().any(|s| {
        let running = s.state.as_ref().is_some_and(|st| st.running.is_some());
        running || s.last_state.as_ref().is_some_and(|st| st.terminated.is_some())
    });
    let (mut unknown, mut running, mut waiting) = (i.unknown, i.running, i.waiting);
    let (mut stopped, mut final_stop, mut succeeded) = (0, 0, 0);
    for c in pod.mains() {
        let Some(s) = find(mains, &c.name) else {
            unknown = true;
            continue;
        };
        let state = s.state.as_ref();
        if state.is_some_and(|s| s.running.is_some()) {
            running = true;
        } else if let Some(code) = exit_code(state).or_else(|| exit_code(s.last_state.as_ref())) {
            stopped += 1;
            final_stop += usize::from(!pod::should_restart(c, pod.spec(), code));
            succeeded += usize::from(code == 0 && exit_code(state).is_some());
        } else if state.is_some_and(|s| s.waiting.is_some()) {
            waiting = true;
        } else {
            unknown = true;
        }
    }
    if i.pending || (i.pending_sidecar && !started) || waiting {
        return "Pending";
    }
    if running && !unknown {
        return "Running";
    }
    if !running && stopped > 0 && !unknown {
        let all = if stopped == succeeded {
            "Succeeded"
        } else {
            "Failed"
        };
        return if terminal || stopped == final_stop {
            all
        } else {
            "Running"
        };
    }
    "Pending"
}

fn init(i: &mut Inits, pod: &Pod, c: &Container, statuses: &[ContainerStatus]) {
    let Some(s) = find(statuses, &c.name) else {
        i.pending = true;
        return;
    };
    let waiting = s.state.as_ref().is_some_and(|s| s.waiting.is_some());
    let code = exit_code(s.state.as_ref()).or_else(|| exit_code(s.last_state.as_ref()).filter(|_| waiting));
    match code {
        Some(0) if !waiting => {}
        Some(0) => {}
        Some(code) => {
            // A failed init container that will run again leaves the pod pending.
            if pod::should_restart(c, pod.spec(), code) {
                i.pending = true
            } else {
                i.failed_for_good = true
            }
        }
        None => i.pending = true,
    }
}

fn sidecar(i: &mut Inits, status: Option<&ContainerStatus>) {
    let Some(s) = status else {
        i.unknown = true;
        return;
    };
    let state = s.state.clone().unwrap_or_default();
    if state.running.is_some() {
        i.pending_sidecar |= s.started != Some(true);
        i.running = true;
    } else if state.terminated.is_some() {
        // An ended sidecar says nothing about the pod.
    } else if state.waiting.is_some() {
        if exit_code(s.last_state.as_ref()).is_none() {
            i.pending_sidecar = true;
            i.waiting = true;
        }
    } else {
        i.pending_sidecar = true;
        i.unknown = true;
    }
}
