//! Watch fan-out: many watchers of one namespace, and how long each change takes to reach them.

use super::connection::Connection;
use super::lines::Lines;
use super::report;
use super::target::Target;
use anyhow::Context;
use std::time::{Duration, Instant};

const WATCHERS: usize = 500;
/// A part of the connections make changes, each one after the other: who has more to deliver than a server can ends its watches.
const OF_CONNECTIONS: usize = 4;
/// Changes at full speed, each seen by every watcher: enough that the last ones' delay is not what is measured either.
const CHANGES: usize = 3000;
/// Changes at a pace, and their number a second: about what upstream delivers at most (55,600 a second).
const PACED: usize = 500;
const PACE: usize = 110;
const BEFORE_TIME: &[u8] = b"\"at ";

pub(super) async fn measure(target: &Target) -> anyhow::Result<()> {
    // From any revision: upstream on an etcd before 3.5 makes watches from the newest one wait for three seconds.
    let path = format!(
        "{}?watch=1&resourceVersion=0&labelSelector=bench%3Dwatch",
        target.path("configmaps")
    );
    let mut streams = Vec::new();
    for _ in 0..WATCHERS {
        // Answered means registered: what is written from here on reaches this watcher.
        streams.push(target.watch(&path).await?);
    }
    let streams = phase(target, streams, CHANGES, None).await?;
    phase(target, streams, PACED, Some(PACE)).await?;
    Ok(())
}

/// Makes changes, as fast as may be or so many a second, until every watcher has seen all of them.
async fn phase(
    target: &Target,
    streams: Vec<Lines>,
    changes: usize,
    pace: Option<usize>,
) -> anyhow::Result<Vec<Lines>> {
    let (began, cpu) = (Instant::now(), target.cpu());
    let watchers: Vec<_> = streams
        .into_iter()
        .map(|stream| tokio::spawn(watch(stream, changes, began)))
        .collect();
    let count = (target.connections / OF_CONNECTIONS).max(1);
    let mut writers = Vec::new();
    for writer in 0..count {
        let (connection, path) = (target.connect().await?, target.path("configmaps"));
        let due =
            move |index: usize| pace.map(|pace| began + Duration::from_secs(1) * index as u32 / pace as u32);
        let indexes = (writer..changes).step_by(count);
        writers.push(tokio::spawn(write(
            connection,
            path,
            began,
            indexes.map(move |i| (i, due(i))),
        )));
    }
    for writer in writers {
        writer.await??;
    }
    let (mut latencies, mut streams) = (Vec::new(), Vec::new());
    for watcher in watchers {
        let (stream, delays) = watcher.await??;
        streams.push(stream);
        latencies.extend(delays);
    }
    let name = match pace {
        None => format!("deliver a change to {WATCHERS} watchers"),
        Some(pace) => format!("the same, {pace} changes a second"),
    };
    report::row(&name, latencies, began.elapsed(), Some(target.cpu().since(cpu)));
    Ok(streams)
}

async fn write(
    mut connection: Connection,
    path: String,
    began: Instant,
    changes: impl Iterator<Item = (usize, Option<Instant>)>,
) -> anyhow::Result<()> {
    for (index, due) in changes {
        if let Some(due) = due {
            tokio::time::sleep_until(due.into()).await;
        }
        let sent = began.elapsed().as_nanos();
        let kind = if due.is_some() { "paced" } else { "fast" };
        let body = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{kind}-{index}","labels":{{"bench":"watch"}}}},"data":{{"sent":"at {sent} ns"}}}}"#
        );
        connection.send("POST", &path, body).await?;
    }
    Ok(())
}

/// Reads events until every change was seen; the delay of each since its sender began.
async fn watch(mut stream: Lines, changes: usize, began: Instant) -> anyhow::Result<(Lines, Vec<Duration>)> {
    let mut delays = Vec::with_capacity(changes);
    while delays.len() < changes {
        if let Some(sent) = sent_at(stream.next().await?)? {
            let delay = stream.arrived().duration_since(began);
            delays.push(delay.saturating_sub(Duration::from_nanos(sent)));
        }
    }
    Ok((stream, delays))
}

/// The time in an event, in nanoseconds; bookmarks have none. It stands near the end.
fn sent_at(line: &[u8]) -> anyhow::Result<Option<u64>> {
    let Some(begin) = line.windows(BEFORE_TIME.len()).rposition(|w| w == BEFORE_TIME) else {
        return Ok(None);
    };
    let time = &line[begin + BEFORE_TIME.len()..];
    let digits = time.iter().take_while(|c| c.is_ascii_digit()).count();
    let sent = std::str::from_utf8(&time[..digits])?
        .parse()
        .context("a time in the event")?;
    Ok(Some(sent))
}
