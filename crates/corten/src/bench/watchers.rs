//! Watch fan-out: many watchers of one namespace, and how long each change takes to reach them.

use super::connection::Lines;
use super::report;
use super::target::Target;
use anyhow::Context;
use std::time::{Duration, Instant};

const WATCHERS: usize = 500;
/// Changes that every watcher sees.
const CHANGES: usize = 200;
/// Connections that make changes: enough that writing is not what is measured.
const WRITERS: usize = 4;

pub(super) async fn measure(target: &Target) -> anyhow::Result<()> {
    let path = format!(
        "{}?watch=1&labelSelector=bench%3Dwatch",
        target.path("configmaps")
    );
    let mut streams = Vec::new();
    for _ in 0..WATCHERS {
        // Answered means registered: what is written from here on reaches this watcher.
        streams.push(target.connect().await?.watch(&path).await?);
    }
    let began = Instant::now();
    let cpu = target.cpu();
    let watchers: Vec<_> = streams
        .into_iter()
        .map(|stream| tokio::spawn(watch(stream, began)))
        .collect();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (mut connection, path) = (target.connect().await?, target.path("configmaps"));
        writers.push(tokio::spawn(async move {
            for index in (writer..CHANGES).step_by(WRITERS) {
                let sent = began.elapsed().as_nanos();
                let body = format!(
                    r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"watch-{index}","labels":{{"bench":"watch"}}}},"data":{{"sent":"at {sent} ns"}}}}"#
                );
                connection.send("POST", &path, body).await?;
            }
            anyhow::Ok(())
        }));
    }
    for writer in writers {
        writer.await??;
    }
    let mut latencies = Vec::new();
    for watcher in watchers {
        latencies.extend(watcher.await??);
    }
    report::row(
        &format!("deliver a change to {WATCHERS} watchers"),
        latencies,
        began.elapsed(),
        Some(target.cpu().since(cpu)),
    );
    Ok(())
}

/// Reads events until every change was seen; the delay of each since its sender began.
async fn watch(mut stream: Lines, began: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut delays = Vec::with_capacity(CHANGES);
    while delays.len() < CHANGES {
        let line = std::str::from_utf8(stream.next().await?)?;
        let Some((_, rest)) = line.rsplit_once("\"at ") else {
            continue;
        };
        let sent = rest
            .split_once(" ns\"")
            .context("a time in the event")?
            .0
            .parse::<u64>()?;
        delays.push(began.elapsed().saturating_sub(Duration::from_nanos(sent)));
    }
    Ok(delays)
}
