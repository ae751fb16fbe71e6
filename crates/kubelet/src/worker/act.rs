//! Starts operations for actions, and takes their results in.

use super::messages::{Done, Message};
use super::{Worker, kill, purge, sandbox, start};
use crate::machine::memory::Step;
use crate::machine::view::SandboxView;
use crate::machine::{Action, Event};
use crate::pod::PodExt;
use crate::probes::Report;
use crate::time;
use corten_runtime::cri;
use std::sync::Arc;

impl Worker {
    pub(super) fn act(&mut self, actions: Vec<Action>) {
        let mut starts = Vec::new();
        for action in actions {
            let (cx, pod) = (Arc::clone(&self.cx), Arc::clone(&self.pod));
            match action {
                Action::Prepare => {
                    let ips = self.ips();
                    self.ops.spawn(sandbox::prepare(cx, pod, ips));
                }
                Action::RunSandbox { attempt } => {
                    self.ops.spawn(sandbox::run(cx, pod, attempt));
                }
                Action::Start {
                    kind,
                    name,
                    restart_count,
                } => {
                    starts.push(start::Job {
                        kind,
                        name,
                        restart_count,
                    });
                }
                kill @ Action::Kill { .. } => self.kill(kill),
                Action::Resize { id, name } => {
                    self.ops.spawn(start::resize(cx, pod, id, name));
                }
                Action::Remove { id } => {
                    let log = self
                        .view
                        .by_id(&id)
                        .map(|v| v.log_path.clone())
                        .unwrap_or_default();
                    self.ops.spawn(purge::container(cx, id, log));
                }
                Action::RemoveSandbox { id } => {
                    self.ops.spawn(purge::sandbox(cx, id));
                }
                Action::StopSandboxes => {
                    let ready = self.view.sandboxes.iter().filter(|s| s.ready).cloned().collect();
                    self.ops.spawn(sandbox::stop(cx, ready));
                }
                Action::Clean => {
                    self.ops.spawn(purge::clean(cx, pod));
                }
                Action::Purge => {
                    self.ops.spawn(purge::purge(cx, pod, self.view.clone()));
                }
                Action::DeleteObject => {
                    self.ops.spawn(purge::delete_object(cx, pod));
                }
                Action::Event(event) => self.cx.record(&self.pod, event),
            }
        }
        self.start(starts);
    }

    /// A kill under way for longer than this one would take gives way to it.
    fn kill(&mut self, action: Action) {
        let Action::Kill {
            id,
            name,
            message,
            deadline,
            pre_stop,
        } = action
        else {
            return;
        };
        let ip = self.ips().into_iter().next().unwrap_or_default();
        let annotations = self.view.by_id(&id).map(|v| v.annotations.clone());
        let job = kill::Job {
            id: id.clone(),
            name,
            message,
            deadline,
            pre_stop,
            ip,
            annotations: annotations.unwrap_or_default(),
        };
        let (cx, pod) = (Arc::clone(&self.cx), Arc::clone(&self.pod));
        let task = self.ops.spawn(kill::run(cx, pod, job));
        if let Some(old) = self.kills.insert(id, task) {
            old.abort();
        }
    }

    /// One task for all starts of a plan, behind those of earlier plans.
    fn start(&mut self, jobs: Vec<start::Job>) {
        if jobs.is_empty() {
            return;
        }
        let Some(sandbox) = self.view.ready_sandbox().cloned() else {
            for job in &jobs {
                self.memory.starting.remove(&job.name);
            }
            return;
        };
        let run = start::Run {
            cx: Arc::clone(&self.cx),
            pod: Arc::clone(&self.pod),
            ips: self.ips(),
            sandbox,
            view: self.view.clone(),
            cancel: self.starts.clone(),
        };
        let lock = Arc::clone(&self.start_lock);
        let mut turn = None;
        for job in jobs {
            let (run, lock) = (run.clone(), Arc::clone(&lock));
            // Each start waits for the one before it in this plan; the lock orders plans.
            let (done, next) = tokio::sync::oneshot::channel::<()>();
            let before = turn.replace(next);
            self.ops.spawn(async move {
                if let Some(before) = before {
                    // An error is the end of the start before, too.
                    let _ = before.await;
                }
                let guard = lock.lock().await;
                let out = run.start(job).await;
                drop(guard);
                drop(done);
                out
            });
        }
    }

    pub(super) async fn finish(&mut self, done: Done) {
        match done {
            Done::Prepared(Ok(renew)) => {
                self.memory.volumes = Step::Done;
                self.refresh_at = renew;
            }
            Done::Prepared(Err(problem)) => {
                self.mount_failed(&problem);
                self.memory.volumes = self.backed_off();
            }
            Done::Refreshed(result) => {
                self.refreshing = false;
                match result {
                    Ok(renew) => self.refresh_at = renew,
                    Err(problem) => {
                        self.mount_failed(&problem);
                        self.refresh_at = Some(self.retry_at());
                    }
                }
                if self
                    .flags
                    .objects
                    .swap(false, std::sync::atomic::Ordering::AcqRel)
                {
                    self.refresh();
                }
            }
            Done::Sandbox(Ok(view)) => {
                self.memory.sandbox = Step::Idle;
                self.view.upsert_sandbox(view);
                if self.memory.volumes == Step::Done && super::has_downward_volume(&self.pod) {
                    self.refresh(); // It knows its addresses now.
                }
            }
            Done::Sandbox(Err(message)) => {
                self.memory.sandbox = self.fail_step();
                if self.memory.end.is_none() {
                    let text = format!("Failed to create pod sandbox: {message}");
                    self.cx
                        .record(&self.pod, Event::warning("FailedCreatePodSandBox", text));
                }
            }
            other => self.finish_container(other).await,
        }
    }

