//! Unpacks one layer into a directory that overlayfs can stack.
//!
//! Nothing is ever written through a path: every entry's parent is resolved by the kernel inside the layer's root
//! (openat2, RESOLVE_IN_ROOT), so that no `..` and no symbolic link leads out of it.

use super::Error;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chownat,
    linkat, lsetxattr, mkdirat, mknodat, openat, openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use tar::{Entry, EntryType};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const XATTR_PREFIX: &str = "SCHILY.xattr.";

/// Unpacks an uncompressed layer stream into `root`, an empty directory. Returns the bytes of file content written.
pub fn unpack(stream: impl Read, root: &Path) -> Result<u64, Error> {
    let root_fd = openat(
        CWD,
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| Error::io(format!("open {}", root.display()), error.into()))?;
    let mut layer = Layer {
        root: root_fd,
        directories: Vec::new(),
        written: 0,
        parent: None,
    };
    let mut archive = tar::Archive::new(stream);
    let entries = archive.entries().map_err(Error::tar)?;
    for entry in entries {
        let mut entry = entry.map_err(Error::tar)?;
        layer.entry(&mut entry)?;
    }
    layer.finish()?;
    Ok(layer.written)
}

struct Layer {
    root: OwnedFd,
    /// Times are set last: unpacking into a directory changes its own.
    directories: Vec<(PathBuf, i64)>,
    written: u64,
    /// The last parent, because entries of one directory come together.
    parent: Option<(PathBuf, OwnedFd)>,
}

/// The path's plain components; None where it would climb.
fn clean(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(out)
}

