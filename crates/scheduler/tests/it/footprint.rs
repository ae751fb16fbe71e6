//! What the scheduler keeps of a pod beside the shared cache. The figure is that of the process: the test has its own.

use std::sync::Arc;

use corten_client::Pod;
use corten_client::fake::footprint;
use corten_scheduler::Core;
use jiff::Timestamp;
use serde_json::json;

const PODS: usize = 20_000;
const NODES: usize = 200;
/// Bytes.
const MOST: usize = 900;

fn pods() -> Vec<Arc<Pod>> {
    let pod = |number: usize| {
        let owner = number / 100;
        json!({"metadata": {"name": format!("d{owner}-{number}"), "namespace": "a", "labels": {"app": format!("d{owner}")},
            "uid": format!("0d3b2f64-6c0e-4d5a-9c1e-{number:012}"), "ownerReferences": [{"apiVersion": "apps/v1",
                "kind": "ReplicaSet", "name": format!("d{owner}"), "uid": format!("u{owner}"), "controller": true}]},
            "spec": {"nodeName": format!("n{}", number % NODES), "containers": [{"name": "c", "image": "i",
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}, "status": {"phase": "Running"}})
    };
    let decode = |number| Arc::new(serde_json::from_str(&pod(number).to_string()).unwrap());
    (0..2 * PODS).map(decode).collect()
}

#[test]
fn a_placed_pod_is_small() {
    // Made before: they are the shared cache's.
    let pods = pods();
    let mut core = Core::default();
    let each = footprint::each(PODS, |range| {
        for pod in &pods[range] {
            core.set_pod(pod, true, Timestamp::UNIX_EPOCH);
        }
    });
    println!("{each} bytes for each pod");
    assert!(each < MOST, "{each} bytes for each pod");
}
