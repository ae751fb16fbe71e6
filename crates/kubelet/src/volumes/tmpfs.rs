//! Memory file systems: one for all secrets of the node, one for each memory-backed emptyDir.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::io;
use std::path::Path;

/// The magic of tmpfs in statfs(2).
const TMPFS: i64 = 0x0102_1994;

/// Whether `path` is itself the root of a mounted tmpfs.
pub fn is_mounted(path: &Path) -> bool {
    let magic = rustix::fs::statfs(path).map(|s| s.f_type);
    let dev = |p: &Path| {
        fs::metadata(p)
            .map(|m| std::os::unix::fs::MetadataExt::dev(&m))
            .ok()
    };
    magic.is_ok_and(|m| m == TMPFS) && path.parent().is_some_and(|p| dev(p) != dev(path))
}

/// Mounts one of at most `bytes` (None: half of memory, the kernel's default), unless it is there already.
///
/// # Errors
/// When the kernel refuses.
pub fn ensure(path: &Path, bytes: Option<i64>, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if is_mounted(path) {
        return Ok(());
    }
    let mut data = format!("mode={mode:o}");
    if let Some(bytes) = bytes.filter(|b| *b > 0) {
        data.push_str(&format!(",size={bytes}"));
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(data.as_str()))?;
    Ok(())
}

/// Unmounts `path` if it is a tmpfs.
///
/// # Errors
/// When the kernel refuses.
pub fn remove(path: &Path) -> io::Result<()> {
    if is_mounted(path) {
        umount2(path, MntFlags::MNT_DETACH)?;
    }
    Ok(())
}
