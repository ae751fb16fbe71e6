//! A start with many objects in the store, and what they take in memory then.

use super::target::{Target, server_pids};
use super::{load, memory, report, runtime};
use crate::cli::BenchArgs;
use crate::paths::Paths;
use anyhow::{Context, ensure};
use std::process::Command;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const PORT: &str = "17442";
/// Memory that a start needs and an idle server does not is given back by then.
const SETTLE: Duration = Duration::from_secs(10);

/// Starts, fills, stops and starts a cluster of its own beside whatever runs here.
pub(super) fn measure(args: &BenchArgs) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let mut args = args.clone();
    args.cluster.data_dir = directory.path().join("data");
    (args.kubeconfig, args.server_pid) = (None, Vec::new());
    // The first start makes what every cluster has; the second one is the empty server to compare with.
    up(&args)?;
    down(&args)?;
    up(&args)?;
    let outcome = settled(&args).and_then(|empty| Ok((empty, runtime()?.block_on(fill(&args))?)));
    down(&args)?;
    let (empty, json) = outcome?;
    let mut latencies: Vec<Duration> = Vec::new();
    let first = Instant::now();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        up(&args)?;
        latencies.push(began.elapsed());
        down(&args)?;
    }
    let name = format!("start with {} objects", args.many);
    report::row(&name, latencies, first.elapsed(), None);
    up(&args)?;
    let full = settled(&args);
    down(&args)?;
    memory::row(
        &args.many.to_string(),
        args.many,
        full?.saturating_sub(empty),
        json,
    );
    Ok(())
}

/// Makes the objects; their JSON in bytes.
async fn fill(args: &BenchArgs) -> anyhow::Result<u64> {
    let target = Target::open(args).await?;
    load::fill(&target, args.many, load::PAYLOAD).await?;
    memory::json_bytes(&target).await
}

/// The server's memory once it is idle.
fn settled(args: &BenchArgs) -> anyhow::Result<u64> {
    std::thread::park_timeout(SETTLE);
    let server = server_pids(args, &Paths::new(&args.cluster.data_dir)?)
        .first()
        .copied();
    report::anonymous(server.context("the server has no pid file")?).context("the server is gone")
}

fn up(args: &BenchArgs) -> anyhow::Result<()> {
    corten(args, &["up", "--detach", "--no-kubeconfig", "--port", PORT])
}

fn down(args: &BenchArgs) -> anyhow::Result<()> {
    corten(args, &["down"])
}

fn corten(args: &BenchArgs, command: &[&str]) -> anyhow::Result<()> {
    let mut corten = Command::new(std::env::current_exe()?);
    corten.args(command).arg("--data-dir").arg(&args.cluster.data_dir);
    let ended = corten.output()?;
    let errors = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "corten {}: {errors}", command[0]);
    Ok(())
}
