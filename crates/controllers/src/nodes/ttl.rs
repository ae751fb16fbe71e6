//! The TTL controller: tells kubelets, by an annotation on their Node, how long they may cache Secrets and ConfigMaps;
//! the more nodes, the longer. Upstream: pkg/controller/ttl.

use std::sync::Arc;

use corten_client::driver::{self, Next};
use corten_client::object::MetaExt;
use corten_client::request::STRATEGIC_PATCH;
use corten_client::{Error, Event, Key, Queue};
use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use serde_json::json;

use crate::core::{Action, Context, Write};

const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";
const WORKERS: usize = 2;

/// A size of clusters: from and up to how many nodes, and the time in seconds. They overlap, so that a cluster at a
/// boundary does not go to and fro.
const STEPS: [(usize, usize, u32); 5] = [
    (0, 100, 0),
    (90, 500, 15),
    (450, 1000, 30),
    (900, 2000, 60),
    (1800, usize::MAX, 300),
];

/// The step of a cluster that was at `step` and has `nodes` now.
#[must_use]
pub fn step(mut step: usize, nodes: usize) -> usize {
    while STEPS.get(step).is_some_and(|(_, most, _)| nodes > *most) {
        step += 1;
    }
    while STEPS.get(step).is_some_and(|(least, _, _)| nodes < *least) {
        step -= 1;
    }
    step
}

/// The patch a node needs, if it does not say this time.
#[must_use]
pub fn plan(node: &Node, ttl_s: u32) -> Option<Action> {
    let said = node.metadata.annotation(ANNOTATION).and_then(|a| a.parse().ok());
    if said == Some(ttl_s) {
        return None;
    }
    let patch = json!({"metadata": {"annotations": {ANNOTATION: ttl_s.to_string()}}});
    Some(Write::patch_sub(node, STRATEGIC_PATCH, "", patch).into())
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let nodes = context.factory.informer::<Node>();
    let queue: Queue<Key> = Queue::new("ttlcontroller");
    let adding = queue.clone();
    nodes.on_event(move |event| {
        let said = |n: &Node| n.metadata.annotation(ANNOTATION).map(str::to_owned);
        // Heartbeats change nothing here.
        if !matches!(&event, Event::Updated { old, new } if said(old) == said(new)) {
            adding.add(Key::of(&**event.object()));
        }
    });
    nodes.synced().await;
    let executor = Arc::new(context.executor("ttl-controller"));
    let at = Mutex::new(0);
    let stop = context.stop.clone();
    driver::run("ttlcontroller", queue, WORKERS, stop, move |key| {
        let executor = Arc::clone(&executor);
        let ttl_s = {
            let mut at = at.lock();
            *at = step(*at, nodes.len());
            STEPS.get(*at).map_or(0, |(_, _, ttl_s)| *ttl_s)
        };
        let action = nodes.get_key(&key).and_then(|node| plan(&node, ttl_s));
        async move {
            match executor.apply(action.into_iter().collect(), None).await {
                Err(error) if !error.is_not_found() => Err::<Next, Error>(error),
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
    use crate::core::action::transcript;

    #[test]
    fn steps_overlap() {
        assert_eq!(step(0, 100), 0);
        assert_eq!(step(0, 101), 1);
        assert_eq!(step(1, 90), 1);
        assert_eq!(step(1, 89), 0);
        assert_eq!(step(0, 5000), 4);
        assert_eq!(step(4, 1), 0);
    }

    #[test]
    fn a_node_is_told_once() {
        let node = |annotation: Option<&str>| -> Node {
            serde_json::from_value(json!({"metadata": {"name": "n",
                "annotations": annotation.map(|a| json!({ANNOTATION: a}))}}))
            .unwrap()
        };
        let patch = plan(&node(None), 0).unwrap();
        assert_eq!(
            transcript(&[patch]),
            "patch nodes n {\"metadata\":{\"annotations\":{\"node.alpha.kubernetes.io/ttl\":\"0\"}}}\n"
        );
        assert!(plan(&node(Some("0")), 0).is_none());
        assert!(plan(&node(Some("0")), 15).is_some());
    }
}
