//! The wiring: informers into the core, its decisions into requests.

use std::sync::Arc;
use std::time::Duration;

use corten_client::Pod;
use corten_client::events::{Level, Recorder, timestamp};
use corten_client::object::{MetaExt, path, reference};
use corten_client::request::STRATEGIC_PATCH;
use corten_client::selector::Selector;
use corten_client::{Caller, CancellationToken, Error, Event, Factory, Informer};
use corten_stdx::SharedClock;
use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolumeClaim};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{Notify, Semaphore};

use crate::core::{Core, Outcome};
use crate::preempt::{Budget, Preemption};
use crate::queue::Cause;

/// Bindings and status writes under way at a time; scheduling waits when there are more.
pub const MAX_IN_FLIGHT: usize = 1024;
/// Pods scheduled before other tasks of the process get a turn.
const BATCH: usize = 64;

/// What the scheduler needs to be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Pods with this `schedulerName` are scheduled.
    pub name: String,
    pub clock: SharedClock,
}

impl Config {
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self {
            name: "default-scheduler".into(),
            clock,
        }
    }
}

struct Scheduler {
    core: Mutex<Core>,
    woken: Notify,
    caller: Caller,
    recorder: Recorder,
    clock: SharedClock,
    name: String,
    in_flight: Arc<Semaphore>,
}

/// Schedules pods until `stop`. `factory` may be shared with the controllers of the process.
pub async fn run(factory: Factory, config: Config, stop: CancellationToken) {
    let client = factory.client().clone();
    let recorder = Recorder::new(
        client.clone(),
        "default-scheduler",
        "",
        config.clock.clone(),
        stop.clone(),
    );
    let this = Arc::new(Scheduler {
        core: Mutex::default(),
        woken: Notify::new(),
        caller: client.into(),
        recorder,
        clock: config.clock,
        name: config.name,
        in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
    });
    let nodes = factory.informer::<Node>();
    let budgets = factory.informer::<PodDisruptionBudget>();
    let claims = factory.informer::<PersistentVolumeClaim>();
    let pods = factory.informer::<Pod>();
    let namespaces = factory.informer::<Namespace>();
    this.watch_nodes(&nodes);
    this.watch_namespaces(&namespaces);
    this.watch_budgets(&budgets);
    this.watch_claims(&claims);
    nodes.synced().await;
    namespaces.synced().await;
    this.watch_pods(&pods);
    pods.synced().await;
    claims.synced().await;
    budgets.synced().await;
    tokio::select! {
        () = stop.cancelled() => {}
        () = Arc::clone(&this).schedule() => {}
    }
    // Bindings that were sent are waited for, so that none is left half done.
    let all = u32::try_from(MAX_IN_FLIGHT).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(Duration::from_secs(5), this.in_flight.acquire_many(all)).await;
}

impl Scheduler {
    fn now(&self) -> Timestamp {
        timestamp(&self.clock)
    }

    fn watch_nodes(self: &Arc<Self>, nodes: &Informer<Node>) {
        let this = Arc::clone(self);
        nodes.on_event(move |event| {
            let now = this.now();
            let mut core = this.core.lock();
            match event {
                Event::Added(node) => core.set_node(None, node, now),
                Event::Updated { old, new } => core.set_node(Some(old), new, now),
                Event::Deleted(node) => core.remove_node(node.metadata.name()),
            }
            drop(core);
            this.woken.notify_one();
        });
    }

    fn watch_pods(self: &Arc<Self>, pods: &Informer<Pod>) {
        let this = Arc::clone(self);
        pods.on_event(move |event| {
            let now = this.now();
            let pod = event.object();
            let wanted = pod
                .spec
                .as_ref()
                .and_then(|s| s.scheduler_name.as_deref())
                .unwrap_or("default-scheduler");
            let mut core = this.core.lock();
            match &event {
                Event::Deleted(pod) => core.remove_pod(pod.metadata.uid(), now),
                _ => core.set_pod(pod, wanted == this.name, now),
            }
            drop(core);
            this.woken.notify_one();
        });
    }

