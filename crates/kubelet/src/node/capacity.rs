//! What this machine is and has, from /proc and /sys.

use k8s_openapi::api::core::v1::NodeSystemInfo;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::quantity::Resources;
use crate::thresholds::{EvictionHard, Signal};

/// The API version this agent speaks.
pub const KUBELET_VERSION: &str = concat!("v1.36.2+corten.", env!("CARGO_PKG_VERSION"));

/// Read once at start.
#[derive(Debug, Clone)]
pub struct Machine {
    pub cpus: i64,
    pub memory_bytes: i64,
    pub disk_bytes: u64,
    pub info: NodeSystemInfo,
}

fn line(path: &str) -> String {
    fs::read_to_string(path)
        .map(|s| s.trim().to_owned())
        .unwrap_or_default()
}

/// A value of /proc/meminfo, in bytes.
pub fn meminfo(key: &str) -> Option<i64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find(|l| l.starts_with(key) && l[key.len()..].starts_with(':'))?;
    let kib: i64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// The bytes that are available, and those that must be, where they are fewer.
pub fn low_memory(floors: &EvictionHard) -> Option<(i64, i64)> {
    let (available, all) = (meminfo("MemAvailable")?, meminfo("MemTotal")?);
    let floor = floors.floor(Signal::Memory, u64::try_from(all).ok()?);
    let floor = i64::try_from(floor).unwrap_or(i64::MAX);
    (available < floor).then_some((available, floor))
}

/// Size and free bytes of the file system that holds `path`, and the same of its inodes.
pub fn disk(path: &Path) -> Option<Disk> {
    let s = rustix::fs::statvfs(path).ok()?;
    Some(Disk {
        total: s.f_blocks * s.f_frsize,
        free: s.f_bavail * s.f_frsize,
        inodes: s.f_files,
        inodes_free: s.f_ffree,
    })
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disk {
    pub total: u64,
    pub free: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

impl Machine {
    pub fn detect(root: &Path, runtime_version: String) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, |n| i64::try_from(n.get()).unwrap_or(1));
        let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let pretty = os_release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let machine_id = line("/etc/machine-id");
        let uuid = line("/sys/class/dmi/id/product_uuid");
        Self {
            cpus,
            memory_bytes: meminfo("MemTotal").unwrap_or(0),
            disk_bytes: disk(root).map_or(0, |d| d.total),
            info: NodeSystemInfo {
                architecture: architecture.into(),
                boot_id: line("/proc/sys/kernel/random/boot_id"),
                container_runtime_version: runtime_version,
                kernel_version: line("/proc/sys/kernel/osrelease"),
                kubelet_version: KUBELET_VERSION.into(),
                system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
                machine_id,
                operating_system: "linux".into(),
                os_image: pretty.unwrap_or("Linux").trim_matches('"').into(),
                ..NodeSystemInfo::default()
            },
        }
    }

    pub fn capacity(&self, max_pods: u32) -> Resources {
        let q = |s: String| Quantity(s);
        BTreeMap::from([
            ("cpu".to_owned(), q(self.cpus.to_string())),
            ("memory".to_owned(), q(format!("{}Ki", self.memory_bytes / 1024))),
            (
                "ephemeral-storage".to_owned(),
                q(format!("{}Ki", self.disk_bytes / 1024)),
            ),
            ("pods".to_owned(), q(max_pods.to_string())),
            ("hugepages-1Gi".to_owned(), q("0".into())),
            ("hugepages-2Mi".to_owned(), q("0".into())),
        ])
    }

    /// What pods may count on: all but what must stay available.
    pub fn allocatable(&self, max_pods: u32, floors: &EvictionHard) -> Resources {
        let mut out = self.capacity(max_pods);
        let left = |signal, all: u64| all.saturating_sub(floors.floor(signal, all));
        let memory = left(Signal::Memory, u64::try_from(self.memory_bytes).unwrap_or(0)) / 1024;
        out.insert("memory".into(), Quantity(format!("{memory}Ki")));
        let disk = left(Signal::Disk, self.disk_bytes);
        out.insert("ephemeral-storage".into(), Quantity(disk.to_string()));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_something() {
        let m = Machine::detect(Path::new("/"), "corten://0".into());
        assert!(m.cpus > 0 && m.memory_bytes > 0 && m.disk_bytes > 0);
        assert!(m.allocatable(10, &EvictionHard::default())["memory"] != m.capacity(10)["memory"]);
        assert!(!m.info.kernel_version.is_empty());
    }
}
