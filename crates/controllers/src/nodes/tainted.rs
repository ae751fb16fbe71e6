//! The taint eviction controller: pods leave nodes whose NoExecute taints they do not tolerate, or tolerate only for a
//! time. Upstream: pkg/controller/tainteviction.

use std::sync::Arc;
use std::time::Duration;

use corten_client::Pod;
use corten_client::driver::{self, Next};
use corten_client::object::MetaExt;
use corten_client::placement::tolerates;
use corten_client::request::STRATEGIC_PATCH;
use corten_client::{Event, Key, Queue};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint, Toleration};
use serde_json::json;

use super::by_node;
use crate::core::context::time;
use crate::core::{Action, Context, Note, Write, pod};

const WORKERS: usize = 8;

/// What a pod on a tainted node does.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    Stays,
    GoesAfter(Duration),
    Goes,
}

/// Decides by the NoExecute taints of the pod's node.
#[must_use]
pub fn fate(pod: &Pod, taints: &[Taint], now: Timestamp) -> Fate {
    let tolerations: Vec<&Toleration> = pod
        .spec
        .iter()
        .flat_map(|s| s.tolerations.iter().flatten())
        .collect();
    let mut earliest: Option<Timestamp> = None;
    for taint in taints.iter().filter(|t| t.effect == "NoExecute") {
        let used: Vec<_> = tolerations.iter().filter(|t| tolerates(t, taint)).collect();
        if used.is_empty() {
            return Fate::Goes;
        }
        let Some(seconds) = used.iter().filter_map(|t| t.toleration_seconds).min() else {
            continue;
        };
        let since = taint.time_added.as_ref().map_or(now, |t| t.0);
        let until = since + Duration::from_secs(seconds.max(0).unsigned_abs());
        earliest = Some(earliest.map_or(until, |e| e.min(until)));
    }
    match earliest.map(|e| e.duration_since(now)) {
        None => Fate::Stays,
        Some(left) if left.is_positive() => Fate::GoesAfter(left.unsigned_abs()),
        Some(_) => Fate::Goes,
    }
}

/// The steps that remove a pod.
#[must_use]
pub fn evict(pod: &Pod, now: Timestamp) -> Vec<Action> {
    let meta = &pod.metadata;
    let message = format!("Marking for deletion Pod {}/{}", meta.ns(), meta.name());
    let condition = json!({"metadata": {"uid": meta.uid()}, "status": {"conditions": [{
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": time(now),
        "observedGeneration": meta.generation}]}});
    vec![
        Note::normal(pod, "TaintManagerEviction", message).into(),
        Write::patch_sub(pod, STRATEGIC_PATCH, "status", condition).into(),
        Write::delete(pod).into(),
    ]
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let nodes = context.factory.informer::<Node>();
    let pods = context.factory.informer::<Pod>();
    pods.add_index("node", by_node);
    let queue: Queue<Key> = Queue::new("taint_eviction");
    let adding = queue.clone();
    pods.on_event(move |event| {
        let fresh = match &event {
            Event::Updated { old, new } => {
                pod::node(old) != pod::node(new)
                    || old.spec.as_ref().map(|s| &s.tolerations) != new.spec.as_ref().map(|s| &s.tolerations)
            }
            _ => true,
        };
        if fresh && !pod::node(event.object()).is_empty() {
            adding.add(Key::of(&**event.object()));
        }
    });
    let (adding, all) = (queue.clone(), pods.clone());
    nodes.on_event(move |event| {
        let taints = |n: &Node| n.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
        let changed = match &event {
            Event::Updated { old, new } => taints(old) != taints(new),
            _ => !taints(event.object()).is_empty(),
        };
        if changed {
            let on_it = all.indexed("node", event.object().metadata.name());
            on_it.iter().for_each(|pod| adding.add(Key::of(&**pod)));
        }
    });
    nodes.synced().await;
    pods.synced().await;
    let executor = Arc::new(context.executor("taint-eviction-controller"));
    let stop = context.stop.clone();
    driver::run("taint_eviction", queue, WORKERS, stop, move |key| {
        let (executor, now) = (Arc::clone(&executor), context.now());
        let fate = pods
            .get_key(&key)
            .filter(|p| !p.metadata.terminating())
            .and_then(|pod| {
                let node = nodes.get("", pod::node(&pod))?;
                let taints = node.spec.as_ref().and_then(|s| s.taints.clone())?;
                Some((fate(&pod, &taints, now), pod))
            });
        async move {
            match fate {
                Some((Fate::GoesAfter(left), _)) => Ok(Next::After(left)),
                Some((Fate::Goes, pod)) => match executor.apply(evict(&pod, now), None).await {
                    Err(error) if !error.is_not_found() => Err(error),
                    _ => Ok(Next::Done),
                },
                _ => Ok(Next::Done),
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tolerations_have_a_time() {
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        let taints: Vec<Taint> = serde_json::from_value(json!([
            {"key": "a", "effect": "NoExecute", "timeAdded": "1970-01-01T00:01:40Z"},
            {"key": "b", "effect": "NoSchedule"}]))
        .unwrap();
        let pod = |tolerations: serde_json::Value| -> Pod {
            serde_json::from_value(json!({"spec": {"containers": [], "tolerations": tolerations}})).unwrap()
        };
        assert_eq!(fate(&pod(json!([])), &taints, at(100)), Fate::Goes);
        assert_eq!(
            fate(&pod(json!([{"operator": "Exists"}])), &taints, at(100)),
            Fate::Stays
        );
        let timed =
            pod(json!([{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]));
        assert_eq!(
            fate(&timed, &taints, at(130)),
            Fate::GoesAfter(Duration::from_secs(270))
        );
        assert_eq!(fate(&timed, &taints, at(400)), Fate::Goes);
    }
}
