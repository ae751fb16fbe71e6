//! Watch fan-out: many watchers of one namespace, and how long each change takes to reach them.

use super::report;
use super::target::{Target, send};
use anyhow::Context;
use futures::{AsyncBufReadExt, StreamExt};
use http::Request;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Barrier;

const WATCHERS: usize = 500;
/// Changes that every watcher sees.
const CHANGES: usize = 100;

pub(super) async fn measure(target: &Target) -> anyhow::Result<()> {
    let began = Instant::now();
    let ready = Arc::new(Barrier::new(WATCHERS + 1));
    let path = format!("/api/v1/namespaces/{}/configmaps?watch=1&labelSelector=bench%3Dwatch", target.namespace);
    let mut watchers = Vec::new();
    for index in 0..WATCHERS {
        let client = target.clients[index % target.clients.len()].clone();
        let (path, ready) = (path.clone(), Arc::clone(&ready));
        watchers.push(tokio::spawn(async move { watch(&client, &path, &ready, began).await }));
    }
    ready.wait().await;
    let (cpu, first) = (target.cpu(), Instant::now());
    for index in 0..CHANGES {
        let sent = began.elapsed().as_nanos();
        let body = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"watch-{index}","labels":{{"bench":"watch"}}}},"data":{{"sent":"<{sent}>"}}}}"#
        );
        send(&target.clients[0], "POST", &format!("/api/v1/namespaces/{}/configmaps", target.namespace), body).await?;
    }
    let mut latencies = Vec::new();
    for watcher in watchers {
        latencies.extend(watcher.await??);
    }
    report::row(&format!("watch deliveries to {WATCHERS} watchers"), latencies, first.elapsed(), target.cpu_since(cpu));
    Ok(())
}

/// Reads events until every change was seen; the delay of each since its sender began.
async fn watch(client: &kube::Client, path: &str, ready: &Barrier, began: Instant) -> anyhow::Result<Vec<Duration>> {
    let request = Request::get(path).body(Vec::new())?;
    let stream = client.request_stream(request).await;
    ready.wait().await;
    let mut lines = stream?.lines();
    let mut delays = Vec::with_capacity(CHANGES);
    while delays.len() < CHANGES {
        let line = lines.next().await.context("the watch ended early")??;
        let Some((_, rest)) = line.split_once("\"<") else { continue };
        let sent = rest.split_once(">\"").context("a time in the event")?.0.parse::<u64>()?;
        delays.push(began.elapsed().saturating_sub(Duration::from_nanos(sent)));
    }
    Ok(delays)
}
