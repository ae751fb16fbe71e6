//! What the registry and the store below it cost: creates, their CPU, watch deliveries, lists, opening.
//!
//! `cargo run --release -p corten-registry --example load [directory [objects]]`, then the same with
//! `open` for objects measures opening what that left.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use corten_registry::{
    CreateOptions, ListOptions, Options, Registry, Resource, User, WatchOptions, WriteContext,
};
use corten_store::embedded::{Engine, Options as StoreOptions};
use futures::StreamExt;
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const WATCHERS: usize = 500;
const LISTS: u32 = 20;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let dir = args
        .next()
        .unwrap_or_else(|| "/tmp/corten-registry-bench".to_owned());
    let what = args.next().unwrap_or_default();
    if what == "open" {
        return reopen(&dir).await;
    }
    let objects: usize = what.parse().unwrap_or(20_000);
    let _ = std::fs::remove_dir_all(&dir);
    let registry = open(&dir).await?;
    let namespaces = registry
        .resource("", "namespaces")
        .ok_or("namespaces are not served")?;
    registry
        .create(
            &context(),
            &namespaces,
            "",
            json!({"metadata": {"name": "bench"}}),
            &CreateOptions::default(),
        )
        .await?;
    for writers in [1, 16, 64] {
        creates(
            &registry,
            writers,
            if writers == 1 { objects / 20 } else { objects },
        )
        .await?;
    }
    watches(&registry, objects / 20).await?;
    lists(&registry).await?;
    println!("resident {} MiB", resident_mib());
    Ok(())
}

/// Opens what an earlier run left and removes it.
async fn reopen(dir: &str) -> Outcome<()> {
    let start = Instant::now();
    let registry = open(dir).await?;
    let count = count(&registry).await?;
    println!(
        "opening with {count} objects: {:?}, resident {} MiB",
        start.elapsed(),
        resident_mib()
    );
    drop(registry);
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

async fn open(dir: &str) -> Outcome<Arc<Registry>> {
    let store = Arc::new(Engine::open(dir, StoreOptions::default()).await?);
    Ok(Registry::open(store, Options::default()).await?)
}

fn context() -> WriteContext {
    WriteContext::new(User::default(), SystemTime::now())
}

fn config_maps(registry: &Registry) -> Outcome<Resource> {
    Ok(registry
        .resource("", "configmaps")
        .ok_or("configmaps are not served")?)
}

fn config_map(name: String) -> Value {
    let data = "x".repeat(850);
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "bench"}}, "data": {"a": data}})
}

async fn creates(registry: &Arc<Registry>, writers: usize, objects: usize) -> Outcome<()> {
    let resource = config_maps(registry)?;
    let (start, cpu) = (Instant::now(), cpu_time());
    let tasks = (0..writers).map(|writer| {
        let (registry, resource) = (Arc::clone(registry), resource.clone());
        tokio::spawn(async move {
            for at in 0..objects / writers {
                let object = config_map(format!("m-{writers}-{writer}-{at}"));
                registry
                    .create(&context(), &resource, "bench", object, &CreateOptions::default())
                    .await?;
            }
            Ok::<_, corten_meta::Status>(())
        })
    });
    for outcome in futures::future::join_all(tasks).await {
        outcome??;
    }
    let (elapsed, cpu) = (start.elapsed(), cpu_time() - cpu);
    println!(
        "{writers:3} writers: {:6.0} creates/s, {:.1} us CPU each",
        objects as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / objects as f64
    );
    Ok(())
}

async fn watches(registry: &Arc<Registry>, objects: usize) -> Outcome<()> {
    let resource = config_maps(registry)?;
    let after = WatchOptions {
        resource_version: registry.revision().to_string(),
        ..WatchOptions::default()
    };
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let mut stream = registry.watch(&resource, None, &after).await?;
        watchers.push(tokio::spawn(async move {
            for _ in 0..objects {
                stream.next().await.ok_or("watch ended")?;
            }
            Ok::<_, &str>(())
        }));
    }
    let start = Instant::now();
    for at in 0..objects {
        let object = config_map(format!("w-{at}"));
        registry
            .create(&context(), &resource, "bench", object, &CreateOptions::default())
            .await?;
    }
    for watcher in watchers {
        watcher.await??;
    }
    let deliveries = (objects * WATCHERS) as f64 / start.elapsed().as_secs_f64();
    println!("{WATCHERS} watchers: {deliveries:.0} deliveries/s");
    Ok(())
}

async fn lists(registry: &Arc<Registry>) -> Outcome<()> {
    let start = Instant::now();
    let mut objects = 0;
    for _ in 0..LISTS {
        objects = count(registry).await?;
    }
    println!("a list of {objects}: {:?}", start.elapsed() / LISTS);
    Ok(())
}

async fn count(registry: &Arc<Registry>) -> Outcome<usize> {
    let page = registry
        .list(&config_maps(registry)?, None, &ListOptions::default())
        .await?;
    Ok(page.items.len())
}

/// User and system time of this process (`/proc/self/stat`, in ticks of 10 ms).
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .skip(11)
        .take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or_default();
    line.trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .unwrap_or_default()
        >> 10
}
