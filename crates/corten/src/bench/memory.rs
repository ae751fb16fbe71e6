//! What the server's memory grows by: for objects it holds, and for large lists it sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::load::{self, PAYLOAD};
use super::report::{self, anonymous, resident};
use super::target::Target;
use crate::cli::BenchArgs;
use anyhow::Context;

/// Bytes of data in each object of the large lists.
const LARGE: usize = 100 << 10;
/// Lists sent at once.
const LISTS: usize = 10;
/// What a load leaves behind has been given back or written out by then.
const SETTLE: Duration = Duration::from_secs(40);
/// How often the server's memory is looked at while it sends lists.
const SAMPLE: Duration = Duration::from_millis(10);

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The payload of each object whose memory is measured, by its number.
type Sizes = fn(usize) -> usize;

/// Sizes of an allocator's blocks are apart: one length of all objects would measure where it lies between two of them.
fn mixed(index: usize) -> usize {
    PAYLOAD / 2 + index * 7919 % (PAYLOAD + 1)
}

/// Memory for each object: what the server grows by for many objects, over what they are as JSON. Then the same for twice as many
/// more: buffers that do not grow with the objects are full by then. Then for objects of half to one and a half KiB.
pub(super) async fn cached(target: &Target, args: &BenchArgs) -> anyhow::Result<()> {
    let pid = target
        .server()
        .context("memory: which process is the server? --server-pid")?;
    // What any load leaves is not the objects'.
    load::fill(target, args.many / 10, PAYLOAD).await?;
    tokio::time::sleep(SETTLE).await;
    let mut before = (anonymous(pid).unwrap_or(0), json_bytes(target).await?);
    let rows: [(_, _, Sizes); 3] = [
        ("many", args.many, |_| PAYLOAD),
        ("more", args.many * 2, |_| PAYLOAD),
        ("mixed", args.many, mixed),
    ];
    for (name, count, sizes) in rows {
        fill_named(target, name, count, sizes).await?;
        tokio::time::sleep(SETTLE).await;
        let after = (anonymous(pid).unwrap_or(0), json_bytes(target).await?);
        let grown = after.0.saturating_sub(before.0);
        row(&format!("{count} {name}"), count, grown, after.1 - before.1);
        before = after;
    }
    Ok(())
}

async fn fill_named(target: &Target, name: &'static str, count: usize, sizes: Sizes) -> anyhow::Result<()> {
    let (path, payload) = (target.path("configmaps"), "z".repeat(2 * PAYLOAD));
    let create = move |index| {
        let body = load::config_map(&format!("{name}-{index}"), &payload[..sizes(index)]);
        ("POST", path.clone(), body)
    };
    load::drive(target, count, "create a ConfigMap of 1 KiB", PAYLOAD / 2, create).await
}

/// Prints the memory of `count` objects, called `name`.
pub(super) fn row(name: &str, count: usize, grown: u64, json: u64) {
    println!(
        "memory of {name} objects: {:.1} MB for {:.1} MB of JSON, {:.2} times, {} bytes each",
        megabytes(grown),
        megabytes(json),
        grown as f64 / json as f64,
        grown / count as u64
    );
}

/// The objects' JSON: a list is that, a comma for each and a few bytes.
pub(super) async fn json_bytes(target: &Target) -> anyhow::Result<u64> {
    let path = target.path("configmaps");
    Ok(target.connect().await?.send("GET", &path, "").await? as u64)
}

/// Large lists, all at once, and the most memory the server had meanwhile.
pub(super) async fn lists(target: &Target, args: &BenchArgs) -> anyhow::Result<()> {
    load::fill(target, args.megabytes * 1_000_000 / LARGE, LARGE).await?;
    tokio::time::sleep(SETTLE).await;
    let before = target.server().and_then(resident);
    let sampler = target.server().map(Sampler::start);
    let (cpu, began) = (target.cpu(), Instant::now());
    let mut readers = Vec::new();
    for _ in 0..LISTS {
        let (mut connection, path) = (target.connect().await?, target.path("configmaps"));
        readers.push(tokio::spawn(async move {
            let began = Instant::now();
            let bytes = connection.send("GET", &path, "").await?;
            anyhow::Ok((began.elapsed(), bytes))
        }));
    }
    let (mut latencies, mut bytes) = (Vec::new(), 0);
    for reader in readers {
        let (took, length) = reader.await??;
        latencies.push(took);
        bytes = length;
    }
    let name = format!("{LISTS} lists of {:.0} MB at once", megabytes(bytes as u64));
    report::row(&name, latencies, began.elapsed(), Some(target.cpu().since(cpu)));
    if let (Some(before), Some(sampler)) = (before, sampler) {
        let most = sampler.end();
        println!(
            "memory: {:.1} MB before, {:.1} MB at most, {:.1} MB extra",
            megabytes(before),
            megabytes(most),
            megabytes(most.saturating_sub(before))
        );
    }
    Ok(())
}

/// Looks at a process's memory on a thread of its own and remembers the most.
struct Sampler {
    done: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Sampler {
    fn start(pid: i32) -> Self {
        let (done, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, seen) = (Arc::clone(&done), Arc::clone(&most));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                seen.fetch_max(resident(pid).unwrap_or(0), Ordering::Relaxed);
                std::thread::park_timeout(SAMPLE);
            }
        });
        Self { done, most, thread }
    }

    fn end(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        let _ = self.thread.join();
        self.most.load(Ordering::Relaxed)
    }
}