    async fn finish_container(&mut self, done: Done) {
        match done {
            Done::Started { name, view, failure } => {
                self.memory.starting.remove(&name);
                if let Some(view) = view {
                    self.observe(*view);
                }
                match failure {
                    Some(failure) => drop(self.memory.failures.insert(name, failure)),
                    None => drop(self.memory.failures.remove(&name)),
                }
            }
            Done::Killed { id, view, error } => {
                self.kills.remove(&id);
                self.memory.killing.remove(&id);
                match view {
                    Some(view) => self.observe(*view),
                    None if error.is_none() => drop(self.view.remove(&id)),
                    None => {}
                }
                if let Some(error) = error {
                    let text = format!("error killing pod: {error}");
                    self.cx.record(&self.pod, Event::warning("FailedKillPod", text));
                }
            }
            Done::Resized { id, view, error } => {
                self.memory.resizing.remove(&id);
                if let Some(view) = view {
                    self.observe(*view);
                }
                self.resized(error);
            }
            Done::Removed { id, error } => {
                self.memory.removing.remove(&id);
                match error {
                    None => drop(self.view.remove(&id)),
                    Some(error) => tracing::warn!(pod = self.pod.desc(), error, "container not removed"),
                }
            }
            Done::Probed { due, report } => self.probed(&due, &report),
            other => self.finish_pod(other).await,
        }
    }

    async fn finish_pod(&mut self, done: Done) {
        match done {
            Done::Stopped(views, result) => {
                for view in views {
                    self.view.upsert_sandbox(view);
                }
                self.memory.stop_sandboxes = match result {
                    Ok(()) => Step::Idle,
                    Err(error) => {
                        tracing::warn!(pod = self.pod.desc(), error, "sandbox not stopped");
                        self.soon()
                    }
                };
            }
            Done::Cleaned(result) => self.memory.clean = self.settled("volumes not cleaned up", result),
            Done::Purged(result) => self.memory.purge = self.settled("pod not purged", result),
            Done::Deleted(result) => self.memory.delete = self.settled("pod object not deleted", result),
            Done::Reported { sent, result } => self.report.answered(&self.cx, *sent, result),
            _ => {}
        }
    }

    fn settled(&self, what: &str, result: Result<(), String>) -> Step {
        match result {
            Ok(()) => Step::Done,
            Err(error) => {
                tracing::warn!(pod = self.pod.desc(), error, "{what}; trying again");
                self.soon()
            }
        }
    }

    fn probed(&mut self, due: &crate::probes::Due, report: &Report) {
        let title = due.kind.title();
        let event = match report {
            Report::Success => None,
            Report::Warning(text) => Some(Event::warning(
                "ProbeWarning",
                format!("{title} probe warning: {text}"),
            )),
            Report::Failure(text) => Some(Event::warning(
                "Unhealthy",
                format!("{title} probe failed: {text}"),
            )),
            Report::Error(text) => Some(Event::warning(
                "Unhealthy",
                format!("{title} probe errored and resulted in unknown state: {text}"),
            )),
        };
        let alive = self
            .view
            .by_id(&due.id)
            .is_some_and(|v| v.state == crate::machine::view::State::Running);
        let early = self.probes.is_early(due);
        if let Some(event) = event.filter(|_| alive && !early && self.memory.end.is_none()) {
            self.cx.record(&self.pod, event.on(&due.container));
        }
        let now = time::now(&self.cx.clock);
        self.probes.complete(due, &self.pod, report, now);
    }

    fn mount_failed(&self, problem: &crate::volumes::Problem) {
        let text = match problem.volume.as_str() {
            "" => problem.message.clone(),
            volume => format!(
                "MountVolume.SetUp failed for volume \"{volume}\" : {}",
                problem.message
            ),
        };
        self.cx.record(&self.pod, Event::warning("FailedMount", text));
    }

    fn resized(&mut self, error: Option<String>) {
        if let Some(error) = error {
            let text = format!("Pod resize error: {error}");
            self.cx.record(&self.pod, Event::warning("ResizeError", text));
            self.memory.resize.in_progress = Some(error);
        } else if let Some(message) = &mut self.memory.resize.in_progress {
            message.clear();
        }
    }

    /// Mounts are tried again after half a second, then a second, and so on up to two minutes, as upstream's.
    fn backed_off(&mut self) -> Step {
        let delay = self.mount_backoff.next_delay();
        let delay = jiff::SignedDuration::try_from(delay).unwrap_or(crate::machine::memory::RETRY);
        Step::Failed {
            retry: time::now(&self.cx.clock) + delay,
        }
    }

    pub(super) async fn receive(&mut self, message: Message) {
        let Message::Runtime(event) = message;
        if event.container_event_type() == cri::ContainerEventType::ContainerDeletedEvent {
            self.view.remove(&event.container_id);
        }
        if let Some(status) = event.pod_sandbox_status {
            let view = SandboxView::from(status);
            if event.container_id != view.id || self.view.sandboxes.iter().any(|s| s.id == view.id) {
                self.view.upsert_sandbox(view);
            }
        }
        for status in event.containers_statuses {
            self.observe(status.into());
        }
    }
}
