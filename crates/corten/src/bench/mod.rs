//! `corten bench`: prints what this machine does, for `docs/performance.md`. Nothing here is a test.

mod connection;
mod fleet;
mod idle;
mod load;
mod pods;
mod report;
mod start;
mod target;
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
    if wants("idle") {
        idle::measure(&args)?;
    }
    if !["pods", "writes", "reads", "watch", "controllers", "crowd"]
        .into_iter()
        .any(wants)
    {
        return Ok(());
    }
    // One thread: the client leaves the other cores to the server.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let target = Target::open(&args).await?;
        let outcome = load(&target, &args, wants).await;
        target.clean().await?;
        outcome
    })
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
    if wants("controllers") {
        fleet::measure(target, args).await?;
    }
    if wants("crowd") {
        fleet::crowd(target, args).await?;
    }
    Ok(())
}
