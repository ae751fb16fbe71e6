//! Stops one container: pre-stop hook, stop signal, SIGKILL.

use super::messages::Done;
use super::start::read;
use crate::context::Context;
use crate::hooks;
use crate::machine::Event;
use crate::pod::PodExt;
use crate::spec::labels;
use crate::time;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Upstream always leaves a container this long between the stop signal and SIGKILL.
const MIN_GRACE: Duration = Duration::from_secs(2);

pub(super) struct Job {
    pub id: String,
    pub name: String,
    pub message: String,
    /// SIGKILL at this moment.
    pub deadline: Timestamp,
    pub pre_stop: bool,
    /// The pod's address, for HTTP hooks.
    pub ip: String,
    /// What an earlier kubelet wrote on the container, where the spec no longer has it.
    pub annotations: BTreeMap<String, String>,
}

pub(super) async fn run(cx: Arc<Context>, pod: Arc<Pod>, job: Job) -> Done {
    let c = pod.container(&job.name).map_or_else(
        || Container {
            name: job.name.clone(),
            ..Container::default()
        },
        |(_, c)| c,
    );
    cx.record(&pod, Event::normal("Killing", job.message.clone()).on(&job.name));
    let hook = c.lifecycle.as_ref().and_then(|l| l.pre_stop.clone());
    let hook = hook.or_else(|| labels::pre_stop(&job.annotations));
    if let Some(hook) = hook.filter(|_| job.pre_stop) {
        pre_stop(&cx, &pod, &c, &job, &hook).await;
    }
    let left = time::until(job.deadline, time::now(&cx.clock));
    // A deletion without any grace (force) still gets its signal, and no more than a second.
    let grace = if job.pre_stop { left.max(MIN_GRACE) } else { left };
    let error = cx.runtime.stop_container(&job.id, grace).await.err();
    let error = error
        .filter(|e| !e.is_not_found())
        .map(|e| e.rpc_text().replace(&job.id, &job.name));
    let view = read(&cx, &job.id).await;
    Done::Killed {
        id: job.id,
        view,
        error,
    }
}

async fn pre_stop(cx: &Context, pod: &Pod, c: &Container, job: &Job, hook: &LifecycleHandler) {
    let left = time::until(job.deadline, time::now(&cx.clock));
    let run = hooks::run(&*cx.runtime, &cx.clock, &job.id, c, hook, &job.ip);
    tokio::select! {
        () = cx.clock.sleep(left) => {
            tracing::info!(pod = pod.desc(), container = c.name, "pre-stop hook did not end within the grace period");
        }
        done = run => if let Err(error) = done {
            tracing::info!(pod = pod.desc(), container = c.name, error, "pre-stop hook failed");
            cx.record(pod, Event::warning("FailedPreStopHook", "PreStopHook failed").on(&c.name));
        }
    }
}
