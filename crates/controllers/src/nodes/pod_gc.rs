//! Pod garbage: pods of nodes that are gone, pods that end without ever having had a node, and finished pods when there
//! are too many. Upstream: pkg/controller/podgc.

use std::sync::Arc;
use std::time::Duration;

use corten_client::Pod;
use corten_client::driver::{self, Next};
use corten_client::object::MetaExt;
use corten_client::request::STRATEGIC_PATCH;
use corten_client::{Error, Event, Informer, Key, Queue};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use super::by_node;
use crate::core::context::time;
use crate::core::{Action, Context, Executor, Write, pod};

const WORKERS: usize = 4;
/// A node must have been gone for this long before its pods are.
pub const QUARANTINE: Duration = Duration::from_secs(40);
/// Finished pods that are kept; the oldest of more are deleted.
pub const MAX_FINISHED: usize = 12_500;
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

struct Controller {
    context: Context,
    executor: Executor,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
}

/// Index value of pods that have finished.
fn by_finished(object: &Pod) -> Vec<String> {
    if pod::is_finished(object) {
        vec!["finished".into()]
    } else {
        Vec::new()
    }
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let pods = context.factory.informer::<Pod>();
    let nodes = context.factory.informer::<Node>();
    pods.add_index("node", by_node);
    pods.add_index("finished", by_finished);
    let queue: Queue<Key> = Queue::new("pod_gc");
    nodes.synced().await;
    watch(&pods, &nodes, &queue);
    pods.synced().await;
    let executor = context.executor("pod-garbage-collector");
    let this = Arc::new(Controller {
        context: context.clone(),
        executor,
        pods,
        nodes,
    });
    driver::run("pod_gc", queue, WORKERS, context.stop.clone(), move |key| {
        let this = Arc::clone(&this);
        async move { this.sync(&key).await }
    })
    .await;
}

fn watch(pods: &Informer<Pod>, nodes: &Informer<Node>, queue: &Queue<Key>) {
    let (adding, known, all) = (queue.clone(), nodes.clone(), pods.clone());
    pods.on_event(move |event| {
        let object = event.object();
        let node = pod::node(object);
        if matches!(event, Event::Deleted(_)) {
            return;
        }
        let host = known.get("", node);
        let out = object.metadata.terminating() && is_out_of_service(host.as_deref());
        let unplaced = node.is_empty() && object.metadata.terminating();
        let too_many = || pod::is_finished(object) && all.indexed_len("finished", "finished") > MAX_FINISHED;
        if !node.is_empty() && host.is_none() {
            adding.add_after(Key::of(&**object), QUARANTINE);
        } else if unplaced || out || too_many() {
            adding.add(Key::of(&**object));
        }
    });
    let (adding, all) = (queue.clone(), pods.clone());
    nodes.on_event(move |event| {
        let node = event.object();
        let delay = match event {
            Event::Deleted(_) => QUARANTINE,
            _ if is_out_of_service(Some(node)) => Duration::ZERO,
            _ => return,
        };
        for pod in all.indexed("node", node.metadata.name()) {
            adding.add_after(Key::of(&*pod), delay);
        }
    });
}

fn is_out_of_service(node: Option<&Node>) -> bool {
    let taints = node
        .into_iter()
        .flat_map(|n| n.spec.iter().flat_map(|s| s.taints.iter().flatten()));
    taints.into_iter().any(|t| t.key == OUT_OF_SERVICE)
}

/// Marks the pod failed, so that its controller sees why it ended, and removes it at once.
#[must_use]
pub fn remove(pod: &Pod, disrupted: bool, now: Timestamp) -> Vec<Action> {
    let mut actions: Vec<Action> = Vec::new();
    if !pod::is_finished(pod) {
        let mut status = json!({"phase": "Failed"});
        if disrupted {
            status["conditions"] = json!([{"type": "DisruptionTarget", "status": "True",
                "reason": "DeletionByPodGC", "message": "PodGC: node no longer exists",
                "lastTransitionTime": time(now), "observedGeneration": pod.metadata.generation}]);
        }
        let patch = json!({"metadata": {"uid": pod.metadata.uid()}, "status": status});
        actions.push(Write::patch_sub(pod, STRATEGIC_PATCH, "status", patch).into());
    }
    actions.push(Write::delete(pod).option("gracePeriodSeconds", 0).into());
    actions
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let Some(object) = self.pods.get_key(key) else {
            return Ok(Next::Done);
        };
        let (now, node) = (self.context.now(), pod::node(&object));
        let known = self.nodes.get("", node);
        let actions = if node.is_empty() {
            if !object.metadata.terminating() {
                return Ok(Next::Done);
            }
            remove(&object, false, now)
        } else if known.is_none() {
            // The cache may lag behind a node that was just made.
            match self.executor.caller.get::<Node>("", node).await {
                Ok(_) => return Ok(Next::Done),
                Err(error) if error.is_not_found() => remove(&object, true, now),
                Err(error) => return Err(error),
            }
        } else if object.metadata.terminating() && is_out_of_service(known.as_deref()) {
            remove(&object, false, now)
        } else {
            self.oldest_finished()
        };
        match self.executor.apply(actions, None).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Next::Done),
        }
    }

    fn oldest_finished(&self) -> Vec<Action> {
        let mut finished = self.pods.indexed("finished", "finished");
        let Some(extra) = finished.len().checked_sub(MAX_FINISHED).filter(|n| *n > 0) else {
            return Vec::new();
        };
        finished.sort_by_key(|p| p.metadata.creation_timestamp.as_ref().map(|t| t.0));
        vec![Action::Together(
            finished.iter().take(extra).map(|p| Write::delete(&**p)).collect(),
        )]
    }
}
