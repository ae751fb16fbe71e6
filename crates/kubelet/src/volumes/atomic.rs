//! Puts files into a directory so that readers see all of the old or all of the new: upstream's layout, where each
//! visible name is a link through `..data` to a directory named after the time it was written.

use super::payload::Payload;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::Path;

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes `dir` show exactly `files`. `group` (fsGroup) may read them too. Says whether anything changed.
///
/// # Errors
/// When the disk does; the old content is then still in place.
pub fn write(dir: &Path, files: &Payload, group: Option<u32>, now: Timestamp) -> io::Result<bool> {
    let old = fs::read_link(dir.join(DATA)).ok();
    if let Some(old) = &old
        && same(&dir.join(old), files)
        && links_complete(dir, files)
    {
        return Ok(false);
    }
    let name = now.strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string();
    let fresh = dir.join(&name);
    fs::create_dir(&fresh)?;
    set_mode(&fresh, 0o755)?;
    for (path, file) in files {
        let target = fresh.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        let mode = if group.is_some() {
            file.mode | 0o440
        } else {
            file.mode
        };
        let mut out = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&target)?;
        io::Write::write_all(&mut out, &file.data)?;
        set_mode(&target, mode)?;
        if file.owner.is_some() || group.is_some() {
            chown(&target, file.owner, group)?;
        }
    }
    if let Some(group) = group {
        own_directories(&fresh, group)?;
    }
    let link = dir.join(DATA_NEW);
    remove_if_there(&link)?;
    symlink(&name, &link)?;
    fs::rename(&link, dir.join(DATA))?;
    publish(dir, files)?;
    if let Some(old) = old {
        fs::remove_dir_all(dir.join(old)).or_else(absent_is_fine)?;
    }
    Ok(true)
}

fn own_directories(dir: &Path, group: u32) -> io::Result<()> {
    chown(dir, None, Some(group))?;
    set_mode(dir, 0o2755)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            own_directories(&entry.path(), group)?;
        }
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn absent_is_fine(e: io::Error) -> io::Result<()> {
    if e.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(e)
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(absent_is_fine)
}

/// Names at the top of the volume.
fn top_names(files: &Payload) -> BTreeSet<&str> {
    files.keys().map(|p| p.split('/').next().unwrap_or(p)).collect()
}

fn visible(dir: &Path) -> io::Result<BTreeSet<String>> {
    let names = fs::read_dir(dir)?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned()));
    let names: io::Result<Vec<String>> = names.collect();
    Ok(names?.into_iter().filter(|n| !n.starts_with("..")).collect())
}

fn links_complete(dir: &Path, files: &Payload) -> bool {
    visible(dir).is_ok_and(|v| v.iter().map(String::as_str).collect::<BTreeSet<_>>() == top_names(files))
}

fn publish(dir: &Path, files: &Payload) -> io::Result<()> {
    let wanted = top_names(files);
    for name in &wanted {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    for name in visible(dir)?.iter().filter(|n| !wanted.contains(n.as_str())) {
        remove_if_there(&dir.join(name))?;
    }
    Ok(())
}

fn same(dir: &Path, files: &Payload) -> bool {
    fn count(dir: &Path) -> io::Result<usize> {
        let mut n = 0;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            n += if entry.file_type()?.is_dir() {
                count(&entry.path())?
            } else {
                1
            };
        }
        Ok(n)
    }
    count(dir).is_ok_and(|n| n == files.len())
        && files.iter().all(|(path, file)| {
            let path = dir.join(path);
            fs::read(&path).is_ok_and(|d| d == file.data)
                && fs::metadata(&path)
                    .is_ok_and(|m| m.permissions().mode() & 0o777 & file.mode == file.mode & 0o777)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volumes::payload::File;

    fn file(data: &str) -> File {
        File {
            data: data.as_bytes().to_vec(),
            mode: 0o644,
            owner: None,
        }
    }

    #[test]
    fn swaps_whole_directories() {
        let dir = std::env::temp_dir().join(format!("corten-atomic-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let at = |s| Timestamp::new(s, 5).unwrap();
        let mut files: Payload = [("a".to_owned(), file("1")), ("sub/b".to_owned(), file("2"))].into();
        assert!(write(&dir, &files, None, at(1)).unwrap());
        assert!(
            !write(&dir, &files, None, at(2)).unwrap(),
            "unchanged files are left alone"
        );
        assert_eq!(fs::read_to_string(dir.join("sub/b")).unwrap(), "2");
        assert_eq!(fs::read_link(dir.join("a")).unwrap(), Path::new("..data/a"));
        files.remove("a");
        files.insert("c".into(), file("3"));
        assert!(write(&dir, &files, None, at(3)).unwrap());
        assert_eq!(
            visible(&dir).unwrap().into_iter().collect::<Vec<_>>(),
            ["c", "sub"]
        );
        assert_eq!(
            fs::read_dir(&dir).unwrap().count(),
            4,
            "links, ..data and one directory"
        );
        fs::remove_dir_all(&dir).unwrap();
    }
}
