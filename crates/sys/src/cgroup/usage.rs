//! What a group uses.

use super::{Cgroups, Layout};
use std::fs;
use std::path::{Path, PathBuf};

/// One reading of a group. Zero where the machine does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu_ns: u64,
    pub memory_bytes: u64,
    /// Memory less what the kernel would take back first (inactive file pages), as kubelet counts.
    pub working_set_bytes: u64,
    pub rss_bytes: u64,
    pub memory_limit_bytes: Option<u64>,
    pub page_faults: u64,
    pub major_page_faults: u64,
    pub swap_bytes: u64,
    pub processes: u64,
}

/// Where a group counts its out-of-memory kills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OomSource {
    pub file: PathBuf,
}

impl OomSource {
    /// Kills so far. Both versions write a line `oom_kill N`.
    pub fn kills(&self) -> u64 {
        field(&self.file, "oom_kill")
    }
}

fn number(path: &Path) -> u64 {
    fs::read_to_string(path)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

fn field(path: &Path, name: &str) -> u64 {
    fs::read_to_string(path).map_or(0, |text| field_of(&text, name))
}

fn field_of(text: &str, name: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

/// Values this large are "no limit" on v1 (a page-rounded i64::MAX).
const V1_UNLIMITED: u64 = 1 << 62;

impl Cgroups {
    pub fn oom_source(&self, path: &str) -> Option<OomSource> {
        let file = if self.is_v2() {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        Some(OomSource {
            file: self.dir("memory", path)?.join(file),
        })
    }

    /// None when the group is not there.
    pub fn usage(&self, path: &str) -> Option<Usage> {
        match &self.layout {
            Layout::Unified { root } => usage_v2(&root.join(path.trim_start_matches('/'))),
            Layout::V1 { .. } => self.usage_v1(path),
        }
    }

    fn usage_v1(&self, path: &str) -> Option<Usage> {
        let memory = self.dir("memory", path)?;
        let stat = fs::read_to_string(memory.join("memory.stat")).ok()?;
        let bytes = number(&memory.join("memory.usage_in_bytes"));
        let limit = number(&memory.join("memory.limit_in_bytes"));
        Some(Usage {
            cpu_ns: self
                .dir("cpuacct", path)
                .map_or(0, |dir| number(&dir.join("cpuacct.usage"))),
            memory_bytes: bytes,
            working_set_bytes: bytes.saturating_sub(field_of(&stat, "total_inactive_file")),
            rss_bytes: field_of(&stat, "total_rss"),
            memory_limit_bytes: Some(limit).filter(|limit| *limit > 0 && *limit < V1_UNLIMITED),
            page_faults: field_of(&stat, "total_pgfault"),
            major_page_faults: field_of(&stat, "total_pgmajfault"),
            swap_bytes: field_of(&stat, "total_swap"),
            processes: self
                .dir("pids", path)
                .map_or(0, |dir| number(&dir.join("pids.current"))),
        })
    }
}

fn usage_v2(dir: &Path) -> Option<Usage> {
    let cpu = fs::read_to_string(dir.join("cpu.stat")).ok()?;
    let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
    let bytes = number(&dir.join("memory.current"));
    Some(Usage {
        cpu_ns: field_of(&cpu, "usage_usec") * 1000,
        memory_bytes: bytes,
        working_set_bytes: bytes.saturating_sub(field_of(&stat, "inactive_file")),
        rss_bytes: field_of(&stat, "anon"),
        memory_limit_bytes: Some(number(&dir.join("memory.max"))).filter(|limit| *limit > 0),
        page_faults: field_of(&stat, "pgfault"),
        major_page_faults: field_of(&stat, "pgmajfault"),
        swap_bytes: number(&dir.join("memory.swap.current")),
        processes: number(&dir.join("pids.current")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field_of(text, "oom_kill"), 3);
        assert_eq!(field_of(text, "absent"), 0);
    }
}
