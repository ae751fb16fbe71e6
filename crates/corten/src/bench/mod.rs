//! `corten bench`: prints what this machine does, for `docs/performance.md`. Nothing here is a test.

mod connection;
mod fleet;
mod idle;
mod lines;
mod load;
mod memory;
mod pods;
mod report;
mod restart;
mod start;
mod target;
mod tls;
mod watchers;

use crate::cli::BenchArgs;
use target::Target;

/// Measures what was asked for: what needs quiet first, then load.
pub(crate) fn run(args: BenchArgs) -> anyhow::Result<()> {
    report::machine();
    let wants = |name: &str| args.what.iter().any(|what| what == name);
    if wants("start") {
        start::measure()?;
    }
    if wants("restart") {
        restart::measure(&args)?;
    }
    if wants("idle") {
        idle::measure(&args)?;
    }
    let loads = [
        "pods",
        "writes",
        "reads",
        "watch",
        "memory",
        "lists",
        "controllers",
        "crowd",
    ];
    if !loads.into_iter().any(wants) {
        return Ok(());
    }
    runtime()?.block_on(async {
        let target = Target::open(&args).await?;
        let outcome = load(&target, &args, wants).await;
        target.clean().await?;
        outcome
    })
}

/// One thread: the client leaves the other cores to the server.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn load(target: &Target, args: &BenchArgs, wants: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    if wants("pods") {
        pods::measure(target, args).await?;
    }
    if wants("writes") {
        load::writes(target, args).await?;
    }
    if wants("reads") {
        load::reads(target, args).await?;
    }
    if wants("watch") {
        watchers::measure(target).await?;
    }
    if wants("memory") {
        memory::cached(target, args).await?;
    }
    if wants("lists") {
        memory::lists(target, args).await?;
    }
    if wants("controllers") {
        fleet::measure(target, args).await?;
    }
    if wants("crowd") {
        fleet::crowd(target, args).await?;
    }
    Ok(())
}
