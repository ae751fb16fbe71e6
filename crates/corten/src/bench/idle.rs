//! What a cluster takes when nobody asks anything of it.

use super::target::{cpu_of, server_pids};
use crate::cli::BenchArgs;
use crate::paths::Paths;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long idle CPU is watched.
const WINDOW: Duration = Duration::from_secs(30);
/// What a start sets going has ended by then.
const SETTLE: Duration = Duration::from_secs(5);

/// Call before anything is asked of the cluster: what load leaves in caches is not idle size.
pub(super) fn measure(args: &BenchArgs) -> anyhow::Result<()> {
    let paths = Paths::new(&args.cluster.data_dir)?;
    let mut pids = server_pids(args, &paths);
    let Some(server) = pids.first().copied() else {
        println!("idle: left out; the server is not of this machine's --data-dir");
        return Ok(());
    };
    if args.server_pid.is_empty() {
        pids = cluster_processes(server, &args.cluster.data_dir)?;
    }
    std::thread::park_timeout(SETTLE);
    let before: Duration = pids.iter().filter_map(|pid| cpu_of(*pid)).sum();
    let began = Instant::now();
    std::thread::park_timeout(WINDOW);
    let used: Duration = pids
        .iter()
        .filter_map(|pid| cpu_of(*pid))
        .sum::<Duration>()
        .saturating_sub(before);
    let share = used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    // Not earlier: a server gives what its start needed back some seconds after it.
    let (rss, pss) = pids
        .iter()
        .map(|pid| memory(*pid))
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!(
        "idle: {} processes, RSS {:.1} MB, PSS {:.1} MB, CPU {share:.2} % of a core",
        pids.len(),
        mb(rss),
        mb(pss)
    );
    Ok(())
}

fn mb(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}

/// The server and every other process of the same binary whose command line names its data directory.
fn cluster_processes(server: i32, data_dir: &Path) -> anyhow::Result<Vec<i32>> {
    let executable = std::fs::read_link(format!("/proc/{server}/exe"))?;
    let data_dir = std::fs::canonicalize(data_dir)?.display().to_string();
    let own = i32::try_from(std::process::id())?;
    let mut pids = vec![server];
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let same = || std::fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == executable);
        let ours = || {
            std::fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&data_dir))
        };
        if pid != own && pid != server && same() && ours() {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// Resident and proportional size in KiB.
fn memory(pid: i32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .unwrap_or(0)
    };
    (field("Rss:"), field("Pss:"))
}
