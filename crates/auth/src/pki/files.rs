//! Files of the PKI directory: private, and either old or new after a crash.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::PkiError;
use crate::token::SigningKey;

pub(super) fn file_error(path: &Path, source: std::io::Error) -> PkiError {
    PkiError::File {
        path: path.to_owned(),
        source,
    }
}

pub(super) fn create_dir(dir: &Path) -> Result<(), PkiError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| file_error(dir, error))
}

/// The file's text, `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        // Not text: as unusable as any other content.
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Ok(Some(String::new())),
        Err(error) => Err(file_error(path, error)),
    }
}

/// Replaces `path` by a file of mode 0600. `durable` waits until the disk has it.
pub fn write_private(path: &Path, text: &str, durable: bool) -> Result<(), PkiError> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = write_new(&part, text, durable).and_then(|()| fs::rename(&part, path));
    let written = written.and_then(|()| match path.parent() {
        Some(dir) if durable => File::open(dir)?.sync_all(),
        _ => Ok(()),
    });
    written.map_err(|error| file_error(path, error))
}

fn write_new(path: &Path, text: &str, durable: bool) -> std::io::Result<()> {
    // A left-over of a crash may have any mode.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    if durable { file.sync_all() } else { Ok(()) }
}

/// `sa.key`, and `sa.pub` beside it for whoever verifies elsewhere.
pub(super) fn load_or_create_signing_key(dir: &Path) -> Result<SigningKey, PkiError> {
    let path = dir.join("sa.key");
    let unusable = |reason: String| PkiError::Unusable {
        path: path.clone(),
        dir: dir.to_owned(),
        reason,
    };
    if let Some(pem) = read(&path)? {
        return SigningKey::from_pem(&pem).map_err(|error| unusable(error.to_string()));
    }
    let pem = SigningKey::generate_pem().map_err(|error| unusable(error.to_string()))?;
    let key = SigningKey::from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
    write_private(&path, &pem, true)?;
    write_private(&dir.join("sa.pub"), &key.public().to_pem(), false)?;
    Ok(key)
}
