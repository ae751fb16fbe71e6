//! Mounting, unmounting and reading the mount table.

use crate::error::{Attempt, Error, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount, mount_bind, mount_change,
    move_mount, unmount,
};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountInfo {
    pub root: PathBuf,
    pub mount_point: PathBuf,
    pub fs_type: String,
    pub source: String,
    pub super_options: String,
    pub shared: bool,
}

/// The mount table of the calling thread's mount namespace, in mount order.
pub fn list() -> Result<Vec<MountInfo>> {
    let text =
        std::fs::read_to_string("/proc/self/mountinfo").attempt(|| "read /proc/self/mountinfo".into())?;
    Ok(text.lines().filter_map(parse_line).collect())
}

fn parse_line(line: &str) -> Option<MountInfo> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let mut right = right.split(' ');
    Some(MountInfo {
        root: unescape(left.get(3)?),
        mount_point: unescape(left.get(4)?),
        shared: left.iter().skip(6).any(|field| field.starts_with("shared:")),
        fs_type: right.next()?.to_owned(),
        source: right.next()?.to_owned(),
        super_options: right.next().unwrap_or_default().to_owned(),
    })
}

/// mountinfo writes blanks and backslashes as `\ooo`.
fn unescape(field: &str) -> PathBuf {
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes
            .get(at + 1..at + 4)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match octal
            .filter(|_| bytes[at] == b'\\')
            .and_then(|digits| u8::from_str_radix(digits, 8).ok())
        {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&out))
}

/// Bind-mounts `source` on `target`; both must exist.
pub fn bind(source: &Path, target: &Path) -> Result<()> {
    mount_bind(source, target).attempt(|| format!("bind {} on {}", source.display(), target.display()))
}

/// Makes a directory a mount of its own that neither sends nor receives mount events. Does nothing when it is one.
pub fn make_private_mount(dir: &Path) -> Result<()> {
    if !list()?.iter().any(|entry| entry.mount_point == dir) {
        bind(dir, dir)?;
    }
    mount_change(dir, MountPropagationFlags::PRIVATE).attempt(|| format!("make {} private", dir.display()))
}

/// Keeps what is mounted below `dir` in this mount namespace from reaching others; what happens there still arrives here.
pub fn isolate(dir: &Path) -> Result<()> {
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change(dir, flags).attempt(|| format!("isolate {}", dir.display()))
}

/// A tmpfs of at most `size_bytes` (None: half of memory, the kernel's default).
pub fn tmpfs(target: &Path, size_bytes: Option<u64>, mode: u32) -> Result<()> {
    let mut options = format!("mode={mode:o}");
    if let Some(size) = size_bytes {
        options.push_str(&format!(",size={size}"));
    }
    let options = CString::new(options)
        .map_err(io::Error::from)
        .attempt(|| "tmpfs options".into())?;
    mount(
        "tmpfs",
        target,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        options.as_c_str(),
    )
    .attempt(|| format!("mount tmpfs on {}", target.display()))
}

/// A POSIX shared-memory file system for one sandbox.
pub fn shm(target: &Path, size_bytes: u64) -> Result<()> {
    let options = CString::new(format!("mode=1777,size={size_bytes}"))
        .map_err(io::Error::from)
        .attempt(|| "shm options".into())?;
    mount(
        "shm",
        target,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        options.as_c_str(),
    )
    .attempt(|| format!("mount shm on {}", target.display()))
}

/// Layers of a container's root: `lower` from top to bottom, all directories.
pub struct Overlay<'a> {
    pub lower: &'a [PathBuf],
    /// Absent for a read-only view.
    pub upper_and_work: Option<(&'a Path, &'a Path)>,
}

/// What mount(2) takes as options.
const PAGE: usize = 4096;

