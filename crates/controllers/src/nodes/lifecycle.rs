//! The node lifecycle controller: notices silent nodes, taints them, and marks their pods unready.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use corten_client::Pod;
use corten_client::driver::{self, Next};
use corten_client::object::MetaExt;
use corten_client::request::STRATEGIC_PATCH;
use corten_client::{Error, Event, Informer, Key, Queue};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use parking_lot::Mutex;
use serde_json::json;

use super::health::{self, Health, Verdict};
use super::{by_node, ready, taints};
use crate::core::{Action, Context, Executor, Note, Write};

const WORKERS: usize = 8;
const LEASES: &str = "kube-node-lease";

/// How long nodes may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Grace {
    /// A node that has reported before.
    pub monitor: Duration,
    /// A node that never has.
    pub startup: Duration,
}

impl Default for Grace {
    fn default() -> Self {
        Self {
            monitor: Duration::from_secs(50),
            startup: Duration::from_secs(60),
        }
    }
}

/// A token bucket of size one.
struct Limiter {
    next: Timestamp,
}

struct Controller {
    context: Context,
    executor: Executor,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    grace: Grace,
    /// Bounded by the nodes there are.
    health: Mutex<HashMap<String, Health>>,
    /// Readiness as last acted upon.
    acted: Mutex<HashMap<String, bool>>,
    limiters: Mutex<HashMap<String, Limiter>>,
    queue: Queue<Key>,
}

/// Runs the controller until its context stops.
pub async fn run(context: Context, grace: Grace) {
    let nodes = context.factory.informer::<Node>();
    let leases = context.factory.informer::<Lease>();
    let pods = context.factory.informer::<Pod>();
    pods.add_index("node", by_node);
    let queue: Queue<Key> = Queue::new("node_lifecycle");
    let this = Arc::new(Controller {
        executor: context.executor("node-controller"),
        nodes: nodes.clone(),
        pods: pods.clone(),
        grace,
        health: Mutex::default(),
        acted: Mutex::default(),
        limiters: Mutex::default(),
        queue: queue.clone(),
        context: context.clone(),
    });
    this.watch(&nodes, &leases);
    nodes.synced().await;
    leases.synced().await;
    pods.synced().await;
    driver::run(
        "node_lifecycle",
        queue,
        WORKERS,
        context.stop.clone(),
        move |key| {
            let this = Arc::clone(&this);
            async move { this.sync(&key).await }
        },
    )
    .await;
}

impl Controller {
    fn watch(self: &Arc<Self>, nodes: &Informer<Node>, leases: &Informer<Lease>) {
        let this = Arc::clone(self);
        nodes.on_event(move |event| {
            let node = event.object();
            let name = node.metadata.name();
            match event {
                Event::Deleted(_) => {
                    this.health.lock().remove(name);
                    this.acted.lock().remove(name);
                    this.tell(
                        node,
                        "RemovingNode",
                        &format!("Removing Node {name} from Controller"),
                    );
                }
                Event::Added(_) => {
                    this.tell(
                        node,
                        "RegisteredNode",
                        &format!("Registered Node {name} in Controller"),
                    );
                    this.seen(node);
                }
                Event::Updated { .. } => this.seen(node),
            }
            this.queue.add(Key::of(&**node));
        });
        let this = Arc::clone(self);
        leases.on_event(move |event| {
            let lease = event.object();
            if lease.metadata.ns() != LEASES || matches!(event, Event::Deleted(_)) {
                return;
            }
            // A renewal only moves the time by which the node is looked at again; that time comes by itself.
            let now = this.context.now();
            let renewed = lease.spec.as_ref().and_then(|s| s.renew_time.as_ref());
            let mut all = this.health.lock();
            let Some(health) = all.get_mut(lease.metadata.name()) else {
                return;
            };
            let silent = now.duration_since(health.seen).unsigned_abs() > this.grace.monitor;
            health.leased(renewed, now);
            if silent {
                this.queue.add(Key::new("", lease.metadata.name()));
            }
        });
    }

    fn seen(&self, node: &Node) {
        let now = self.context.now();
        let mut all = self.health.lock();
        all.entry(node.metadata.name().to_owned())
            .or_insert_with(|| Health::new(now))
            .reported(node, now);
    }

