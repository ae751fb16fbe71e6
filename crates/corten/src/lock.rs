//! One server per data directory: a lock that ends with its process, and a pid file for those who look.

use crate::paths::Paths;
use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

/// Held for as long as the server runs.
pub(crate) struct Lock {
    _file: Flock<File>,
    pid: std::path::PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The lock itself ends with the file; a pid file that stays behind is overwritten by the next start.
        let _ = std::fs::remove_file(&self.pid);
    }
}

/// Makes the data directory (0700) and takes its lock, or says who has it.
pub(crate) fn take(paths: &Paths) -> anyhow::Result<Lock> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&paths.root)
        .with_context(|| format!("making the data directory {}", paths.root.display()))?;
    let Some(file) = try_lock(paths)? else {
        let pid = running_pid(paths).map_or_else(String::new, |pid| format!(" (pid {pid})"));
        bail!(
            "a Corten server{pid} already runs on {}; stop it with `corten down --data-dir {}`, or start with another --data-dir",
            paths.root.display(),
            paths.root.display()
        );
    };
    std::fs::write(paths.pid(), std::process::id().to_string()).context("writing the pid file")?;
    Ok(Lock {
        _file: file,
        pid: paths.pid(),
    })
}

/// The lock if nobody has it; `None` if a server runs.
fn try_lock(paths: &Paths) -> anyhow::Result<Option<Flock<File>>> {
    let path = paths.lock();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno).with_context(|| format!("locking {}", path.display())),
    }
}

/// The pid of the server that holds the lock.
pub(crate) fn running_pid(paths: &Paths) -> Option<i32> {
    if !paths.root.is_dir() || try_lock(paths).ok()?.is_some() {
        return None;
    }
    std::fs::read_to_string(paths.pid()).ok()?.trim().parse().ok()
}

/// Waits until no server holds the lock.
pub(crate) fn wait_free(paths: &Paths) -> anyhow::Result<()> {
    let path = paths.lock();
    let file = OpenOptions::new()
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .with_context(|| format!("locking {}", path.display()))?;
    Ok(())
}
