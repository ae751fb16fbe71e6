//! One worker per pod: feeds the state machine, carries its actions out, and reports the status.

mod act;
mod kill;
mod messages;
mod mounts;
mod pulls;
mod purge;
mod report;
mod sandbox;
mod start;

use crate::context::Context;
use crate::machine::memory::{End, Memory, Step};
use crate::machine::view::{ContainerView, PodView, State};
use crate::machine::{self, Input};
use crate::pod::PodExt;
use crate::probes::Table;
use crate::time;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use messages::{Done, Flags, Message};
pub use messages::{Handle, Snapshot};

/// Runtime events waiting for one pod; past it the worker reads everything again.
const INBOX: usize = 64;
/// First and greatest delay between attempts to mount (upstream's volume manager).
const MOUNT_RETRY: (std::time::Duration, std::time::Duration) = (
    std::time::Duration::from_millis(500),
    std::time::Duration::from_secs(122),
);

struct Worker {
    cx: Arc<Context>,
    pod: Arc<Pod>,
    pods: watch::Receiver<Arc<Pod>>,
    inbox: mpsc::Receiver<Message>,
    flags: Arc<Flags>,
    snapshot: watch::Sender<Snapshot>,
    view: PodView,
    memory: Memory,
    probes: Table,
    /// Containers that were up before this process.
    adopted: BTreeSet<String>,
    ops: JoinSet<Done>,
    /// Starts run one after another; ending the pod cancels them.
    start_lock: Arc<tokio::sync::Mutex<()>>,
    starts: CancellationToken,
    kills: std::collections::BTreeMap<String, AbortHandle>,
    report: report::Report,
    mount_backoff: corten_stdx::Backoff,
    /// When content from the API is to be written again (token renewal).
    refresh_at: Option<Timestamp>,
    refreshing: bool,
    stop: CancellationToken,
}

/// Starts the worker of one pod. `view` is what the runtime already has of it; a `rejected` pod is only reported.
pub fn spawn(
    cx: Arc<Context>,
    pod: Arc<Pod>,
    view: PodView,
    rejected: Option<crate::admission::Refusal>,
    stop: CancellationToken,
) -> Handle {
    let (pods_tx, mut pods) = watch::channel(Arc::clone(&pod));
    pods.mark_unchanged();
    let (inbox_tx, inbox) = mpsc::channel(INBOX);
    let flags = Arc::new(Flags::default());
    let (snapshot, reader) = watch::channel(Snapshot::default());
    let adopted = view.running().map(|c| c.id.clone()).collect();
    let mut memory = Memory::adopt(pod.status.as_ref());
    memory.rejected = rejected;
    let worker = Worker {
        report: report::Report::new(&pod),
        cx,
        pod,
        pods,
        inbox,
        flags: Arc::clone(&flags),
        snapshot,
        view,
        memory,
        probes: Table::default(),
        adopted,
        ops: JoinSet::new(),
        start_lock: Arc::default(),
        starts: CancellationToken::new(),
        kills: Default::default(),
        mount_backoff: corten_stdx::Backoff::new(MOUNT_RETRY.0, MOUNT_RETRY.1),
        refresh_at: None,
        refreshing: false,
        stop,
    };
    let handle = Handle::new(pods_tx, inbox_tx, flags, reader);
    tokio::spawn(worker.run());
    handle
}

