//! Requests at full speed over several connections.

use super::report;
use super::target::Target;
use crate::cli::BenchArgs;
use anyhow::ensure;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Bytes of data in each ConfigMap.
const PAYLOAD: usize = 1024;
/// Gets measured for each object.
const GETS: usize = 5;
/// Lists measured: each is of all objects.
const LISTS: usize = 200;

/// Durable creates.
pub(super) async fn writes(target: &Target, args: &BenchArgs) -> anyhow::Result<()> {
    let path = target.path("configmaps");
    let payload = "x".repeat(PAYLOAD);
    drive(target, args.objects, "create a ConfigMap of 1 KiB", PAYLOAD, move |index| {
        let body = format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"bench-{index}"}},"data":{{"payload":"{payload}"}}}}"#);
        ("POST", path.clone(), body)
    })
    .await
}

/// Gets of single objects and lists of all.
pub(super) async fn reads(target: &Target, args: &BenchArgs) -> anyhow::Result<()> {
    let path = target.path("configmaps");
    let objects = args.objects;
    if target
        .connect()
        .await?
        .send("GET", &format!("{path}?limit=1&labelSelector=!bench"), "")
        .await?
        < PAYLOAD
    {
        writes(target, args).await?;
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