    fn watch_budgets(self: &Arc<Self>, budgets: &Informer<PodDisruptionBudget>) {
        let (this, all) = (Arc::clone(self), budgets.clone());
        budgets.on_event(move |_| {
            let list = all.list().into_iter().filter_map(|b| {
                Some(Budget {
                    ns: b.metadata.ns().to_owned(),
                    selector: Selector::new(b.spec.as_ref()?.selector.as_ref()).ok()?,
                    allowed: b.status.as_ref().and_then(|s| s.disruptions_allowed).unwrap_or(0),
                })
            });
            this.core.lock().budgets = list.collect();
        });
    }

    fn watch_namespaces(self: &Arc<Self>, namespaces: &Informer<Namespace>) {
        let this = Arc::clone(self);
        namespaces.on_event(move |event| {
            let now = this.now();
            let mut core = this.core.lock();
            match event {
                Event::Added(new) | Event::Updated { new, .. } => core.set_namespace(new, now),
                Event::Deleted(old) => core.remove_namespace(old.metadata.name()),
            }
            drop(core);
            this.woken.notify_one();
        });
    }

    fn watch_claims(self: &Arc<Self>, claims: &Informer<PersistentVolumeClaim>) {
        let (this, all) = (Arc::clone(self), claims.clone());
        self.core.lock().volumes = Some(Box::new(move |pod| unbound_claim(pod, &all)));
        claims.on_event(move |_| {
            let now = this.now();
            this.core.lock().queue.happened(Cause::Volume, now);
            this.woken.notify_one();
        });
    }

    async fn schedule(self: Arc<Self>) {
        loop {
            let woken = self.woken.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            for _ in 0..BATCH {
                let Ok(permit) = Arc::clone(&self.in_flight).acquire_owned().await else {
                    return;
                };
                let outcome = self.core.lock().schedule_one(self.now());
                let Some(outcome) = outcome else { break };
                let this = Arc::clone(&self);
                tokio::spawn(async move {
                    this.settle(outcome).await;
                    drop(permit);
                });
            }
            let (busy, wakes_at) = {
                let core = self.core.lock();
                (core.queue.has_active(), core.queue.wakes_at())
            };
            if busy {
                tokio::task::yield_now().await;
                continue;
            }
            match wakes_at {
                Some(at) => {
                    let wait = at.duration_since(self.now()).unsigned_abs();
                    let _ = tokio::time::timeout(wait + Duration::from_millis(1), woken).await;
                }
                None => woken.await,
            }
        }
    }

    async fn settle(&self, outcome: Outcome) {
        match outcome {
            Outcome::Bind { pod, node } => self.bind(&pod, &node).await,
            Outcome::Unschedulable {
                pod,
                message,
                preemption,
            } => self.refuse(&pod, message, preemption).await,
        }
    }

    async fn bind(&self, pod: &Arc<Pod>, node: &str) {
        let meta = &pod.metadata;
        let body = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": meta.name(), "namespace": meta.ns(), "uid": meta.uid()},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let target = path::<Pod>(meta.ns(), meta.name(), "binding");
        let sent = self
            .caller
            .send(
                Method::POST,
                &target,
                "application/json",
                body.to_string().into_bytes(),
            )
            .await;
        match sent {
            Ok(_) => {
                let message = format!("Successfully assigned {}/{} to {node}", meta.ns(), meta.name());
                self.recorder
                    .acted(reference(&**pod), Level::Normal, "Scheduled", "Binding", message);
            }
            Err(error) => {
                let now = self.now();
                if error.is_not_found() {
                    self.core.lock().remove_pod(meta.uid(), now);
                } else {
                    tracing::warn!(pod = %format!("{}/{}", meta.ns(), meta.name()), %error, "binding failed");
                    self.core.lock().bind_failed(meta.uid(), now);
                    let message = format!("binding rejected: {error}");
                    self.recorder.acted(
                        reference(&**pod),
                        Level::Warning,
                        "FailedScheduling",
                        "Scheduling",
                        message,
                    );
                }
                self.woken.notify_one();
            }
        }
    }

