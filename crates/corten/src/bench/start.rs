//! From the command to a cluster that can be used, on empty data, several times.

use super::report;
use anyhow::ensure;
use std::process::Command;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;

/// Starts and stops clusters of their own beside whatever runs here.
pub(super) fn measure() -> anyhow::Result<()> {
    let corten = std::env::current_exe()?;
    let mut latencies: Vec<Duration> = Vec::new();
    let first = Instant::now();
    for round in 0..ROUNDS {
        let directory = tempfile::tempdir()?;
        let data = directory.path().join("data");
        let port = (17_443 + round).to_string();
        let began = Instant::now();
        let up = Command::new(&corten)
            .args(["up", "--detach", "--no-kubeconfig", "--port", &port, "--data-dir"])
            .arg(&data)
            .output()?;
        let took = began.elapsed();
        ensure!(
            up.status.success(),
            "corten up: {}",
            String::from_utf8_lossy(&up.stderr)
        );
        latencies.push(took);
        let down = Command::new(&corten)
            .args(["down", "--data-dir"])
            .arg(&data)
            .output()?;
        ensure!(
            down.status.success(),
            "corten down: {}",
            String::from_utf8_lossy(&down.stderr)
        );
    }
    report::row(
        "start to ready (readyz, node Ready)",
        latencies,
        first.elapsed(),
        None,
    );
    Ok(())
}
