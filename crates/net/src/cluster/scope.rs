//! What makes a process a node of its own on a shared machine: network, mount, UTS and IPC namespaces, and a cgroup
//! subtree that it sees as the whole (RUNTIME.md, "Several nodes on one machine").

use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::cgroups::{self, Hierarchy};
use crate::error::{Context, Result};
use crate::netns::NetNs;

/// One node's scope.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Where the node's network namespace is held.
    pub netns: PathBuf,
    pub hostname: String,
    /// Path of the node's cgroup below the root of every hierarchy, without a leading slash, such as
    /// `corten-1a2b3/node-1`.
    pub cgroup: PathBuf,
}

/// Puts the calling process into a scope. Call it first thing in `main`, before there is any other thread: only
/// the calling thread, and what it starts, enters. There is no way back.
///
/// Afterwards `/run` is empty, `/sys` shows the node's network and its cgroups, mounts made here are seen nowhere
/// else, and the process sits in the leaf `agent` of its cgroup, so that (cgroup v2) siblings can have controllers.
pub fn enter(scope: &Scope) -> Result<()> {
    let hierarchies = cgroups::hierarchies()?;
    for hierarchy in &hierarchies {
        hierarchy.enter(&scope.cgroup)?;
    }
    let netns = NetNs::open(&scope.netns)?;
    nix::sched::setns(&netns, CloneFlags::CLONE_NEWNET).context("entering the node's network namespace")?;
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWCGROUP
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    unshare(flags).context("making the node's namespaces")?;
    nix::unistd::sethostname(&scope.hostname).context("naming the node")?;
    remount(&hierarchies)?;
    cgroups::hierarchies()?
        .iter()
        .try_for_each(|h| h.enter(Path::new("agent")))
}

/// Puts the calling process into a scope that the process `pid` already lives in; see [`enter`]. What is mounted there
/// is seen.
pub fn rejoin(scope: &Scope, pid: i32) -> Result<()> {
    for hierarchy in &cgroups::hierarchies()? {
        hierarchy.enter(&scope.cgroup.join("agent"))?;
    }
    let kinds = [
        ("net", CloneFlags::CLONE_NEWNET),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("cgroup", CloneFlags::CLONE_NEWCGROUP),
        ("mnt", CloneFlags::CLONE_NEWNS),
    ];
    let mut namespaces = Vec::new();
    for (name, flag) in kinds {
        let path = format!("/proc/{pid}/ns/{name}");
        namespaces.push((std::fs::File::open(&path).with_context(|| format!("opening {path}"))?, flag));
    }
    for (namespace, flag) in namespaces {
        nix::sched::setns(namespace, flag).context("entering the node's namespaces")?;
    }
    Ok(())
}

/// Removes a node's cgroups everywhere, and empty parents of it. Its processes must be gone.
pub fn remove_cgroups(cgroup: &Path) -> Result<()> {
    cgroups::hierarchies()?.iter().try_for_each(|h| h.remove(cgroup))
}

fn remount(hierarchies: &[Hierarchy]) -> Result<()> {
    // Slave: what the machine mounts later is still seen, what is mounted here is not passed on.
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none).context("separating mounts")?;
    let links = symlinks(Path::new(cgroups::ROOT));
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("sysfs"), "/sys", Some("sysfs"), quiet, none).context("mounting /sys")?;
    if !hierarchies
        .iter()
        .any(|h| h.mount_point == Path::new(cgroups::ROOT))
    {
        mount(
            Some("tmpfs"),
            cgroups::ROOT,
            Some("tmpfs"),
            quiet,
            Some("mode=755"),
        )
        .context("mounting a place for cgroups")?;
    }
    for hierarchy in hierarchies {
        hierarchy.mount()?;
    }
    for (link, target) in links {
        std::os::unix::fs::symlink(target, &link).with_context(|| format!("linking {}", link.display()))?;
    }
    mount(
        Some("tmpfs"),
        "/run",
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=755"),
    )
    .context("mounting /run")
}

/// `cpu -> cpu,cpuacct` and the like.
fn symlinks(dir: &Path) -> Vec<(PathBuf, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|e| Some((e.path(), std::fs::read_link(e.path()).ok()?)))
        .collect()
}
