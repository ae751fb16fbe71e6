//! Device nodes and who may touch them.

use crate::cri::ContainerConfig;
use corten_sys::cgroup::{Access, DeviceKind, DeviceRule};
use rustix::fs::{FileType, major, minor, stat};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// What every container may use: null, zero, full, random, urandom, tty, console, ptmx and terminals.
const DEFAULT: &[(u32, Option<u32>)] = &[
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
];
const TERMINALS: u32 = 136;

/// Directories of `/dev` that are mounts of the container's own.
const NOT_DEVICES: &[&str] = &[
    "/dev/pts",
    "/dev/shm",
    "/dev/mqueue",
    "/dev/fd",
    "/dev/hugepages",
    "/dev/.lxc",
];

/// Nodes to make (OCI `linux.devices`) and rules to allow.
pub fn of_container(
    config: &ContainerConfig,
    privileged: bool,
) -> Result<(Vec<Value>, Vec<DeviceRule>), String> {
    if privileged {
        let everything = DeviceRule {
            kind: DeviceKind::All,
            major: None,
            minor: None,
            access: Access::ALL,
        };
        return Ok((host_nodes(), vec![everything]));
    }
    let mut rules = vec![DeviceRule {
        kind: DeviceKind::All,
        major: None,
        minor: None,
        access: Access::MKNOD,
    }];
    for (major, minor) in DEFAULT.iter().copied().chain([(TERMINALS, None)]) {
        rules.push(DeviceRule {
            kind: DeviceKind::Char,
            major: Some(major),
            minor,
            access: Access::ALL,
        });
    }
    let mut nodes = Vec::new();
    for device in &config.devices {
        for (host, inside) in expand(Path::new(&device.host_path), Path::new(&device.container_path)) {
            let (node, kind, major, minor) =
                node(&host, &inside).ok_or_else(|| format!("{} is not a device", device.host_path))?;
            nodes.push(node);
            let access = if device.permissions.is_empty() {
                Access::ALL
            } else {
                Access::parse(&device.permissions)
            };
            rules.push(DeviceRule {
                kind,
                major: Some(major),
                minor: Some(minor),
                access,
            });
        }
    }
    Ok((nodes, rules))
}

/// A directory stands for the devices in it.
fn expand(host: &Path, inside: &Path) -> Vec<(PathBuf, PathBuf)> {
    let Ok(entries) = fs::read_dir(host) else {
        return vec![(host.to_owned(), inside.to_owned())];
    };
    entries
        .flatten()
        .map(|entry| (entry.path(), inside.join(entry.file_name())))
        .collect()
}

fn node(host: &Path, inside: &Path) -> Option<(Value, DeviceKind, u32, u32)> {
    let stat = stat(host).ok()?;
    let (letter, kind) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => ("c", DeviceKind::Char),
        FileType::BlockDevice => ("b", DeviceKind::Block),
        _ => return None,
    };
    let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
    let node = json!({
        "path": inside, "type": letter, "major": major, "minor": minor,
        "fileMode": stat.st_mode & 0o777, "uid": stat.st_uid, "gid": stat.st_gid,
    });
    Some((node, kind, major, minor))
}

/// Every device node under `/dev`, for privileged containers.
fn host_nodes() -> Vec<Value> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::from("/dev")];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && !NOT_DEVICES.iter().any(|skip| path == Path::new(skip)) {
                pending.push(path);
            } else if !kind.is_dir()
                && !kind.is_symlink()
                && !path.ends_with("console")
                && !path.ends_with("ptmx")
            {
                found.extend(node(&path, &path).map(|(node, ..)| node));
            }
        }
    }
    found
}
