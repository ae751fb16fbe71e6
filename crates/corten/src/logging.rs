//! Structured logs on standard error: readable on a terminal, JSON lines elsewhere.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Installs the process's logger. Libraries speak from `warn` on; Corten's own crates from `level`.
pub(crate) fn init(level: &str) -> anyhow::Result<()> {
    let directives = if level.contains('=') {
        level.to_owned()
    } else {
        format!("warn,corten={level},{}", crates(level))
    };
    let filter =
        EnvFilter::try_new(&directives).map_err(|error| anyhow::anyhow!("--log {level}: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.compact().init();
    } else {
        builder.json().flatten_event(true).init();
    }
    Ok(())
}

fn crates(level: &str) -> String {
    const CRATES: &[&str] = &[
        "apiserver",
        "auth",
        "client",
        "controllers",
        "dns",
        "kubelet",
        "net",
        "registry",
        "runtime",
        "scheduler",
        "schema",
        "store",
        "streams",
        "sys",
    ];
    CRATES
        .iter()
        .map(|name| format!("corten_{name}={level}"))
        .collect::<Vec<_>>()
        .join(",")
}