impl Layer {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), Error> {
        let raw = entry.path().map_err(Error::tar)?.into_owned();
        let path = clean(&raw).ok_or_else(|| Error::escapes(&raw))?;
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            return Ok(());
        }
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            return self.finish_entry(entry, &path, OsStr::new("."), true);
        };
        let parent = path.parent().unwrap_or(Path::new("")).to_owned();
        self.enter(&parent, &raw)?;
        if name.as_bytes() == OPAQUE {
            return self.opaque(&parent);
        }
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
            return self.whiteout(OsStr::from_bytes(hidden), &raw);
        }
        self.make(entry, kind, &path, &name)
    }

    /// Makes `parent` the current one, creating what is missing of it.
    fn enter(&mut self, parent: &Path, entry: &Path) -> Result<(), Error> {
        if self.parent.as_ref().is_some_and(|(path, _)| path == parent) {
            return Ok(());
        }
        let fd = match self.resolve(parent) {
            Err(Errno::NOENT) => self.create_directories(parent, entry)?,
            other => other.map_err(|error| Error::entry(entry, error))?,
        };
        self.parent = Some((parent.to_owned(), fd));
        Ok(())
    }

    fn resolve(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(
            &self.root,
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        )
    }

    /// A component that is there but leads nowhere inside the layer is a link out of it.
    fn create_directories(&self, path: &Path, entry: &Path) -> Result<OwnedFd, Error> {
        let mut so_far = PathBuf::new();
        let mut fd = self
            .resolve(&so_far)
            .map_err(|error| Error::entry(entry, error))?;
        for part in path.components() {
            so_far.push(part);
            fd = match self.resolve(&so_far) {
                Ok(next) => next,
                Err(Errno::NOENT) => {
                    match mkdirat(&fd, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                        Ok(()) => {}
                        Err(Errno::EXIST) => return Err(Error::escapes(entry)),
                        Err(error) => return Err(Error::entry(entry, error)),
                    }
                    self.resolve(&so_far)
                        .map_err(|error| Error::entry(entry, error))?
                }
                Err(Errno::LOOP | Errno::NOTDIR) => return Err(Error::escapes(entry)),
                Err(error) => return Err(Error::entry(entry, error)),
            };
        }
        Ok(fd)
    }

    fn dir(&self) -> impl AsFd + '_ {
        self.parent
            .as_ref()
            .map_or(self.root.as_fd(), |(_, fd)| fd.as_fd())
    }

    /// A name for the entry that xattr calls take: they have no `at` form.
    fn name_of(&self, name: &OsStr) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.dir().as_fd().as_raw_fd())).join(name)
    }

    fn opaque(&self, parent: &Path) -> Result<(), Error> {
        let path = self.name_of(OsStr::new("."));
        lsetxattr(&path, "trusted.overlay.opaque", b"y", XattrFlags::empty())
            .map_err(|error| Error::entry(parent, error))
    }

    fn whiteout(&self, hidden: &OsStr, entry: &Path) -> Result<(), Error> {
        if hidden.is_empty() || hidden == OsStr::new(".") || hidden == OsStr::new("..") {
            return Err(Error::escapes(entry));
        }
        self.clear(hidden, entry)?;
        mknodat(self.dir(), hidden, FileType::CharacterDevice, Mode::empty(), 0)
            .map_err(|error| Error::entry(entry, error))
    }

    /// Makes room for a new entry.
    fn clear(&self, name: &OsStr, entry: &Path) -> Result<(), Error> {
        match unlinkat(self.dir(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => {
                std::fs::remove_dir_all(self.name_of(name)).map_err(|error| Error::io(entry.display(), error))
            }
            Err(error) => Err(Error::entry(entry, error)),
        }
    }

    fn make<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        kind: EntryType,
        path: &Path,
        name: &OsString,
    ) -> Result<(), Error> {
        let failed = |error| Error::entry(path, error);
        if kind == EntryType::Directory {
            self.directory(name, path)?;
            return self.finish_entry(entry, path, name, true);
        }
        self.clear(name, path)?;
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(entry, name, path)?
            }
            EntryType::Link => return self.hard_link(entry, name, path),
            EntryType::Symlink => {
                let target = entry
                    .link_name()
                    .map_err(Error::tar)?
                    .ok_or_else(|| failed(Errno::INVAL))?;
                symlinkat(target.as_ref(), self.dir(), name.as_os_str()).map_err(failed)?;
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                let header = entry.header();
                let number = |value: io::Result<Option<u32>>| value.ok().flatten().unwrap_or(0);
                let device =
                    rustix::fs::makedev(number(header.device_major()), number(header.device_minor()));
                let node = match kind {
                    EntryType::Char => FileType::CharacterDevice,
                    EntryType::Block => FileType::BlockDevice,
                    _ => FileType::Fifo,
                };
                mknodat(self.dir(), name.as_os_str(), node, Mode::empty(), device).map_err(failed)?;
            }
            other => {
                return Err(Error::Unsupported(format!(
                    "{}: tar entry of type {other:?}",
                    path.display()
                )));
            }
        }
        self.finish_entry(entry, path, name, false)
    }

    fn directory(&self, name: &OsStr, path: &Path) -> Result<(), Error> {
        match mkdirat(self.dir(), name, Mode::from_raw_mode(0o755)) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                let stat =
                    statat(self.dir(), name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| Error::entry(path, e))?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    return Ok(());
                }
                self.clear(name, path)?;
                mkdirat(self.dir(), name, Mode::from_raw_mode(0o755))
                    .map_err(|error| Error::entry(path, error))
            }
            Err(error) => Err(Error::entry(path, error)),
        }
    }

    fn file<R: Read>(&mut self, entry: &mut Entry<'_, R>, name: &OsStr, path: &Path) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            openat(self.dir(), name, flags, Mode::from_raw_mode(0o600)).map_err(|e| Error::entry(path, e))?;
        let expected = entry.size();
        let copied = io::copy(entry, &mut File::from(fd)).map_err(Error::tar)?;
        if copied != expected {
            return Err(Error::Truncated);
        }
        self.written += copied;
        Ok(())
    }

    fn hard_link<R: Read>(&self, entry: &Entry<'_, R>, name: &OsStr, path: &Path) -> Result<(), Error> {
        let raw = entry
            .link_name()
            .map_err(Error::tar)?
            .ok_or_else(|| Error::entry(path, Errno::INVAL))?;
        let target = clean(&raw).ok_or_else(|| Error::escapes(path))?;
        let target_name = target.file_name().ok_or_else(|| Error::escapes(path))?;
        let from = self
            .resolve(target.parent().unwrap_or(Path::new("")))
            .map_err(|e| Error::entry(path, e))?;
        linkat(&from, target_name, self.dir(), name, AtFlags::empty())
            .map_err(|error| Error::entry(path, error))
    }

    /// Owner, extended attributes, mode and time, in this order: chown clears set-user-id and capabilities.
    fn finish_entry<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        path: &Path,
        name: &OsStr,
        is_dir: bool,
    ) -> Result<(), Error> {
        if name == OsStr::new(".") {
            self.enter(Path::new(""), path)?;
        }
        let failed = |error| Error::entry(path, error);
        let header = entry.header();
        let id = |value: io::Result<u64>| value.ok().and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
        let (uid, gid) = (Uid::from_raw(id(header.uid())), Gid::from_raw(id(header.gid())));
        let mode = header.mode().map_err(Error::tar)? & 0o7777;
        let mtime = i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0);
        let is_link = header.entry_type() == EntryType::Symlink;
        chownat(self.dir(), name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        self.extended_attributes(entry, name)?;
        if !is_link {
            rustix::fs::chmodat(self.dir(), name, Mode::from_raw_mode(mode), AtFlags::empty())
                .map_err(failed)?;
        }
        if is_dir {
            self.directories.push((path.to_owned(), mtime));
            return Ok(());
        }
        set_time(self.dir(), name, mtime).map_err(failed)
    }

    /// Attributes that steer overlayfs are ours to set, never an image's; those that the file system lacks are skipped.
    fn extended_attributes<R: Read>(&self, entry: &mut Entry<'_, R>, name: &OsStr) -> Result<(), Error> {
        let Some(extensions) = entry.pax_extensions().map_err(Error::tar)? else {
            return Ok(());
        };
        for extension in extensions {
            let extension = extension.map_err(Error::tar)?;
            let Some(key) = extension
                .key()
                .ok()
                .and_then(|key| key.strip_prefix(XATTR_PREFIX))
            else {
                continue;
            };
            if key.starts_with("trusted.overlay.") || key.starts_with("user.overlay.") {
                continue;
            }
            match lsetxattr(
                self.name_of(name),
                key,
                extension.value_bytes(),
                XattrFlags::empty(),
            ) {
                Ok(()) | Err(Errno::NOTSUP | Errno::PERM | Errno::INVAL) => {}
                Err(error) => return Err(Error::entry(Path::new(name), error)),
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        for (path, mtime) in std::mem::take(&mut self.directories).into_iter().rev() {
            let fd = self.resolve(&path).map_err(|error| Error::entry(&path, error))?;
            set_time(&fd, OsStr::new("."), mtime).map_err(|error| Error::entry(&path, error))?;
        }
        Ok(())
    }
}

fn set_time(dir: impl AsFd, name: &OsStr, mtime: i64) -> Result<(), Errno> {
    let time = Timespec {
        tv_sec: mtime,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}
