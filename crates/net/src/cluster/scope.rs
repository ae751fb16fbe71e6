//! What makes a process a node of its own on a shared machine: network, mount, UTS and IPC namespaces, and a cgroup
//! subtree that it sees as the whole (RUNTIME.md, "Several nodes on one machine").

use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use super::cgroups::{self, Hierarchy};
use crate::error::{Context, Result};
use crate::netns::{self, NetNs};

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
/// the calling thread, and what it starts, enters. There is no way back. Any number of processes can enter one
/// scope, at the same time or after one another; each has mounts of its own.
///
/// Afterwards `/run` is empty, `/sys` shows the node's network and its cgroups, mounts made here are seen nowhere
/// else, and the process sits in the leaf `agent` of its cgroup, so that (cgroup v2) siblings can have controllers.
pub fn enter(scope: &Scope) -> Result<()> {
    let hierarchies = cgroups::hierarchies()?;
    let netns = NetNs::open(&scope.netns)?;
    enter_cgroups(scope, &hierarchies)?;
    setns(&netns, CloneFlags::CLONE_NEWNET).context("entering the node's network namespace")?;
    let flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    unshare(flags).context("making the node's namespaces")?;
    nix::unistd::sethostname(&scope.hostname).context("naming the node")?;
    remount(&hierarchies)
}

/// Puts the calling process into a scope as the process `pid`, which is in it already, sees it: its mounts too, which
/// those of [`enter`] are not. Same conditions.
pub fn rejoin(scope: &Scope, pid: i32) -> Result<()> {
    let hierarchies = cgroups::hierarchies()?;
    let kinds = [
        ("net", CloneFlags::CLONE_NEWNET),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("mnt", CloneFlags::CLONE_NEWNS),
    ];
    let mut namespaces = Vec::new();
    for (name, flag) in kinds {
        let path = format!("/proc/{pid}/ns/{name}");
        let file = std::fs::File::open(&path).with_context(|| format!("opening {path}"))?;
        namespaces.push((file, flag));
    }
    enter_cgroups(scope, &hierarchies)?;
    for (namespace, flag) in namespaces {
        setns(namespace, flag).context("entering the node's namespaces")?;
    }
    Ok(())
}

/// A cgroup namespace shows as its root where its maker was when it made it. In v2 nothing can be there once
/// children have controllers, so only the first process makes the namespace, and it is held for the later ones.
fn enter_cgroups(scope: &Scope, hierarchies: &[Hierarchy]) -> Result<()> {
    let held = cgroup_namespace(&scope.netns);
    let leaf = scope.cgroup.join("agent");
    if let Some(namespace) = netns::held_at(&held)? {
        hierarchies.iter().try_for_each(|h| h.enter(&leaf))?;
        return setns(&namespace, CloneFlags::CLONE_NEWCGROUP).context("entering the node's cgroups");
    }
    NetNs::release(&held)?;
    hierarchies.iter().try_for_each(|h| h.enter(&scope.cgroup))?;
    unshare(CloneFlags::CLONE_NEWCGROUP).context("separating the node's cgroups")?;
    std::fs::File::create(&held).with_context(|| format!("creating {}", held.display()))?;
    let none = None::<&str>;
    mount(
        Some("/proc/thread-self/ns/cgroup"),
        &held,
        none,
        MsFlags::MS_BIND,
        none,
    )
    .with_context(|| format!("holding the node's cgroups at {}", held.display()))?;
    hierarchies.iter().try_for_each(|h| h.enter(&leaf))?;
    for hierarchy in hierarchies {
        hierarchy.delegate_above(&scope.cgroup);
        hierarchy.delegate(&scope.cgroup);
    }
    Ok(())
}

/// Where the cgroup namespace of the node with that network namespace is held.
pub(super) fn cgroup_namespace(netns: &Path) -> PathBuf {
    let mut path = netns.as_os_str().to_owned();
    path.push(".cgroup");
    path.into()
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
    // Not only covered: what lies beneath would still be listed among the mounts, and nobody could unmount it.
    nix::mount::umount2("/sys", nix::mount::MntFlags::MNT_DETACH).context("unmounting the machine's /sys")?;
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
