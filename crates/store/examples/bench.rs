//! Durable writes per second of the embedded engine, and how long it takes to open again.
//!
//! `cargo run --release -p corten-store --example bench [directory [seconds per step]]`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use corten_store::embedded::{Engine, Options};
use corten_store::{Compare, Op, Store, Txn};

const VALUE_BYTES: usize = 1024;

#[tokio::main]
async fn main() -> corten_store::Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = args
        .next()
        .unwrap_or_else(|| "/tmp/corten-store-bench".to_owned());
    let seconds = args.next().and_then(|text| text.parse().ok()).unwrap_or(3);
    let _ = std::fs::remove_dir_all(&dir);
    for writers in [1, 16, 64] {
        let engine = Arc::new(Engine::open(&dir, Options::default()).await?);
        let (writes, longest) = storm(&engine, writers, Duration::from_secs(seconds)).await;
        println!(
            "{writers:3} writers: {:7.0} durable creates/s, longest {longest:?}",
            writes as f64 / seconds as f64
        );
    }
    let start = Instant::now();
    let engine = Engine::open(&dir, Options::default()).await?;
    let keys = engine.current_revision().await?;
    println!(
        "opening {keys} keys: {:?}, {} MiB on disk",
        start.elapsed(),
        engine.size_bytes().await? >> 20
    );
    drop(engine);
    let _ = std::fs::remove_dir_all(&dir);
    Ok(())
}

/// Guarded creates of 1 KiB from so many writers, each waiting for its own.
async fn storm(engine: &Arc<Engine>, writers: usize, time: Duration) -> (u64, Duration) {
    let (count, longest) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let end = Instant::now() + time;
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (engine, count, longest) = (Arc::clone(engine), Arc::clone(&count), Arc::clone(&longest));
            tokio::spawn(async move {
                let mut at = 0;
                while Instant::now() < end {
                    let start = Instant::now();
                    let key = bytes::Bytes::from(format!(
                        "/registry/configmaps/default/bench-{writers}-{writer}-{at}"
                    ));
                    let compares = vec![Compare::ModRevision(key.clone(), 0)];
                    let success = vec![Op::put(key, body(writer, at))];
                    let txn = Txn {
                        compares,
                        success,
                        failure: Vec::new(),
                    };
                    if let Err(error) = engine.txn(txn).await {
                        return eprintln!("write failed: {error}");
                    }
                    at += 1;
                    count.fetch_add(1, Ordering::Relaxed);
                    longest.fetch_max(start.elapsed().as_micros() as u64, Ordering::Relaxed);
                }
            })
        })
        .collect();
    futures::future::join_all(tasks).await;
    (
        count.load(Ordering::Relaxed),
        Duration::from_micros(longest.load(Ordering::Relaxed)),
    )
}

/// As compressible as JSON is: words, with something of its own in each.
fn body(writer: usize, at: u64) -> Vec<u8> {
    let mut text =
        format!("{{\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"bench-{writer}-{at}\"}},\"data\":{{");
    while text.len() < VALUE_BYTES {
        text.push_str(&format!("\"key-{}\":\"value of {at} by {writer}\",", text.len()));
    }
    text.into_bytes()
}