impl Worker {
    async fn run(mut self) {
        self.follow_objects();
        loop {
            let wake = self.step();
            if self.memory.purge == Step::Done {
                return;
            }
            let now = time::now(&self.cx.clock);
            let sleep = wake.map(|at| self.cx.clock.sleep(time::until(at, now)));
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                Some(done) = self.ops.join_next() => match done {
                    Ok(done) => self.finish(done).await,
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => {
                        tracing::error!(pod = self.pod.desc(), %error, "operation panicked");
                        self.relist().await;
                    }
                },
                changed = self.pods.changed() => match changed {
                    Ok(()) => self.take_pod(),
                    Err(_) => return,
                },
                Some(message) = self.inbox.recv() => self.receive(message).await,
                () = self.flags.raised.notified() => self.take_flags().await,
                () = sleep.unwrap_or_else(|| Box::pin(std::future::pending())) => {}
            }
            self.drain().await;
        }
    }

    /// Takes in everything that is already waiting, so that one look at the pod answers all of it.
    async fn drain(&mut self) {
        while let Some(Ok(done)) = self.ops.try_join_next() {
            self.finish(done).await;
        }
        while let Ok(message) = self.inbox.try_recv() {
            self.receive(message).await;
        }
        if self.pods.has_changed().unwrap_or(false) {
            self.take_pod();
        }
    }

    fn take_pod(&mut self) {
        let new = Arc::clone(&self.pods.borrow_and_update());
        let spec_changed = new.spec != self.pod.spec;
        let told_otherwise = |a: &Pod, b: &Pod| {
            let (a, b) = (&a.metadata, &b.metadata);
            a.annotations != b.annotations || a.labels != b.labels
        };
        if spec_changed || told_otherwise(&new, &self.pod) {
            self.configure_again();
        }
        self.pod = new;
        self.report.observed(&self.pod);
        if spec_changed {
            self.follow_objects();
            // A changed spec may change groups' limits; volumes of a pod never change.
            if self.memory.volumes == Step::Done
                && let Err(error) = self.cx.cgroups.ensure(&self.pod)
            {
                tracing::warn!(pod = self.pod.desc(), %error, "pod cgroup not updated");
            }
        }
        if self.memory.volumes == Step::Done && has_downward_volume(&self.pod) {
            self.refresh();
        }
    }

    async fn take_flags(&mut self) {
        if self.flags.removed.load(Ordering::Acquire) {
            self.memory.removed = true;
        }
        if let Some(evicted) = self.flags.evict.lock().take() {
            self.memory.evicted.get_or_insert(evicted);
        }
        if self.flags.relist.swap(false, Ordering::AcqRel) {
            self.relist().await;
        }
        if self.flags.objects.swap(false, Ordering::AcqRel) {
            self.objects_changed();
        }
    }

    fn objects_changed(&mut self) {
        if self.memory.volumes == Step::Done {
            self.refresh();
        } else if let Step::Failed { .. } = self.memory.volumes {
            self.memory.volumes = Step::Idle;
        }
        self.configure_again();
    }

    /// What could not be configured may be possible now.
    fn configure_again(&mut self) {
        self.memory
            .failures
            .retain(|_, f| f.reason != "CreateContainerConfigError");
    }

    fn follow_objects(&self) {
        let flags = Arc::clone(&self.flags);
        self.cx.volumes.hold(
            &self.pod,
            &(Arc::new(move || {
                flags.objects.store(true, Ordering::Release);
                flags.raised.notify_one();
            }) as crate::objects::Notify),
        );
    }

    /// One look: plan, act, report. Returns when to look again.
    fn step(&mut self) -> Option<Timestamp> {
        let now = time::now(&self.cx.clock);
        self.probes
            .follow(&self.pod, &self.view, &|id| self.adopted.contains(id));
        self.memory.status_written = self.report.is_written(&self.memory.status);
        let pod = Arc::clone(&self.pod);
        let view = self.view.clone();
        let results = self.probes.results.clone();
        let input = Input {
            pod: &pod,
            view: &view,
            probes: &results,
            node: &self.cx.facts,
            now,
        };
        let before = std::mem::take(&mut self.memory.status);
        self.memory.status = before.clone();
        let plan = machine::sync(&input, &mut self.memory);
        if self.memory.end.is_some() {
            self.starts.cancel();
        }
        for action in &plan.actions {
            self.memory.begin(action, &input);
        }
        self.act(plan.actions);
        let mut wake = plan.wake;
        self.run_probes(&plan.status, now, &mut wake);
        if let Some(at) = self.refresh_at.filter(|_| self.memory.end.is_none()) {
            if at <= now {
                self.refresh();
            } else {
                wake = Some(wake.map_or(at, |w| w.min(at)));
            }
        }
        let removed = self.memory.end == Some(End::Removed);
        let retry = if removed || plan.held.is_some() {
            None
        } else {
            self.report
                .offer(&self.cx, &self.pod, &plan.status, now, &mut self.ops)
        };
        if let Some(at) = retry {
            wake = Some(wake.map_or(at, |w| w.min(at)));
        }
        self.snapshot
            .send_if_modified(|s| s.update(&self.pod, &self.view, plan.status));
        wake
    }

    fn run_probes(&mut self, status: &PodStatus, now: Timestamp, wake: &mut Option<Timestamp>) {
        let started = |name: &str| is_started(status, name);
        let (due, next) = self.probes.due(now, &started);
        let ip = status.pod_ip.clone().unwrap_or_default();
        for due in due {
            let Some((_, c)) = self.pod.container(&due.container) else {
                continue;
            };
            let Some(probe) = due.kind.of(&c).cloned() else {
                continue;
            };
            let (cx, ip) = (Arc::clone(&self.cx), ip.clone());
            self.ops.spawn(async move {
                let report = crate::probes::run::run(&*cx.runtime, &c, &due.id, &probe, &ip).await;
                Done::Probed { due, report }
            });
        }
        if let Some(at) = next {
            *wake = Some(wake.map_or(at, |w| w.min(at)));
        }
    }

    /// Writes content from the API again; coalesced.
    fn refresh(&mut self) {
        if self.refreshing || self.memory.end.is_some() {
            self.flags.objects.store(self.refreshing, Ordering::Release);
            return;
        }
        self.refreshing = true;
        self.refresh_at = None;
        let (cx, pod, ips) = (Arc::clone(&self.cx), Arc::clone(&self.pod), self.ips());
        self.ops.spawn(async move {
            let now = time::now(&cx.clock);
            Done::Refreshed(cx.volumes.prepare(&pod, ips, &cx.facts, now, false).await)
        });
    }

    fn ips(&self) -> Vec<String> {
        crate::status::pod_ips(self.pod.host_network(), &self.view, &self.cx.facts.host_ips)
    }

    /// Reads all there is of this pod from the runtime.
    async fn relist(&mut self) {
        match crate::pleg::read_pod(&*self.cx.runtime, self.pod.uid()).await {
            Ok(view) => {
                for s in view.sandboxes {
                    self.view.upsert_sandbox(s);
                }
                let ids: BTreeSet<String> = view.containers.iter().map(|c| c.id.clone()).collect();
                self.view.containers.retain(|c| ids.contains(&c.id));
                for c in view.containers {
                    self.observe(c);
                }
            }
            Err(error) => {
                tracing::warn!(
                    pod = self.pod.desc(),
                    error = error.rpc_text(),
                    "runtime not readable"
                );
                self.flags.relist.store(true, Ordering::Release);
                let flags = Arc::clone(&self.flags);
                let sleep = self.cx.clock.sleep(std::time::Duration::from_secs(1));
                tokio::spawn(async move {
                    sleep.await;
                    flags.raised.notify_one();
                });
            }
        }
    }

    /// Takes in a container's report, completing it when it is the container's last.
    fn observe(&mut self, mut c: ContainerView) {
        let news = self
            .view
            .by_id(&c.id)
            .is_none_or(|old| old.state != State::Exited);
        if c.state == State::Exited && news {
            crate::termination::complete(&mut c);
        }
        self.view.upsert(c);
    }

    fn retry_at(&self) -> Timestamp {
        time::now(&self.cx.clock) + machine::memory::RETRY
    }

    fn fail_step(&self) -> Step {
        Step::Failed {
            retry: self.retry_at(),
        }
    }

    fn soon(&self) -> Step {
        Step::Failed {
            retry: time::now(&self.cx.clock) + SignedDuration::from_secs(1),
        }
    }
}

fn is_started(status: &PodStatus, name: &str) -> bool {
    let all = status
        .container_statuses
        .iter()
        .chain(&status.init_container_statuses)
        .flatten();
    all.into_iter().any(|s| s.name == name && s.started == Some(true))
}

fn has_downward_volume(pod: &Pod) -> bool {
    pod.spec().volumes.iter().flatten().any(|v| {
        let projected = v.projected.iter().flat_map(|p| p.sources.iter().flatten());
        v.downward_api.is_some() || projected.into_iter().any(|s| s.downward_api.is_some())
    })
}
