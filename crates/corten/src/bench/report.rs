//! Figures as lines: a rate, percentiles, and the processor time behind them.

use super::target::{Cpu, Target};
use std::time::Duration;

/// Says what this was measured on.
pub(super) fn machine() {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("\t: unknown");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg");
    println!(
        "machine: {cores} cores of {}, kernel {}, load {}",
        model.trim_start_matches(['\t', ' ', ':']),
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or_default()
    );
}

/// Prints one row. `cpu` is the processor time that all of it took.
pub(super) fn row(name: &str, mut latencies: Vec<Duration>, wall: Duration, cpu: Option<Cpu>) {
    if latencies.is_empty() {
        println!("{name}: nothing was measured");
        return;
    }
    latencies.sort_unstable();
    let count = latencies.len();
    let at = |share: f64| latencies[((count - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let each = |time: Duration| time.as_secs_f64() * 1e3 / count as f64;
    let cpu = cpu.map_or_else(String::new, |cpu| {
        let server = cpu
            .server
            .map_or_else(String::new, |time| format!("server {:.4} ms, ", each(time)));
        format!(" | CPU each: {server}client {:.4} ms", each(cpu.client))
    });
    let rate = count as f64 / wall.as_secs_f64();
    println!(
        "{name:<36} {count:>6} in {:>6.2} s {rate:>9.1}/s | p50 {:.2} p90 {:.2} p99 {:.2} max {:.2} ms{cpu}",
        wall.as_secs_f64(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}

/// Prints what the server's processes hold in memory, one by one, where that can be known.
pub(super) fn memory(target: &Target, when: &str) {
    for &pid in &target.pids {
        let megabytes = |field| status(pid, field).unwrap_or_default() / 1_024_000;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        println!(
            "memory {when:<29} {:>6} MB RSS, {} MB of it not of files | {}",
            megabytes("VmRSS:"),
            megabytes("RssAnon:"),
            name.trim()
        );
    }
}

/// Resident bytes of a process.
pub(super) fn resident(pid: i32) -> Option<u64> {
    status(pid, "VmRSS:")
}

/// Resident bytes of a process that no file backs: without its program's code.
pub(super) fn anonymous(pid: i32) -> Option<u64> {
    status(pid, "RssAnon:")
}

fn status(pid: i32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix(field))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