/// Mounts an overlay: by mount(2) where the options fit into a page and need no quoting, else by one `fsconfig` call per
/// layer (Linux 6.5), so that 128 layers are no limit.
pub fn overlay(layers: &Overlay<'_>, target: &Path) -> Result<()> {
    let options = overlay_options(layers);
    let plain = |path: &Path| {
        !path
            .as_os_str()
            .as_bytes()
            .iter()
            .any(|byte| matches!(byte, b':' | b',' | b'\\'))
    };
    let upper = layers
        .upper_and_work
        .is_none_or(|(upper, work)| plain(upper) && plain(work));
    if options.len() < PAGE && upper && layers.lower.iter().all(|dir| plain(dir)) {
        overlay_by_mount(options, target)
    } else {
        overlay_by_fsconfig(layers, target)
    }
}

fn overlay_by_fsconfig(layers: &Overlay<'_>, target: &Path) -> Result<()> {
    let what = || format!("mount overlay on {}", target.display());
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).attempt(what)?;
    for dir in layers.lower {
        fsconfig_set_string(&context, "lowerdir+", dir.as_path()).attempt(what)?;
    }
    if let Some((upper, work)) = layers.upper_and_work {
        fsconfig_set_string(&context, "upperdir", upper).attempt(what)?;
        fsconfig_set_string(&context, "workdir", work).attempt(what)?;
    }
    fsconfig_create(&context).attempt(what)?;
    let mounted = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).attempt(what)?;
    move_mount(
        &mounted,
        "",
        rustix::fs::CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .attempt(what)
}

fn overlay_options(layers: &Overlay<'_>) -> Vec<u8> {
    let mut options = Vec::from(b"lowerdir=");
    for (at, dir) in layers.lower.iter().enumerate() {
        if at > 0 {
            options.push(b':');
        }
        options.extend_from_slice(dir.as_os_str().as_bytes());
    }
    if let Some((upper, work)) = layers.upper_and_work {
        options.extend_from_slice(b",upperdir=");
        options.extend_from_slice(upper.as_os_str().as_bytes());
        options.extend_from_slice(b",workdir=");
        options.extend_from_slice(work.as_os_str().as_bytes());
    }
    options
}

fn overlay_by_mount(options: Vec<u8>, target: &Path) -> Result<()> {
    let what = || format!("mount overlay on {}", target.display());
    let options = CString::new(options).map_err(io::Error::from).attempt(what)?;
    mount(
        "overlay",
        target,
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )
    .attempt(what)
}

/// Detaches whatever is mounted at `target`; what is not mounted, or not there, is fine.
pub fn detach(target: &Path) -> Result<()> {
    match unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(Error::new(format!("unmount {}", target.display()), error)),
    }
}

/// Detaches every mount at or below `dir`, newest first.
pub fn detach_below(dir: &Path) -> Result<()> {
    for entry in list()?
        .iter()
        .rev()
        .filter(|entry| entry.mount_point.starts_with(dir))
    {
        detach(&entry.mount_point)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn overlays_of_many_layers_and_odd_names() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = std::env::temp_dir().join(format!("corten-overlay-{}", std::process::id()));
        let lower: Vec<PathBuf> = (0..100)
            .map(|layer| dir.join(format!("layer:{layer},{}", "x".repeat(40))))
            .collect();
        for layer in &lower {
            std::fs::create_dir_all(layer).unwrap();
            std::fs::write(layer.join(layer.file_name().unwrap()), "").unwrap();
        }
        let target = dir.join("merged");
        std::fs::create_dir_all(&target).unwrap();
        overlay(
            &Overlay {
                lower: &lower,
                upper_and_work: None,
            },
            &target,
        )
        .unwrap();
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 100);
        detach(&target).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn mountinfo_lines_with_escapes() {
        let line =
            r"36 35 98:0 /a\040b /mnt\0402 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue";
        let entry = parse_line(line).unwrap();
        assert_eq!(entry.root, Path::new("/a b"));
        assert_eq!(entry.mount_point, Path::new("/mnt 2"));
        assert_eq!(entry.fs_type, "ext3");
        assert!(entry.shared);
        assert!(parse_line("garbage").is_none());
    }
}
