//! Layers on disk: each unpacked once, under the digest of its uncompressed tar, in a directory that appears whole.

use super::{Error, unpack};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Windows larger than the zstd default are refused: they are an attack on memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Passes bytes through and digests them.
pub(crate) struct Digesting<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Digesting<R> {
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
        }
    }

    /// Reads what is left (padding after a tar's end is part of its digest) and returns `sha256:...`.
    pub fn finish(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(digest_text(self.hasher))
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

fn digest_text(hasher: Sha256) -> String {
    let mut text = String::from("sha256:");
    for byte in hasher.finalize() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// `sha256:...` of some bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(bytes);
    digest_text(hasher)
}

/// The stream uncompressed, whatever it was: told by its first bytes, because media types lie.
pub(crate) fn decompress<'a>(stream: impl Read + 'a) -> Result<Box<dyn Read + 'a>, Error> {
    let mut stream = BufReader::with_capacity(128 << 10, stream);
    let head = stream.fill_buf().map_err(Error::tar)?;
    if head.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(stream)));
    }
    if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::Decoder::with_buffer(stream).map_err(Error::tar)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(Error::tar)?;
        return Ok(Box::new(decoder));
    }
    if head.starts_with(b"BZh") || head.starts_with(&[0xfd, b'7', b'z', b'X', b'Z']) {
        return Err(Error::Unsupported(
            "bzip2 and xz compression; use gzip, zstd or none".into(),
        ));
    }
    Ok(Box::new(stream))
}

/// Where a layer is, or would be.
pub(crate) fn layer_dir(images: &Path, diff_id: &str) -> PathBuf {
    images.join("layers").join(diff_id.trim_start_matches("sha256:"))
}

/// A layer that has been unpacked beside its final place.
pub(crate) struct Unpacked {
    pub diff_id: String,
    dir: tempfile::TempDir,
}

/// Unpacks a layer stream (compressed or not) under `images/tmp` and checks it against `diff_id`.
pub(crate) fn unpack_layer(images: &Path, stream: impl Read, diff_id: &str) -> Result<Unpacked, Error> {
    let tmp = images.join("tmp");
    let dir = tempfile::Builder::new()
        .prefix("layer-")
        .tempdir_in(&tmp)
        .map_err(|error| Error::io(format!("create a directory in {}", tmp.display()), error))?;
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(|error| Error::io(dir.path().display(), error))?;
    let mut digesting = Digesting::new(decompress(stream)?);
    unpack::unpack(&mut digesting, dir.path())?;
    let actual = digesting.finish().map_err(Error::tar)?;
    if actual != diff_id {
        return Err(Error::Digest {
            expected: diff_id.to_owned(),
            actual,
        });
    }
    Ok(Unpacked { diff_id: actual, dir })
}

/// Makes unpacked layers durable with one sync, then gives them their names. A layer that has come to be in the
/// meantime is kept as it is.
pub(crate) fn publish(images: &Path, unpacked: Vec<Unpacked>) -> Result<(), Error> {
    if unpacked.is_empty() {
        return Ok(());
    }
    let failed = |error: io::Error| Error::io("write the image's layers", error);
    let root = File::open(images).map_err(failed)?;
    rustix::fs::syncfs(&root).map_err(|error| failed(error.into()))?;
    for layer in unpacked {
        let target = layer_dir(images, &layer.diff_id);
        match fs::rename(layer.dir.path(), &target) {
            Ok(()) => drop(layer.dir.keep()),
            Err(_) if target.is_dir() => {}
            Err(error) => return Err(failed(error)),
        }
    }
    File::open(images.join("layers"))
        .and_then(|dir| dir.sync_all())
        .map_err(failed)
}