    /// Events about nodes refer to them by name and uid only, as the kubelet's do.
    fn tell(&self, node: &Node, reason: &'static str, what: &str) {
        let name = node.metadata.name();
        let message = format!("Node {name} event: {what}");
        let level = corten_client::events::Level::Normal;
        self.executor.recorder.event(about(node), level, reason, message);
    }

    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let Some(node) = self.nodes.get_key(key) else {
            return Ok(Next::Done);
        };
        let now = self.context.now();
        let grace = if ready(&node).is_some() {
            self.grace.monitor
        } else {
            self.grace.startup
        };
        let Some(health) = self.health.lock().get(key.name()).cloned() else {
            return Ok(Next::Done);
        };
        let verdict = health.judge(&node, grace, now);
        if let Verdict::Silent(Some(conditions)) = verdict {
            let mut silent = (*node).clone();
            silent.status.get_or_insert_default().conditions = Some(conditions);
            // What follows from it is done when the new status is seen.
            return self
                .executor
                .apply(vec![Write::status(&silent).into()], None)
                .await
                .map(|()| Next::Done);
        }
        let is_ready = ready(&node) == Some("True");
        self.react(&node, is_ready, now).await?;
        let again = self.taint(&node, is_ready, now).await?;
        let alive = if let Verdict::Alive(left) = verdict {
            Some(left)
        } else {
            None
        };
        let soonest = again.into_iter().chain(alive).min();
        Ok(soonest.map_or(Next::Done, |d| Next::After(d + Duration::from_millis(10))))
    }

    /// On the way from ready to not ready its pods are marked; on the way back others may be evicted again.
    async fn react(&self, node: &Node, is_ready: bool, now: Timestamp) -> Result<(), Error> {
        let name = node.metadata.name();
        let before = self.acted.lock().get(name).copied();
        if before == Some(is_ready) || ready(node).is_none() {
            return Ok(());
        }
        if is_ready {
            for other in self.nodes.list().iter().filter(|n| ready(n) != Some("True")) {
                self.queue.add(Key::of(&**other));
            }
        } else {
            let pods = self.pods.indexed("node", name);
            let mut actions: Vec<Action> = Vec::new();
            if before == Some(true) {
                let message = format!("Node {name} status is now: NodeNotReady");
                let level = corten_client::events::Level::Normal;
                actions.push(
                    Note {
                        about: about(node),
                        level,
                        reason: "NodeNotReady",
                        message,
                    }
                    .into(),
                );
            }
            let marks = pods.iter().filter_map(|pod| {
                let patch = health::unready(pod, now)?;
                let note = Note::warning(&**pod, "NodeNotReady", "Node is not ready");
                Some(Write::patch_sub(&**pod, STRATEGIC_PATCH, "status", patch).ok(note))
            });
            actions.push(Action::Together(marks.collect()));
            match self.executor.apply(actions, None).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        self.acted.lock().insert(name.to_owned(), is_ready);
        Ok(())
    }

    /// Brings the taints up to date; returns when to try again if the zone's limit holds eviction back.
    async fn taint(&self, node: &Node, is_ready: bool, now: Timestamp) -> Result<Option<Duration>, Error> {
        let (mut evict, mut again) = (taints::is_evicting(node), None);
        if !is_ready && taints::evicting(node).is_some() {
            let all = self.nodes.list();
            let zones = taints::zones(all.iter().map(|n| &**n));
            if zones.values().all(|z| z.is_down()) {
                // No node answers: it is we who are cut off. Nobody is evicted.
                evict = false;
            } else if !evict {
                let zone = taints::zone_of(node);
                let rate = zones.get(&zone).map_or(taints::EVICTION_RATE, |z| z.rate());
                again = self.allow(&zone, rate, now);
                evict = again.is_none();
            }
        }
        let Some(wanted) = taints::wanted(node, evict, now) else {
            return Ok(again);
        };
        let patch = json!({"metadata": {"uid": node.metadata.uid(), "resourceVersion": node.metadata.rv()},
            "spec": {"taints": wanted}});
        self.executor
            .apply(vec![Write::patch(node, patch).into()], None)
            .await?;
        Ok(again)
    }

    /// None: go ahead. Otherwise how long to wait.
    fn allow(&self, zone: &str, rate: f64, now: Timestamp) -> Option<Duration> {
        if rate <= 0.0 {
            // The zone is looked at again when one of its nodes changes.
            return Some(Duration::from_secs(60));
        }
        let interval = Duration::from_secs_f64(1.0 / rate);
        let mut limiters = self.limiters.lock();
        let limiter = limiters.entry(zone.to_owned()).or_insert(Limiter { next: now });
        let wait = limiter.next.duration_since(now);
        if wait.is_positive() {
            return Some(wait.unsigned_abs());
        }
        limiter.next = now + interval;
        None
    }
}

fn about(node: &Node) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Node".into()),
        name: node.metadata.name.clone(),
        uid: node.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}
