//! What the garbage collector keeps of an object. The figure is that of the process: the test has its own.

use std::sync::Arc;

use corten_client::fake::footprint;
use corten_controllers::garbage::{Graph, Place, Type};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

const OBJECTS: usize = 40_000;
/// Bytes.
const MOST: usize = 450;

fn pod(number: usize) -> ObjectMeta {
    let owner = number / 100;
    serde_json::from_value(
        json!({"name": format!("d{owner}-5d9c7b6f4-{number:05}"), "namespace": "crowd",
        "uid": format!("0d3b2f64-6c0e-4d5a-9c1e-{number:012}"), "ownerReferences": [{"apiVersion": "apps/v1",
            "kind": "ReplicaSet", "name": format!("d{owner}-5d9c7b6f4"), "controller": true,
            "uid": format!("9d3b2f64-6c0e-4d5a-9c1e-{owner:012}"), "blockOwnerDeletion": true}]}),
    )
    .unwrap()
}

#[test]
fn an_object_in_the_graph_is_small() {
    let of = Arc::new(Type {
        api_version: "v1".into(),
        kind: "Pod".into(),
    });
    let mut graph = Graph::default();
    let each = footprint::each(OBJECTS, |range| {
        for meta in range.map(pod) {
            let place = Place {
                of: Arc::clone(&of),
                ns: "crowd".into(),
                name: meta.name.clone().unwrap().into(),
            };
            drop(graph.observe(place, &meta));
        }
    });
    println!("{each} bytes for each object");
    assert!(
        graph.len() > 2 * OBJECTS && each < MOST,
        "{each} bytes for each object"
    );
}
