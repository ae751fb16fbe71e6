//! fsGroup: a volume that the pod writes belongs to the group, and what is made in it later too.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

const FILE_BITS: u32 = 0o660;
const DIR_BITS: u32 = 0o2770;

/// Gives `root` and everything in it to `group`. With `only_if_root_differs` (fsGroupChangePolicy OnRootMismatch)
/// a root that is as it should be ends it.
///
/// # Errors
/// When the disk does.
pub fn apply(root: &Path, group: u32, only_if_root_differs: bool) -> io::Result<()> {
    let meta = fs::metadata(root)?;
    if only_if_root_differs && meta.gid() == group && meta.mode() & DIR_BITS == DIR_BITS {
        return Ok(());
    }
    walk(root, group)
}

/// Contents first, the root last: an interrupted change is seen as one by the next attempt.
fn walk(path: &Path, group: u32) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if meta.is_symlink() {
        return lchown(path, None, Some(group));
    }
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            walk(&entry?.path(), group)?;
        }
    }
    lchown(path, None, Some(group))?;
    let bits = if meta.is_dir() { DIR_BITS } else { FILE_BITS };
    fs::set_permissions(path, fs::Permissions::from_mode((meta.mode() & 0o7777) | bits))
}
