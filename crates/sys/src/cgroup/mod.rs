//! Control groups on v1, hybrid and pure v2 machines, by one set of calls.
//!
//! Paths are absolute within the hierarchy (`/corten-x/kubepods/pod1/c1`) and name the same group in every
//! controller's tree. On hybrid machines limits live in v1, while the unified tree tracks and kills.

mod device;
mod limits;
mod usage;

pub use device::{Access, DeviceKind, DeviceRule};
pub use limits::{HugepageLimit, Limits, weight_from_shares};
pub use usage::{OomSource, Usage};

use crate::error::{Attempt, Error, Result};
use crate::mounts::{self, MountInfo};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Controllers whose v1 trees hold a group for each container. The others have nothing that Kubernetes sets.
const V1_TREES: &[&str] = &["cpu", "cpuacct", "cpuset", "memory", "pids", "devices", "hugetlb"];

/// How long to wait for killed processes to leave their group.
const KILL_WAIT: Duration = Duration::from_secs(10);

const POLL_SLICE: Duration = Duration::from_millis(50);

/// Where the kernel's control groups are on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// One tree for everything.
    Unified { root: PathBuf },
    /// One tree per controller (some mounted together), and perhaps a unified one without controllers.
    V1 {
        trees: BTreeMap<String, PathBuf>,
        unified: Option<PathBuf>,
    },
}

/// The control groups of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    layout: Layout,
}

impl Cgroups {
    /// Reads the mount table.
    pub fn detect() -> Result<Self> {
        Self::from_mounts(&mounts::list()?).ok_or_else(|| {
            Error::new(
                "find control groups: mount /sys/fs/cgroup",
                io::ErrorKind::NotFound,
            )
        })
    }

    pub fn with_layout(layout: Layout) -> Self {
        Self { layout }
    }

