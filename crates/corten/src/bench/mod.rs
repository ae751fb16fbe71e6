//! `corten bench`: prints what this machine does, for `docs/performance.md`. Nothing here is a test.

mod idle;
mod load;
mod pods;
mod report;
mod start;
mod target;
mod watchers;

use crate::cli::BenchArgs;
use target::Target;

/// Measures what was asked for, in the order asked.
pub(crate) async fn run(args: BenchArgs) -> anyhow::Result<()> {
    report::machine();
    if args.what.iter().any(|what| what == "start") {
        start::measure()?;
    }
    let rest: Vec<&str> = args.what.iter().map(String::as_str).filter(|what| *what != "start").collect();
    if rest.is_empty() {
        return Ok(());
    }
    let target = Target::open(&args).await?;
    let outcome = each(&target, &args, &rest).await;
    target.clean().await?;
    outcome
}

async fn each(target: &Target, args: &BenchArgs, what: &[&str]) -> anyhow::Result<()> {
    for what in what {
        match *what {
            "writes" => load::writes(target, args).await?,
            "reads" => load::reads(target, args).await?,
            "watch" => watchers::measure(target).await?,
            "pods" => pods::measure(target, args).await?,
            "idle" => idle::measure(target)?,
            other => anyhow::bail!("nothing is known as {other}"),
        }
    }
    Ok(())
}
