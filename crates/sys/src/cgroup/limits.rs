//! Resource limits and how each version of control groups takes them.

use super::{Cgroups, DeviceRule, Layout, device, write};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// What a group may use. None leaves a setting as it is; -1 lifts a limit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// v1 scale, 2..=262144; converted for v2.
    pub cpu_shares: Option<u64>,
    pub cpu_quota_us: Option<i64>,
    pub cpu_period_us: Option<u64>,
    pub memory_bytes: Option<i64>,
    /// Memory and swap together, as v1 counts.
    pub memory_and_swap_bytes: Option<i64>,
    pub pids: Option<i64>,
    pub cpuset_cpus: Option<String>,
    pub cpuset_mems: Option<String>,
    pub hugepages: Vec<HugepageLimit>,
    /// v2 files by name, written as they are; ignored on v1.
    pub unified: BTreeMap<String, String>,
    /// Some: everything not listed is denied.
    pub devices: Option<Vec<DeviceRule>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HugepageLimit {
    /// As the kernel names it: `2MB`, `1GB`.
    pub page_size: String,
    pub bytes: u64,
}

/// runc's and crun's conversion from shares to weight: a quadratic through (2, 1), (1024, 100) and (262144, 10000).
pub fn weight_from_shares(shares: u64) -> u64 {
    match shares {
        0 => 0,
        1..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            10f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0).ceil() as u64
        }
    }
}

fn or_max(value: i64) -> String {
    if value < 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

/// A limit for which the machine has no controller is skipped: upstream's kubelet does the same for swap and hugepages.
fn write_if_there(dir: &Path, file: &str, value: &str) -> Result<()> {
    let path = dir.join(file);
    if path.exists() {
        write(&path, value)
    } else {
        Ok(())
    }
}

impl Cgroups {
    /// Sets limits on an existing group.
    pub fn apply(&self, path: &str, limits: &Limits) -> Result<()> {
        match &self.layout {
            Layout::Unified { root } => apply_v2(&root.join(path.trim_start_matches('/')), limits),
            Layout::V1 { .. } => self.apply_v1(path, limits),
        }
    }

    fn apply_v1(&self, path: &str, limits: &Limits) -> Result<()> {
        if let Some(dir) = self.dir("cpu", path) {
            v1_cpu(&dir, limits)?;
        }
        if let Some(dir) = self.dir("memory", path) {
            v1_memory(&dir, limits)?;
        }
        if let (Some(dir), Some(pids)) = (self.dir("pids", path), limits.pids) {
            write(&dir.join("pids.max"), &or_max(pids))?;
        }
        if let Some(dir) = self.dir("cpuset", path) {
            cpuset(&dir, limits)?;
        }
        if let Some(dir) = self.dir("hugetlb", path) {
            for page in &limits.hugepages {
                let file = format!("hugetlb.{}.limit_in_bytes", page.page_size);
                write_if_there(&dir, &file, &page.bytes.to_string())?;
            }
        }
        match (&limits.devices, self.dir("devices", path)) {
            (Some(rules), Some(dir)) => device::apply_v1(&dir, rules),
            _ => Ok(()),
        }
    }
}

fn cpuset(dir: &Path, limits: &Limits) -> Result<()> {
    for (file, value) in [
        ("cpuset.cpus", &limits.cpuset_cpus),
        ("cpuset.mems", &limits.cpuset_mems),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            write(&dir.join(file), value)?;
        }
    }
    Ok(())
}

fn v1_cpu(dir: &Path, limits: &Limits) -> Result<()> {
    if let Some(shares) = limits.cpu_shares.filter(|shares| *shares > 0) {
        write(&dir.join("cpu.shares"), &shares.to_string())?;
    }
    let period = limits
        .cpu_period_us
        .filter(|period| *period > 0)
        .map(|period| period.to_string());
    let quota = limits
        .cpu_quota_us
        .filter(|quota| *quota != 0)
        .map(|quota| quota.to_string());
    let (period_file, quota_file) = (dir.join("cpu.cfs_period_us"), dir.join("cpu.cfs_quota_us"));
    match (period, quota) {
        // Either order can pass through a value above the parent's limit: try the other one.
        (Some(period), Some(quota)) => match write(&period_file, &period) {
            Ok(()) => write(&quota_file, &quota),
            Err(_) => write(&quota_file, &quota).and_then(|()| write(&period_file, &period)),
        },
        (Some(period), None) => write(&period_file, &period),
        (None, Some(quota)) => write(&quota_file, &quota),
        (None, None) => Ok(()),
    }
}