    fn from_mounts(table: &[MountInfo]) -> Option<Self> {
        let mut trees = BTreeMap::new();
        let mut unified = None;
        for entry in table {
            match entry.fs_type.as_str() {
                "cgroup2" => unified = unified.or_else(|| Some(entry.mount_point.clone())),
                "cgroup" => {
                    for name in entry
                        .super_options
                        .split(',')
                        .filter(|name| V1_TREES.contains(name))
                    {
                        trees
                            .entry(name.to_owned())
                            .or_insert_with(|| entry.mount_point.clone());
                    }
                }
                _ => {}
            }
        }
        let layout = match (trees.is_empty(), unified) {
            (true, Some(root)) => Layout::Unified { root },
            (true, None) => return None,
            (false, unified) => Layout::V1 { trees, unified },
        };
        Some(Self { layout })
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn is_v2(&self) -> bool {
        matches!(self.layout, Layout::Unified { .. })
    }

    /// The directory of `path` in the tree of a v1 controller, or in the only tree.
    fn dir(&self, controller: &str, path: &str) -> Option<PathBuf> {
        let root = match &self.layout {
            Layout::Unified { root } => root,
            Layout::V1 { trees, .. } => trees.get(controller)?,
        };
        Some(root.join(path.trim_start_matches('/')))
    }

    /// The directory of `path` in the tree that can kill a whole group, where there is one.
    fn tracking_dir(&self, path: &str) -> Option<PathBuf> {
        let root = match &self.layout {
            Layout::Unified { root } => root,
            Layout::V1 { unified, .. } => unified.as_ref()?,
        };
        Some(root.join(path.trim_start_matches('/')))
    }

    /// Every distinct directory that makes up the group.
    fn dirs(&self, path: &str) -> Vec<PathBuf> {
        let roots: Vec<&PathBuf> = match &self.layout {
            Layout::Unified { root } => vec![root],
            Layout::V1 { trees, unified } => trees.values().chain(unified).collect(),
        };
        let mut dirs: Vec<PathBuf> = roots
            .iter()
            .map(|root| root.join(path.trim_start_matches('/')))
            .collect();
        dirs.sort();
        dirs.dedup();
        dirs
    }

    /// Makes the group and its ancestors. Existing ones are fine.
    pub fn create(&self, path: &str) -> Result<()> {
        check_path(path)?;
        match &self.layout {
            Layout::Unified { root } => create_unified(root, path),
            Layout::V1 { trees, .. } => {
                for dir in self.dirs(path) {
                    fs::create_dir_all(&dir).attempt(|| format!("create {}", dir.display()))?;
                }
                trees
                    .get("cpuset")
                    .map_or(Ok(()), |root| inherit_cpuset(root, path))
            }
        }
    }

    pub fn exists(&self, path: &str) -> bool {
        self.dirs(path).iter().any(|dir| dir.exists())
    }

    /// Moves a process (0: the caller) into the group, in every tree.
    pub fn attach(&self, path: &str, pid: i32) -> Result<()> {
        self.dirs(path)
            .iter()
            .try_for_each(|dir| write(&dir.join("cgroup.procs"), &pid.to_string()))
    }

    /// The group's directory in the tree that tracks, opened for [`crate::process::fork_into`]. None on machines without
    /// a unified tree.
    pub fn open_tracking(&self, path: &str) -> Result<Option<fs::File>> {
        let open = |dir: PathBuf| fs::File::open(&dir).attempt(|| format!("open {}", dir.display()));
        self.tracking_dir(path).map(open).transpose()
    }

    /// Moves the calling process, which has one thread and is in the tracking tree's group already, into the others.
    /// By `tasks`, because a thread that moves itself alone need not wait for other processors.
    pub fn join_limits(&self, path: &str) -> Result<()> {
        let Layout::V1 { trees, .. } = &self.layout else {
            return Ok(());
        };
        let mut dirs: Vec<PathBuf> = trees
            .values()
            .map(|root| root.join(path.trim_start_matches('/')))
            .collect();
        dirs.sort();
        dirs.dedup();
        dirs.iter().try_for_each(|dir| write(&dir.join("tasks"), "0"))
    }

    /// The directories that a container sees below `/sys/fs/cgroup` on v1: the tree's name and the group's directory.
    pub fn v1_views(&self, path: &str) -> Vec<(String, PathBuf)> {
        let Layout::V1 { trees, .. } = &self.layout else {
            return Vec::new();
        };
        trees
            .iter()
            .map(|(name, root)| (name.clone(), root.join(path.trim_start_matches('/'))))
            .collect()
    }

    /// The processes in the group and below it.
    pub fn processes(&self, path: &str) -> Vec<i32> {
        let Some(dir) = self.tracking_dir(path).or_else(|| self.dir("pids", path)) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        collect_processes(&dir, &mut found);
        found
    }

    /// Sends SIGKILL to every process in the group and below it, without waiting for their end.
    pub fn kill_now(&self, path: &str) -> Result<()> {
        if self.kill_group(path) {
            return Ok(());
        }
        self.processes(path)
            .iter()
            .try_for_each(|pid| crate::process::signal(*pid, libc::SIGKILL))
    }

    /// True when the kernel has killed them all in one go.
    fn kill_group(&self, path: &str) -> bool {
        self.tracking_dir(path)
            .is_some_and(|dir| write(&dir.join("cgroup.kill"), "1").is_ok())
    }

    /// Kills every process in the group and below it, and waits until they have left it.
    pub fn kill(&self, path: &str) -> Result<()> {
        if self.kill_group(path)
            && let Some(dir) = self.tracking_dir(path)
        {
            return wait_empty(&dir);
        }
        let deadline = Instant::now() + KILL_WAIT;
        loop {
            let pids = self.processes(path);
            if pids.is_empty() {
                return Ok(());
            }
            let handles: Vec<_> = pids
                .iter()
                .filter_map(|pid| crate::process::pidfd(*pid).ok())
                .collect();
            pids.iter()
                .try_for_each(|pid| crate::process::signal(*pid, libc::SIGKILL))?;
            for handle in &handles {
                use std::os::fd::AsFd;
                crate::process::wait_ended(handle.as_fd(), 1000);
            }
            if Instant::now() > deadline {
                return Err(Error::new(
                    format!("kill the processes of {path}"),
                    io::ErrorKind::TimedOut,
                ));
            }
        }
    }

    /// Kills what is left in the group and removes it and all below it. A group that is not there is fine.
    pub fn remove(&self, path: &str) -> Result<()> {
        check_path(path)?;
        if !self.exists(path) {
            return Ok(());
        }
        self.kill(path)?;
        self.dirs(path).iter().try_for_each(|dir| remove_tree(dir))
    }
}

/// The group must be named from the root and may not climb.
fn check_path(path: &str) -> Result<()> {
    let fine =
        path.starts_with('/') && path.len() > 1 && !path.split('/').any(|part| part == ".." || part == ".");
    if fine {
        Ok(())
    } else {
        Err(Error::new(
            format!("control group {path:?}"),
            io::ErrorKind::InvalidInput,
        ))
    }
}

/// Makes each level and hands its parent's controllers down to it; the last level gets none of its own to hand on,
/// because a group with processes may not (cgroups(7), "no internal processes").
fn create_unified(root: &Path, path: &str) -> Result<()> {
    let mut dir = root.to_path_buf();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let available = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        let enabled = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
        for name in available
            .split_whitespace()
            .filter(|name| !enabled.split_whitespace().any(|have| have == *name))
        {
            // One at a time: a controller that cannot be handed down must not keep the others from it.
            let _ = write(&dir.join("cgroup.subtree_control"), &format!("+{name}"));
        }
        dir.push(part);
        match fs::create_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::new(format!("create {}", dir.display()), error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A v1 cpuset starts empty and takes no process until it is filled: copy the parent's, level by level. Levels that are
/// made later inherit by themselves (cgroup.clone_children).
fn inherit_cpuset(root: &Path, path: &str) -> Result<()> {
    let mut parent = root.to_path_buf();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let dir = parent.join(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let own = fs::read_to_string(dir.join(file)).unwrap_or_default();
            if own.trim().is_empty() {
                let inherited = fs::read_to_string(parent.join(file)).attempt(|| format!("read {file}"))?;
                write(&dir.join(file), inherited.trim())?;
                let _ = write(&dir.join("cgroup.clone_children"), "1");
            }
        }
        parent = dir;
    }
    Ok(())
}

fn collect_processes(dir: &Path, found: &mut Vec<i32>) {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for child in child_dirs(dir) {
        collect_processes(&child, found);
    }
}

fn child_dirs(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|e| e.path())
        .collect()
}

fn remove_tree(dir: &Path) -> Result<()> {
    for child in child_dirs(dir) {
        remove_tree(&child)?;
    }
    let deadline = Instant::now() + KILL_WAIT;
    loop {
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // The last process has left, but the kernel has not yet let go of it.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                std::thread::yield_now();
            }
            Err(error) => return Err(Error::new(format!("remove {}", dir.display()), error)),
        }
    }
}

