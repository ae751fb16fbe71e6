//! Mounts images, or parts of them, where a container's spec binds its volumes from. In the container's mount namespace,
//! so they end with it.

use super::text;
use crate::keeper::launch_file::{ImageVolume, image_volume};
use corten_sys::mounts::{self, Overlay};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// # Errors
/// A sub-path that is not in the image, or a mount that the kernel refuses.
pub fn mount(bundle: &Path, volumes: &[ImageVolume]) -> Result<(), String> {
    for (number, volume) in volumes.iter().enumerate() {
        let target = image_volume(bundle, number);
        let whole = if volume.sub_path.is_empty() {
            target.clone()
        } else {
            target.with_extension("whole")
        };
        // An overlay without an upper directory has two lower ones at least.
        let empty = target.with_extension("empty");
        for dir in [&whole, &empty] {
            fs::create_dir_all(dir).map_err(text)?;
        }
        let lower: Vec<PathBuf> = volume.lower.iter().cloned().chain([empty]).collect();
        let layers = Overlay {
            lower: &lower,
            upper_and_work: None,
        };
        mounts::overlay(&layers, &whole).map_err(text)?;
        if !volume.sub_path.is_empty() {
            bind_part(&whole, &volume.sub_path, &target)
                .map_err(|error| format!("image volume: sub-path {:?}: {error}", volume.sub_path))?;
        }
    }
    Ok(())
}

/// Binds what the kernel finds at `sub_path` when `whole` is the root: no link of the image leads out of it.
fn bind_part(whole: &Path, sub_path: &str, target: &Path) -> Result<(), String> {
    let root = rustix::fs::open(whole, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(text)?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let part = rustix::fs::openat2(
        &root,
        sub_path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    )
    .map_err(text)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&part).map_err(text)?.st_mode);
    if kind == FileType::Directory {
        fs::create_dir_all(target).map_err(text)?;
    } else {
        fs::write(target, "").map_err(text)?;
    }
    let source = PathBuf::from(format!("/proc/self/fd/{}", part.as_raw_fd()));
    mounts::bind(&source, target).map_err(text)
}
