//! CRI's resources as control-group limits.

use crate::cri::LinuxContainerResources;
use corten_sys::cgroup::{HugepageLimit, Limits};

/// Zero means "not said" in CRI.
pub fn limits(resources: &LinuxContainerResources) -> Limits {
    let said = |value: i64| (value != 0).then_some(value);
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    Limits {
        cpu_shares: positive(resources.cpu_shares),
        cpu_quota_us: said(resources.cpu_quota),
        cpu_period_us: positive(resources.cpu_period),
        memory_bytes: said(resources.memory_limit_in_bytes),
        memory_and_swap_bytes: said(resources.memory_swap_limit_in_bytes),
        pids: None,
        cpuset_cpus: text(&resources.cpuset_cpus),
        cpuset_mems: text(&resources.cpuset_mems),
        hugepages: resources
            .hugepage_limits
            .iter()
            .map(|page| HugepageLimit {
                page_size: page.page_size.clone(),
                bytes: page.limit,
            })
            .collect(),
        unified: resources.unified.clone(),
        devices: None,
    }
}

/// What an update leaves unsaid keeps its old value.
pub fn merge(old: &LinuxContainerResources, update: &LinuxContainerResources) -> LinuxContainerResources {
    let pick = |old: i64, new: i64| if new == 0 { old } else { new };
    let text = |old: &str, new: &str| {
        if new.is_empty() {
            old.to_owned()
        } else {
            new.to_owned()
        }
    };
    let mut unified = old.unified.clone();
    unified.extend(update.unified.clone());
    LinuxContainerResources {
        cpu_period: pick(old.cpu_period, update.cpu_period),
        cpu_quota: pick(old.cpu_quota, update.cpu_quota),
        cpu_shares: pick(old.cpu_shares, update.cpu_shares),
        memory_limit_in_bytes: pick(old.memory_limit_in_bytes, update.memory_limit_in_bytes),
        oom_score_adj: pick(old.oom_score_adj, update.oom_score_adj),
        cpuset_cpus: text(&old.cpuset_cpus, &update.cpuset_cpus),
        cpuset_mems: text(&old.cpuset_mems, &update.cpuset_mems),
        hugepage_limits: if update.hugepage_limits.is_empty() {
            old.hugepage_limits.clone()
        } else {
            update.hugepage_limits.clone()
        },
        unified,
        memory_swap_limit_in_bytes: pick(old.memory_swap_limit_in_bytes, update.memory_swap_limit_in_bytes),
    }
}
