//! The machine's cgroup hierarchies: v1, v2 or both.

use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use crate::error::{Context, Result};

pub const ROOT: &str = "/sys/fs/cgroup";

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    pub mount_point: PathBuf,
    /// v1: what to mount it with (`memory`, `cpu,cpuacct`, `none,name=systemd`). v2: `None`.
    pub v1_options: Option<String>,
}

/// The hierarchies below `/sys/fs/cgroup` in the calling thread's mount namespace.
pub fn hierarchies() -> Result<Vec<Hierarchy>> {
    let text = std::fs::read_to_string("/proc/thread-self/mountinfo").context("reading mounts")?;
    Ok(parse(&text))
}

/// A later mount on the same place hides the earlier one; places are what counts here.
fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = mountinfo.lines().filter_map(parse_line).collect();
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|h| seen.insert(h.mount_point.clone()));
    found
}

/// proc(5): `id parent device root mount-point options [optional fields] - type source super-options`.
fn parse_line(line: &str) -> Option<Hierarchy> {
    let (front, back) = line.split_once(" - ")?;
    let mount_point = PathBuf::from(front.split(' ').nth(4)?);
    let mut back = back.split(' ');
    let kind = back.next()?;
    if !mount_point.starts_with(ROOT) {
        return None;
    }
    let v1_options = match kind {
        "cgroup2" => None,
        "cgroup" => Some(v1_options(back.nth(1)?)),
        _ => return None,
    };
    Some(Hierarchy {
        mount_point,
        v1_options,
    })
}

/// Of the superblock's options, those that say which hierarchy it is.
fn v1_options(all: &str) -> String {
    let not_ours = [
        "rw",
        "ro",
        "xattr",
        "clone_children",
        "noprefix",
        "cpuset_v2_mode",
        "favordynmods",
    ];
    let kept: Vec<&str> = all
        .split(',')
        .filter(|o| !not_ours.contains(o) && !o.starts_with("release_agent="))
        .collect();
    let controllers = kept.iter().any(|o| !o.starts_with("name="));
    if controllers {
        kept.join(",")
    } else {
        format!("none,{}", kept.join(","))
    }
}

impl Hierarchy {
    /// Makes the cgroup (parents too) and moves the calling process into it.
    pub fn enter(&self, cgroup: &Path) -> Result<()> {
        let mut at = self.mount_point.clone();
        for part in cgroup {
            let parent = at.clone();
            at.push(part);
            std::fs::create_dir_all(&at).with_context(|| format!("creating cgroup {}", at.display()))?;
            self.inherit_cpuset(&parent, &at)?;
        }
        let procs = at.join("cgroup.procs");
        std::fs::write(&procs, "0").with_context(|| format!("entering cgroup {}", at.display()))
    }

    /// [`delegate`](Self::delegate) at the root and every cgroup above this one.
    pub fn delegate_above(&self, cgroup: &Path) {
        let above: Vec<&Path> = cgroup.ancestors().skip(1).collect();
        above.iter().rev().for_each(|c| self.delegate(c));
    }

    /// Pure v2: lets children of the cgroup have every controller there is. No process may be in the
    /// cgroup itself: the kernel would refuse, or take children for threads. Refusal leaves the children without
    /// limits but otherwise whole.
    pub fn delegate(&self, cgroup: &Path) {
        // On a hybrid machine limits are v1's, and turning controllers on up to the root would outlive us.
        if self.v1_options.is_some() || self.mount_point != Path::new(ROOT) {
            return;
        }
        let at = self.mount_point.join(cgroup);
        let available = std::fs::read_to_string(at.join("cgroup.controllers")).unwrap_or_default();
        for controller in available.split_whitespace() {
            let control = at.join("cgroup.subtree_control");
            if let Err(error) = std::fs::write(&control, format!("+{controller}")) {
                tracing::debug!(path = %control.display(), controller, %error, "controller not passed on");
            }
        }
    }

    /// A v1 cpuset starts empty and takes no process until it has processors and memory nodes.
    fn inherit_cpuset(&self, parent: &Path, child: &Path) -> Result<()> {
        let cpuset = self
            .v1_options
            .as_ref()
            .is_some_and(|o| o.split(',').any(|c| c == "cpuset"));
        if !cpuset {
            return Ok(());
        }
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let value = std::fs::read_to_string(parent.join(file)).context("reading a cpuset")?;
            let own = std::fs::read_to_string(child.join(file)).context("reading a cpuset")?;
            if own.trim().is_empty() {
                std::fs::write(child.join(file), value.trim()).context("writing a cpuset")?;
            }
        }
        Ok(())
    }

    /// Mounts the hierarchy where it was, as the calling thread's cgroup namespace shows it.
    pub fn mount(&self) -> Result<()> {
        let at = &self.mount_point;
        std::fs::create_dir_all(at).with_context(|| format!("creating {}", at.display()))?;
        let kind = if self.v1_options.is_some() {
            "cgroup"
        } else {
            "cgroup2"
        };
        let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some(kind), at, Some(kind), quiet, self.v1_options.as_deref())
            .with_context(|| format!("mounting {}", at.display()))
    }

    /// Removes the cgroup and all below it, then its parents as long as they are empty.
    pub fn remove(&self, cgroup: &Path) -> Result<()> {
        let top = self.mount_point.join(cgroup);
        if top == self.mount_point || !top.exists() {
            return Ok(());
        }
        remove_tree(&top).with_context(|| format!("removing cgroup {}", top.display()))?;
        for parent in cgroup.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()) {
            if std::fs::remove_dir(self.mount_point.join(parent)).is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn remove_tree(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    std::fs::remove_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_and_pure_machines_are_read() {
        let hybrid = "\
30 24 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,size=4096k,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:29 /sub /elsewhere rw - cgroup cgroup rw,cpu,cpuacct
";
        let found: Vec<_> = parse(hybrid)
            .into_iter()
            .map(|h| (h.mount_point, h.v1_options))
            .collect();
        let expected = [
            ("/sys/fs/cgroup/unified".into(), None),
            (
                "/sys/fs/cgroup/systemd".into(),
                Some("none,name=systemd".to_owned()),
            ),
            (
                "/sys/fs/cgroup/cpu,cpuacct".into(),
                Some("cpu,cpuacct".to_owned()),
            ),
        ];
        assert_eq!(found, expected);
        let pure = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        assert_eq!(
            parse(pure),
            [Hierarchy {
                mount_point: ROOT.into(),
                v1_options: None
            }]
        );
    }
}