/// memory.limit must stay at or below memory.memsw.limit at every moment, so their order depends on the direction.
fn v1_memory(dir: &Path, limits: &Limits) -> Result<()> {
    let memory = limits.memory_bytes.filter(|bytes| *bytes != 0);
    let both = limits.memory_and_swap_bytes.filter(|bytes| *bytes != 0);
    let (memory_file, both_file) = (
        dir.join("memory.limit_in_bytes"),
        dir.join("memory.memsw.limit_in_bytes"),
    );
    let swap_counted = both_file.exists();
    match (memory, both.filter(|_| swap_counted)) {
        (Some(memory), Some(both)) => match write(&memory_file, &memory.to_string()) {
            Ok(()) => write(&both_file, &both.to_string()),
            Err(_) => {
                write(&both_file, &both.to_string()).and_then(|()| write(&memory_file, &memory.to_string()))
            }
        },
        (Some(memory), None) => match write(&memory_file, &memory.to_string()) {
            Err(_) if swap_counted => {
                write(&both_file, "-1").and_then(|()| write(&memory_file, &memory.to_string()))
            }
            other => other,
        },
        (None, Some(both)) => write(&both_file, &both.to_string()),
        (None, None) => Ok(()),
    }
}

fn apply_v2(dir: &Path, limits: &Limits) -> Result<()> {
    if let Some(shares) = limits.cpu_shares.filter(|shares| *shares > 0) {
        write_if_there(dir, "cpu.weight", &weight_from_shares(shares).to_string())?;
    }
    if let Some(quota) = limits.cpu_quota_us.filter(|quota| *quota != 0) {
        let period = limits
            .cpu_period_us
            .filter(|period| *period > 0)
            .unwrap_or(100_000);
        write_if_there(dir, "cpu.max", &format!("{} {period}", or_max(quota)))?;
    }
    if let Some(memory) = limits.memory_bytes.filter(|bytes| *bytes != 0) {
        write_if_there(dir, "memory.max", &or_max(memory))?;
    }
    if let Some(swap) = v2_swap(limits)? {
        write_if_there(dir, "memory.swap.max", &or_max(swap))?;
    }
    if let Some(pids) = limits.pids {
        write_if_there(dir, "pids.max", &or_max(pids))?;
    }
    if dir.join("cpuset.cpus").exists() {
        cpuset(dir, limits)?;
    }
    for page in &limits.hugepages {
        write_if_there(
            dir,
            &format!("hugetlb.{}.max", page.page_size),
            &page.bytes.to_string(),
        )?;
    }
    for (file, value) in &limits.unified {
        if file.contains('/') {
            return Err(Error::new(
                format!("control file {file:?}"),
                std::io::ErrorKind::InvalidInput,
            ));
        }
        write(&dir.join(file), value)?;
    }
    limits
        .devices
        .as_ref()
        .map_or(Ok(()), |rules| device::apply_v2(dir, rules))
}

/// v2 counts swap alone.
fn v2_swap(limits: &Limits) -> Result<Option<i64>> {
    let memory = limits.memory_bytes.unwrap_or(0);
    match limits.memory_and_swap_bytes.unwrap_or(0) {
        0 => Ok((memory < 0).then_some(-1)),
        both if both < 0 || memory < 0 => Ok(Some(both)),
        both if memory == 0 || both < memory => Err(Error::new(
            format!("swap limit {both} with memory limit {memory}"),
            std::io::ErrorKind::InvalidInput,
        )),
        both => Ok(Some(both - memory)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn shares_to_weight() {
        let pairs = [
            (0, 0),
            (1, 1),
            (2, 1),
            (10, 4),
            (1000, 99),
            (1024, 100),
            (2048, 174),
            (262_144, 10_000),
        ];
        for (shares, weight) in pairs {
            assert_eq!(weight_from_shares(shares), weight, "{shares}");
        }
    }

    #[test]
    fn swap_on_v2_is_the_difference() {
        let limits = |memory, both| Limits {
            memory_bytes: Some(memory),
            memory_and_swap_bytes: Some(both),
            ..Limits::default()
        };
        assert_eq!(v2_swap(&limits(100, 150)).unwrap(), Some(50));
        assert_eq!(v2_swap(&limits(100, 0)).unwrap(), None);
        assert_eq!(v2_swap(&limits(-1, 0)).unwrap(), Some(-1));
        assert!(v2_swap(&limits(100, 50)).is_err());
    }
}
