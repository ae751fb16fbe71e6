//! Prints what the engine costs per object: reading, defaulting, ownership, protobuf, and the tables' first use.
//! Run with `cargo run --release -p corten-schema --example budget`.

use std::time::Instant;

use corten_meta::GroupVersionKind;
use corten_schema::apply::{self, Write, reset_fields};
use corten_schema::decode::{self, Media};
use corten_schema::resources::Selection;
use corten_schema::{Mode, default, encode, openapi, resources, type_of};
use serde_json::{Value, json};

const ROUNDS: u32 = 20_000;

fn each(what: &str, mut run: impl FnMut()) {
    for _ in 0..ROUNDS / 10 {
        run();
    }
    let start = Instant::now();
    for _ in 0..ROUNDS {
        run();
    }
    println!(
        "{what:<44} {:>8.2} µs",
        start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
    );
}

fn once(what: &str, run: impl FnOnce() -> usize) {
    let start = Instant::now();
    let size = run();
    println!(
        "{what:<44} {:>8.2} ms  ({size})",
        start.elapsed().as_secs_f64() * 1e3
    );
}

fn measure(name: &str, gvk: &GroupVersionKind, body: &Value) {
    let bytes = body.to_string().into_bytes();
    let Some(id) = type_of(gvk) else { return };
    let read = || {
        decode::object(&bytes, Media::Json, gvk, Mode::Warn)
            .map(|d| d.value)
            .unwrap_or_default()
    };
    let formed = || {
        let mut value = read();
        default(id, &mut value);
        value
    };
    println!("{name}: {} bytes", bytes.len());
    each("  parse only (serde_json)", || drop(decode::json_value(&bytes)));
    each("  decode + normalize", || drop(read()));
    each("  decode + normalize + default", || drop(formed()));
    let write = Write {
        gvk,
        manager: "m",
        subresource: "",
        now: "2026-01-01T00:00:00Z",
        reset: reset_fields(gvk, "", true),
    };
    let object = formed();
    each("  ownership of a create (with one clone)", || {
        let mut new = object.clone();
        apply::update(&write, None, &mut new);
    });
    let mut owned = object.clone();
    apply::update(&write, None, &mut owned);
    each("  ownership of an update (with one clone)", || {
        let mut new = owned.clone();
        apply::update(&write, Some(&owned), &mut new);
    });
    each("  clone", || drop(owned.clone()));
    each("  write JSON", || drop(serde_json::to_vec(&owned)));
    each("  write protobuf", || drop(encode::protobuf(gvk, &owned)));
}

fn main() {
    once("tables, first use (resources)", || resources::all().len());
    once("types, first use", || corten_schema::types::all().count());
    once("defaults, first use", || {
        let mut value = json!({});
        type_of(&GroupVersionKind::new("", "v1", "Pod"))
            .into_iter()
            .for_each(|id| default(id, &mut value));
        1
    });
    once("openapi v2 protobuf", || openapi::v2(true).gzip.len());
    once("openapi v3 apps/v1", || {
        openapi::v3("apps", "v1").map_or(0, |d| d.gzip.len())
    });
    once("openapi v3 index (all documents)", || {
        openapi::v3_index(&Selection::default(), &[]).len()
    });
    let data = json!({"metadata": {"name": "c", "namespace": "default"}, "data": {"k": "x".repeat(960)}});
    measure("ConfigMap", &GroupVersionKind::new("", "v1", "ConfigMap"), &data);
    let container = json!({"name": "c", "image": "nginx:1.27", "ports": [{"containerPort": 80}], "env": [{"name": "A", "value": "b"}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}, "readinessProbe": {"httpGet": {"path": "/", "port": 80}}});
    let pod =
        json!({"metadata": {"name": "p", "labels": {"app": "web"}}, "spec": {"containers": [container]}});
    measure("Pod", &GroupVersionKind::new("", "v1", "Pod"), &pod);
}