/// Waits on `cgroup.events`, which the kernel makes readable (POLLPRI) when `populated` changes.
fn wait_empty(dir: &Path) -> Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::io::{Read, Seek};
    use std::os::fd::AsFd;
    let path = dir.join("cgroup.events");
    // Removed by someone else in the meantime: then it is empty.
    let is_gone = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV));
    let mut file = match fs::File::open(&path) {
        Err(error) if is_gone(&error) => return Ok(()),
        other => other.attempt(|| format!("open {}", path.display()))?,
    };
    let deadline = Instant::now() + KILL_WAIT;
    loop {
        let mut text = String::new();
        match file.rewind().and_then(|()| file.read_to_string(&mut text)) {
            Err(error) if is_gone(&error) => return Ok(()),
            other => drop(other.attempt(|| format!("read {}", path.display()))?),
        }
        if text.contains("populated 0") {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        // In slices: nobody is woken when the group is removed meanwhile.
        let timeout = PollTimeout::try_from(left.min(POLL_SLICE)).unwrap_or(PollTimeout::ZERO);
        let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
        if left.is_zero() || poll(&mut fds, timeout).is_err() {
            return Err(Error::new(
                format!("kill the processes of {}", dir.display()),
                io::ErrorKind::TimedOut,
            ));
        }
    }
}

/// Control files take one whole write and must exist already.
pub(crate) fn write(path: &Path, value: &str) -> Result<()> {
    use std::io::Write;
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .attempt(|| format!("write {value:?} to {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mount(fs_type: &str, point: &str, options: &str) -> MountInfo {
        MountInfo {
            root: "/".into(),
            mount_point: point.into(),
            fs_type: fs_type.into(),
            source: fs_type.into(),
            super_options: options.into(),
            shared: false,
        }
    }

    #[test]
    fn layouts() {
        let v2 = [mount("cgroup2", "/sys/fs/cgroup", "rw")];
        assert!(Cgroups::from_mounts(&v2).unwrap().is_v2());
        let hybrid = [
            mount("cgroup", "/sys/fs/cgroup/cpu,cpuacct", "rw,cpu,cpuacct"),
            mount("cgroup", "/sys/fs/cgroup/memory", "rw,memory"),
            mount("cgroup2", "/sys/fs/cgroup/unified", "rw"),
        ];
        let found = Cgroups::from_mounts(&hybrid).unwrap();
        assert_eq!(found.dirs("/a/b").len(), 3);
        assert_eq!(
            found.dir("cpuacct", "/a").unwrap(),
            Path::new("/sys/fs/cgroup/cpu,cpuacct/a")
        );
        assert_eq!(
            found.tracking_dir("/a").unwrap(),
            Path::new("/sys/fs/cgroup/unified/a")
        );
        assert!(Cgroups::from_mounts(&[]).is_none());
    }

    #[test]
    fn paths_may_not_climb() {
        assert!(check_path("/a/b").is_ok());
        assert!(check_path("/").is_err());
        assert!(check_path("/a/../b").is_err());
        assert!(check_path("a").is_err());
    }
}
