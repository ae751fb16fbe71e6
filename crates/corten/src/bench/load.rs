//! Requests at full speed over several connections.

use super::report;
use super::target::{Target, send};
use crate::cli::BenchArgs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Bytes of data in each ConfigMap.
const PAYLOAD: usize = 1024;
/// Lists measured: each is of all objects.
const LISTS: usize = 50;

/// Durable creates.
pub(super) async fn writes(target: &Target, args: &BenchArgs) -> anyhow::Result<()> {
    let namespace = target.namespace.clone();
    let payload: Arc<str> = "x".repeat(PAYLOAD).into();
    drive(target, args.objects, &format!("create ConfigMaps of {PAYLOAD} bytes, {} connections", target.clients.len()), move |index| {
        let body = format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"bench-{index}"}},"data":{{"payload":"{payload}"}}}}"#);
        ("POST", format!("/api/v1/namespaces/{namespace}/configmaps"), body)
    })
    .await
}

/// Gets of single objects and lists of all.
pub(super) async fn reads(target: &Target, args: &BenchArgs) -> anyhow::Result<()> {
    let namespace = target.namespace.clone();
    let objects = args.objects;
    let have = send(&target.clients[0], "GET", &format!("/api/v1/namespaces/{namespace}/configmaps?limit=1"), String::new()).await?;
    if have < PAYLOAD {
        writes(target, args).await?;
    }
    drive(target, objects * 5, "get one ConfigMap", move |index| {
        ("GET", format!("/api/v1/namespaces/{namespace}/configmaps/bench-{}", index % objects), String::new())
    })
    .await?;
    let namespace = target.namespace.clone();
    drive(target, LISTS, &format!("list {objects} ConfigMaps"), move |_| {
        ("GET", format!("/api/v1/namespaces/{namespace}/configmaps"), String::new())
    })
    .await
}

/// Sends `count` requests, the next one as soon as a connection is free.
async fn drive<F>(target: &Target, count: usize, name: &str, request: F) -> anyhow::Result<()>
where
    F: Fn(usize) -> (&'static str, String, String) + Send + Sync + 'static,
{
    let (next, request) = (Arc::new(AtomicUsize::new(0)), Arc::new(request));
    let (cpu, began) = (target.cpu(), Instant::now());
    let mut workers = Vec::new();
    for client in target.clients.clone() {
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
                send(&client, method, &path, body).await?;
                latencies.push(began.elapsed());
            }
        }));
    }
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await??);
    }
    let wall = began.elapsed();
    report::row(name, latencies, wall, target.cpu_since(cpu));
    Ok(())
}
