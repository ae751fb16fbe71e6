//! Namespaces: made and entered on threads of their own, held by bind mounts.
//!
//! A thread that has changed its namespaces must never go back to a pool, so each of these calls starts one and ends it.

use crate::error::{Attempt, Error, Result};
use crate::mounts;
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The namespaces that a sandbox can own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Net,
    Ipc,
    Uts,
    Pid,
    Cgroup,
    Mount,
}

impl Kind {
    /// Its file name under `/proc/<pid>/ns`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Net => "net",
            Kind::Ipc => "ipc",
            Kind::Uts => "uts",
            Kind::Pid => "pid",
            Kind::Cgroup => "cgroup",
            Kind::Mount => "mnt",
        }
    }

    fn flag(self) -> CloneFlags {
        match self {
            Kind::Net => CloneFlags::CLONE_NEWNET,
            Kind::Ipc => CloneFlags::CLONE_NEWIPC,
            Kind::Uts => CloneFlags::CLONE_NEWUTS,
            Kind::Pid => CloneFlags::CLONE_NEWPID,
            Kind::Cgroup => CloneFlags::CLONE_NEWCGROUP,
            Kind::Mount => CloneFlags::CLONE_NEWNS,
        }
    }
}

fn flags(kinds: &[Kind]) -> CloneFlags {
    kinds
        .iter()
        .fold(CloneFlags::empty(), |flags, kind| flags | kind.flag())
}

/// Runs `work` on a new thread and waits for it. A panic there becomes an error here.
fn on_own_thread<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(256 << 10)
            .spawn_scoped(scope, work)
            .attempt(|| "start a thread".into())?;
        thread
            .join()
            .unwrap_or_else(|_| Err(Error::new(name, io::Error::other("thread panicked"))))
    })
}

/// Makes new namespaces of `kinds` (Net, Ipc, Uts), runs `prepare` inside them, then pins each at `dir/<name>`.
/// On failure nothing stays pinned. `dir` must exist.
pub fn create_pinned(dir: &Path, kinds: &[Kind], prepare: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    on_own_thread("namespaces", || {
        unshare(flags(kinds)).attempt(|| "unshare namespaces".into())?;
        prepare()?;
        for kind in kinds {
            if let Err(error) = pin(*kind, dir) {
                kinds.iter().for_each(|kind| drop(unpin(*kind, dir)));
                return Err(error);
            }
        }
        Ok(())
    })
}

fn pin(kind: Kind, dir: &Path) -> Result<()> {
    let target = dir.join(kind.name());
    File::create(&target).attempt(|| format!("create {}", target.display()))?;
    mounts::bind(&PathBuf::from("/proc/thread-self/ns").join(kind.name()), &target)
}

/// Lets a pinned namespace go. What is not there is fine.
pub fn unpin(kind: Kind, dir: &Path) -> Result<()> {
    let target = dir.join(kind.name());
    mounts::detach(&target)?;
    match std::fs::remove_file(&target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::new(format!("remove {}", target.display()), error))
        }
        _ => Ok(()),
    }
}

/// Runs `work` on its own thread inside the network namespace at `netns`.
pub fn in_netns<T: Send>(netns: &Path, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_own_thread("netns", || {
        enter(netns, Kind::Net)?;
        work()
    })
}

/// Moves the calling thread into the namespace at `path`. Only for threads and processes that end afterwards.
pub fn enter(path: &Path, kind: Kind) -> Result<()> {
    let file = File::open(path).attempt(|| format!("open {}", path.display()))?;
    setns(file, kind.flag()).attempt(|| format!("enter {}", path.display()))
}

/// Moves the calling single-threaded process into several namespaces of another process at once.
pub fn enter_process(pidfd: std::os::fd::BorrowedFd<'_>, kinds: &[Kind]) -> Result<()> {
    setns(pidfd, flags(kinds)).attempt(|| "enter the container's namespaces".into())
}

/// Gives the calling thread new namespaces. Only for threads and processes that end afterwards.
pub fn leave(kinds: &[Kind]) -> Result<()> {
    unshare(flags(kinds)).attempt(|| "unshare namespaces".into())
}

/// Device and inode: equal for two paths exactly when they are the same namespace.
pub fn identity(path: &Path) -> Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(path).attempt(|| format!("stat {}", path.display()))?;
    Ok((meta.dev(), meta.ino()))
}

/// Sets the host name of the calling thread's UTS namespace.
pub fn set_hostname(name: &str) -> Result<()> {
    nix::unistd::sethostname(name).attempt(|| format!("set hostname {name}"))
}

/// Writes a namespaced kernel parameter for the calling thread's namespaces. `key` with dots or slashes.
pub fn set_sysctl(key: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(key.replace('.', "/"));
    if path
        .components()
        .any(|part| matches!(part, std::path::Component::ParentDir))
    {
        return Err(Error::new(
            format!("sysctl {key:?}"),
            io::Error::from_raw_os_error(libc::EINVAL),
        ));
    }
    std::fs::write(&path, value).attempt(|| format!("set sysctl {key} to {value:?}"))
}
