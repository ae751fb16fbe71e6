//! CPU, memory and disk use of containers and sandboxes.

use super::record::{ContainerRecord, SandboxRecord};
use super::{Runtime, blocking, now_ns};
use crate::cri::{
    ContainerAttributes, ContainerStats, CpuUsage, FilesystemIdentifier, FilesystemUsage,
    LinuxPodSandboxStats, MemoryUsage, PodSandboxAttributes, PodSandboxStats, ProcessUsage, Result,
    SwapUsage, UInt64Value,
};
use corten_sys::cgroup::{Cgroups, Usage};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn value(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

fn cpu(usage: &Usage, at: i64) -> CpuUsage {
    CpuUsage {
        timestamp: at,
        usage_core_nano_seconds: value(usage.cpu_ns),
        usage_nano_cores: None,
        psi: None,
    }
}

fn memory(usage: &Usage, at: i64) -> MemoryUsage {
    MemoryUsage {
        timestamp: at,
        working_set_bytes: value(usage.working_set_bytes),
        available_bytes: usage.memory_limit_bytes.map(|limit| UInt64Value {
            value: limit.saturating_sub(usage.working_set_bytes),
        }),
        usage_bytes: value(usage.memory_bytes),
        rss_bytes: value(usage.rss_bytes),
        page_faults: value(usage.page_faults),
        major_page_faults: value(usage.major_page_faults),
        psi: None,
    }
}

/// Bytes and inodes in use below a directory, as `du` counts; each inode once.
pub fn disk_usage(dir: &Path) -> (u64, u64) {
    let (mut bytes, mut inodes) = (0, 0);
    let mut linked = std::collections::HashSet::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.nlink() > 1 && !meta.is_dir() && !linked.insert(meta.ino()) {
                continue;
            }
            bytes += meta.blocks() * 512;
            inodes += 1;
            if meta.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    (bytes, inodes)
}

pub fn filesystem(dir: &Path, mountpoint: &Path) -> FilesystemUsage {
    let (bytes, inodes) = disk_usage(dir);
    FilesystemUsage {
        timestamp: now_ns(),
        fs_id: Some(FilesystemIdentifier {
            mountpoint: mountpoint.to_string_lossy().into_owned(),
        }),
        used_bytes: value(bytes),
        inodes_used: value(inodes),
    }
}

impl Runtime {
    pub(super) async fn stats_of(&self, record: ContainerRecord) -> Result<ContainerStats> {
        let cgroups = self.inner.cgroups.clone();
        let (upper, root) = (
            self.snapshot_dir(&record.id).join("upper"),
            self.inner.config.root.clone(),
        );
        blocking(move || Ok(container_stats(&cgroups, &record, &upper, &root))).await
    }

    pub(super) async fn sandbox_stats_of(&self, record: SandboxRecord) -> Result<PodSandboxStats> {
        let containers = self.inner.state.lock().containers_of(&record.id);
        let cgroups = self.inner.cgroups.clone();
        let root = self.inner.config.root.clone();
        let snapshots = root.join("snapshots");
        blocking(move || {
            let usage = cgroups.usage(&record.cgroup).unwrap_or_default();
            let at = now_ns();
            let config = record.config.unwrap_or_default();
            let stats = |c: &ContainerRecord| {
                container_stats(&cgroups, c, &snapshots.join(&c.id).join("upper"), &root)
            };
            Ok(PodSandboxStats {
                attributes: Some(PodSandboxAttributes {
                    id: record.id,
                    metadata: config.metadata,
                    labels: config.labels,
                    annotations: config.annotations,
                }),
                linux: Some(LinuxPodSandboxStats {
                    cpu: Some(cpu(&usage, at)),
                    memory: Some(memory(&usage, at)),
                    network: None,
                    process: Some(ProcessUsage {
                        timestamp: at,
                        process_count: value(usage.processes),
                    }),
                    containers: containers.iter().map(stats).collect(),
                    io: None,
                }),
                windows: None,
            })
        })
        .await
    }
}

fn container_stats(cgroups: &Cgroups, record: &ContainerRecord, upper: &Path, root: &Path) -> ContainerStats {
    let config = record.config.clone().unwrap_or_default();
    let usage = cgroups.usage(&record.cgroup);
    let at = now_ns();
    ContainerStats {
        attributes: Some(ContainerAttributes {
            id: record.id.clone(),
            metadata: config.metadata,
            labels: config.labels,
            annotations: config.annotations,
        }),
        cpu: usage.as_ref().map(|usage| cpu(usage, at)),
        memory: usage.as_ref().map(|usage| memory(usage, at)),
        writable_layer: Some(filesystem(upper, root)),
        swap: usage.as_ref().map(|usage| SwapUsage {
            timestamp: at,
            swap_available_bytes: None,
            swap_usage_bytes: value(usage.swap_bytes),
        }),
        io: None,
    }
}
