//! subPath mounts that cannot be led outside their volume.
//!
//! A container that shares the volume may swap a directory for a link at any moment. So the path is resolved by the
//! kernel beneath the volume (openat2), and what it resolved to is bound to a place of our own: the runtime then mounts
//! exactly that.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Refuses what could not be meant: absolute paths and steps back.
///
/// # Errors
/// Upstream's message.
pub fn validate(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        return Err(format!("error SubPath `{path}` must not be an absolute path"));
    }
    if path.split('/').any(|p| p == "..") {
        return Err(format!(
            "unable to provision SubPath `{path}`: must not contain '..'"
        ));
    }
    Ok(())
}

fn open_beneath(root: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Opens `sub` beneath `volume`, making directories that are missing with the volume's own mode.
///
/// # Errors
/// When the path leads out of the volume, or the disk fails.
pub fn open(volume: &Path, sub: &str) -> io::Result<OwnedFd> {
    let root = rustix::fs::open(volume, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    if let Ok(fd) = open_beneath(&root, Path::new(sub), OFlags::PATH) {
        return Ok(fd);
    }
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&root)?.st_mode & 0o7777);
    let mut done = PathBuf::new();
    for part in Path::new(sub).components() {
        let Component::Normal(name) = part else { continue };
        let parent = if done.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &done
        };
        let dir = open_beneath(&root, parent, OFlags::RDONLY | OFlags::DIRECTORY)?;
        match rustix::fs::mkdirat(&dir, name, mode) {
            Ok(()) => rustix::fs::chmodat(&dir, name, mode, rustix::fs::AtFlags::empty())?,
            Err(rustix::io::Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        done.push(name);
    }
    Ok(open_beneath(&root, Path::new(sub), OFlags::PATH)?)
}

/// Binds what `sub` is in `volume` to `target` (made as a file or directory to match).
///
/// # Errors
/// As [`open`]; and when the mount is refused.
pub fn bind(volume: &Path, sub: &str, target: &Path) -> io::Result<()> {
    unbind(target)?;
    let fd = open(volume, sub)?;
    let is_dir = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode)
        == rustix::fs::FileType::Directory;
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if is_dir {
        fs::create_dir_all(target)?;
    } else {
        fs::OpenOptions::new().create(true).append(true).open(target)?;
    }
    let source = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    mount(
        Some(&source),
        target,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )?;
    Ok(())
}

/// Takes a binding away, however often it was made; nothing there is fine.
///
/// # Errors
/// When the kernel refuses.
pub fn unbind(target: &Path) -> io::Result<()> {
    if fs::symlink_metadata(target).is_err() {
        return Ok(());
    }
    loop {
        match umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => return Ok(()),
            // Without the right to unmount nothing was mounted either.
            Err(nix::errno::Errno::EPERM) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_out_of_the_volume_lead_nowhere() {
        let dir = std::env::temp_dir().join(format!("corten-subpath-{}", std::process::id()));
        fs::create_dir_all(dir.join("in")).unwrap();
        symlink("/etc", dir.join("abs")).unwrap();
        symlink("../..", dir.join("up")).unwrap();
        symlink("in", dir.join("ok")).unwrap();
        assert!(open(&dir, "abs/passwd").is_err());
        assert!(open(&dir, "up/x").is_err());
        assert!(open(&dir, "ok").is_ok());
        open(&dir, "new/deep").unwrap();
        assert!(dir.join("new/deep").is_dir());
        assert!(validate("../x").is_err() && validate("/x").is_err() && validate("a/b").is_ok());
        fs::remove_dir_all(&dir).unwrap();
    }
}
