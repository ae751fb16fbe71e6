//! Requests at full speed over several connections.

use super::report;
use super::target::Target;
use crate::cli::BenchArgs;
use anyhow::ensure;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Bytes of data in each ConfigMap.
pub(super) const PAYLOAD: usize = 1024;
/// Creates measured for each object that stays; the others are deleted again.
const CREATES: usize = 5;
/// Updates, and merge patches, measured for each object.
const CHANGES: usize = 5;
/// Gets measured for each object.
const GETS: usize = 25;
/// Lists measured: each is of all objects.
const LISTS: usize = 2000;

/// Durable creates, deletes, updates and merge patches.
pub(super) async fn writes(target: &Target, args: &BenchArgs) -> anyhow::Result<()> {
    let (path, objects) = (target.path("configmaps"), args.objects);
    let count = objects * CREATES;
    fill(target, count, PAYLOAD).await?;
    let each = path.clone();
    drive(target, count - objects, "delete a ConfigMap", 1, move |index| {
        (
            "DELETE",
            format!("{each}/bench-{}", index + objects),
            String::new(),
        )
    })
    .await?;
    let (each, payload) = (path.clone(), "y".repeat(PAYLOAD));
    drive(
        target,
        objects * CHANGES,
        "update a ConfigMap",
        PAYLOAD,
        move |index| {
            let name = format!("bench-{}", index % objects);
            (
                "PUT",
                format!("{each}/{name}"),
                config_map(&name, &format!("{index:08}{}", &payload[8..])),
            )
        },
    )
    .await?;
    drive(
        target,
        objects * CHANGES,
        "merge-patch a ConfigMap",
        PAYLOAD,
        move |index| {
            let patch = format!(r#"{{"data":{{"changed":"{index}"}}}}"#);
            ("PATCH", format!("{path}/bench-{}", index % objects), patch)
        },
    )
    .await
}

/// Durable creates of `bench-0` and those after it.
pub(super) async fn fill(target: &Target, count: usize, bytes: usize) -> anyhow::Result<()> {
    let (path, payload) = (target.path("configmaps"), "x".repeat(bytes));
    let name = format!("create a ConfigMap of {} KiB", bytes.div_ceil(1024));
    drive(target, count, &name, bytes, move |index| {
        (
            "POST",
            path.clone(),
            config_map(&format!("bench-{index}"), &payload),
        )
    })
    .await
}

pub(super) fn config_map(name: &str, payload: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"payload":"{payload}"}}}}"#
    )
}

/// Gets of single objects and lists of all.
pub(super) async fn reads(target: &Target, args: &BenchArgs) -> anyhow::Result<()> {
    let path = target.path("configmaps");
    let objects = args.objects;
    let first = format!("{path}/bench-0");
    if target.connect().await?.send("GET", &first, "").await.is_err() {
        fill(target, objects, PAYLOAD).await?;
    }
    let one = path.clone();
    drive(target, objects * GETS, "get a ConfigMap", PAYLOAD, move |index| {
        ("GET", format!("{one}/bench-{}", index % objects), String::new())
    })
    .await?;
    drive(
        target,
        LISTS,
        &format!("list {objects} ConfigMaps"),
        objects * PAYLOAD,
        move |_| ("GET", path.clone(), String::new()),
    )
    .await
}

/// Sends `count` requests, the next one as soon as a connection is free; each answer has at least `least` bytes.
pub(super) async fn drive<F>(
    target: &Target,
    count: usize,
    name: &str,
    least: usize,
    request: F,
) -> anyhow::Result<()>
where
    F: Fn(usize) -> (&'static str, String, String) + Send + Sync + 'static,
{
    let (next, request) = (Arc::new(AtomicUsize::new(0)), Arc::new(request));
    let mut connections = Vec::new();
    for _ in 0..target.connections {
        connections.push(target.connect().await?);
    }
    let (cpu, began) = (target.cpu(), Instant::now());
    let mut workers = Vec::new();
    for mut connection in connections {
        let (next, request) = (Arc::clone(&next), Arc::clone(&request));
        workers.push(tokio::spawn(async move {
            let mut latencies: Vec<Duration> = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return anyhow::Ok(latencies);
                }
                let (method, path, body) = request(index);
                let began = Instant::now();
                let length = connection.send(method, &path, body).await?;
                latencies.push(began.elapsed());
                ensure!(
                    length >= least,
                    "{method} {path}: {length} bytes are not the answer"
                );
            }
        }));
    }
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await??);
    }
    let wall = began.elapsed();
    report::row(name, latencies, wall, Some(target.cpu().since(cpu)));
    Ok(())
}
