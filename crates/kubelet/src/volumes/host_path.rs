//! hostPath volumes: what has to be at the path, and what is made there.

use std::fs::{self, FileType};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Checks (or makes) what `kind` asks for at `path`.
///
/// # Errors
/// Upstream's message.
pub fn check(path: &Path, kind: &str) -> Result<(), String> {
    let shown = path.display();
    let found = fs::metadata(path).ok().map(|m| m.file_type());
    let is = |test: fn(&FileType) -> bool, what: &str| match &found {
        Some(t) if test(t) => Ok(()),
        _ => Err(format!("hostPath type check failed: {shown} is not {what}")),
    };
    match kind {
        "" => Ok(()),
        "DirectoryOrCreate" if found.is_none() => {
            fs::create_dir_all(path).map_err(|e| e.to_string())?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())
        }
        "FileOrCreate" if found.is_none() => {
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true).mode(0o644);
            options.open(path).map(drop).map_err(|e| e.to_string())
        }
        "DirectoryOrCreate" | "Directory" => is(FileType::is_dir, "a directory"),
        "FileOrCreate" | "File" => is(FileType::is_file, "a file"),
        "Socket" => is(FileType::is_socket, "a socket file"),
        "CharDevice" => is(FileType::is_char_device, "a character device"),
        "BlockDevice" => is(FileType::is_block_device, "a block device"),
        other => Err(format!("{other} is an invalid volume type")),
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use std::path::Path;

    #[test]
    fn kinds() {
        assert!(check(Path::new("/does/not/exist"), "").is_ok());
        assert!(check(Path::new("/"), "Directory").is_ok());
        assert!(check(Path::new("/dev/null"), "CharDevice").is_ok());
        let err = check(Path::new("/dev/null"), "Directory").unwrap_err();
        assert_eq!(err, "hostPath type check failed: /dev/null is not a directory");
    }
}