    async fn refuse(&self, pod: &Arc<Pod>, message: String, preemption: Option<Preemption>) {
        let about = reference(&**pod);
        self.recorder.acted(
            about,
            Level::Warning,
            "FailedScheduling",
            "Scheduling",
            message.clone(),
        );
        let nominated = preemption.as_ref().map(|p| p.node.clone());
        if let Some(preemption) = preemption {
            self.preempt(pod, &preemption).await;
        }
        if let Err(error) = self.say_unschedulable(pod, &message, nominated.as_deref()).await
            && !error.is_not_found()
        {
            tracing::warn!(%error, "the condition of an unschedulable pod was not written");
        }
    }

    async fn say_unschedulable(
        &self,
        pod: &Pod,
        message: &str,
        nominated: Option<&str>,
    ) -> Result<(), Error> {
        let status = pod.status.clone().unwrap_or_default();
        let old = status
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == "PodScheduled");
        let same = old.is_some_and(|c| {
            (c.status.as_str(), c.reason.as_deref(), c.message.as_deref())
                == ("False", Some("Unschedulable"), Some(message))
        });
        if same && nominated == status.nominated_node_name.as_deref().filter(|n| !n.is_empty()) {
            return Ok(());
        }
        let since = match old {
            Some(old) if old.status == "False" => old.last_transition_time.as_ref().map(|t| t.0),
            _ => None,
        };
        let since =
            Timestamp::from_second(since.unwrap_or_else(|| self.now()).as_second()).unwrap_or_default();
        let mut patch = json!({"metadata": {"uid": pod.metadata.uid()}, "status": {"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "lastProbeTime": null, "lastTransitionTime": since.to_string(),
            "observedGeneration": pod.metadata.generation,
        }]}});
        if let Some(node) = nominated {
            patch["status"]["nominatedNodeName"] = json!(node);
        }
        let target = path::<Pod>(pod.metadata.ns(), pod.metadata.name(), "status");
        self.caller
            .patch(&target, STRATEGIC_PATCH, &patch)
            .await
            .map(drop)
    }

    async fn preempt(&self, pod: &Pod, preemption: &Preemption) {
        for victim in preemption.victims.iter().filter(|v| !v.metadata.terminating()) {
            let meta = &victim.metadata;
            let now = Timestamp::from_second(self.now().as_second()).unwrap_or_default();
            let condition = json!({"metadata": {"uid": meta.uid()}, "status": {"conditions": [{
                "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
                "message": format!("{}: preempting to accommodate a higher priority pod", self.name),
                "lastProbeTime": null, "lastTransitionTime": now.to_string(),
            }]}});
            let target = path::<Pod>(meta.ns(), meta.name(), "status");
            let patched = self.caller.patch(&target, STRATEGIC_PATCH, &condition).await;
            let target = path::<Pod>(meta.ns(), meta.name(), "");
            let deleted = self
                .caller
                .delete(&target, &json!({"preconditions": {"uid": meta.uid()}}))
                .await;
            match patched.and(deleted) {
                Err(error) if !error.is_not_found() => tracing::warn!(%error, "a pod was not preempted"),
                _ => {
                    let message = format!(
                        "Preempted by pod {} on node {}",
                        pod.metadata.uid(),
                        preemption.node
                    );
                    self.recorder.acted(
                        reference(&**victim),
                        Level::Normal,
                        "Preempted",
                        "Preempting",
                        message,
                    );
                }
            }
        }
    }
}

/// Why the claims of a pod keep it waiting. Claims that bind on first use are taken as they are: provisioning is not
/// this crate's yet.
fn unbound_claim(pod: &Pod, claims: &Informer<PersistentVolumeClaim>) -> Option<String> {
    for volume in &pod.spec.as_ref()?.volumes {
        let name = volume.claim(pod.metadata.name());
        let Some(claim) = claims.get(pod.metadata.ns(), &name) else {
            return Some(format!("persistentvolumeclaim \"{name}\" not found"));
        };
        if claim.metadata.terminating() {
            return Some(format!("persistentvolumeclaim \"{name}\" is being deleted"));
        }
        let bound = claim
            .spec
            .as_ref()
            .and_then(|s| s.volume_name.as_deref())
            .is_some_and(|v| !v.is_empty());
        if !bound {
            return Some("pod has unbound immediate PersistentVolumeClaims".into());
        }
    }
    None
}
