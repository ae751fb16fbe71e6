//! Images of this node: names, storage, import from files, pull from registries.
//!
//! `store.rs` holds what is there; `archive.rs` and `pull.rs` bring more in by way of `unpack.rs`.

mod archive;
mod config;
pub mod credentials;
mod hosts;
mod layers;
mod pull;
mod reference;
mod store;
mod unpack;

pub use archive::import;
pub use config::RunConfig;
pub use hosts::{ANY_REGISTRY, PullOptions};
pub use pull::pull;
pub use reference::{InvalidReference, Reference, is_digest};
pub use store::{ImageRecord, ImageStore};

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How far an import or pull is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// An image was found or resolved; it has so many layers.
    Image { name: String, layers: usize },
    /// Bytes of a layer so far, and in all.
    Layer { digest: String, done: u64, total: u64 },
    /// The layer is unpacked, or was here already.
    LayerDone { digest: String, existed: bool },
}

pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// A [`ProgressFn`] that says nothing.
pub fn quiet() -> ProgressFn {
    Arc::new(|_| {})
}

/// Why an image could not be had. Each message says what happened and, where something can be done, what.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("the archive ends too early: it was cut short while it was written or copied; save it again")]
    Truncated,
    #[error("not a readable image archive: {0}")]
    Malformed(String),
    #[error("layer refused: the path {0:?} leads out of the image's root")]
    Escapes(String),
    #[error("not supported: {0}")]
    Unsupported(String),
    #[error(
        "digest mismatch: expected {expected}, got {actual}: the content was damaged on its way; fetch it again"
    )]
    Digest { expected: String, actual: String },
    #[error(
        "image {image} is for {found}, this node is {node}: use an image built for {node} (docker pull --platform {node})"
    )]
    Platform {
        image: String,
        found: String,
        node: String,
    },
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    #[error("layer {0} was removed while the image was being added: try again")]
    LayerGone(String),
    #[error("image {0:?} not found")]
    NotFound(String),
    #[error("failed to pull and unpack image {image:?}: {message}")]
    Pull {
        image: String,
        message: String,
        kind: PullError,
    },
}

/// What sort of failure a pull met, for the caller's back-off and reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullError {
    NotFound,
    Denied,
    Unavailable,
    Other,
}

impl Error {
    pub(crate) fn io(what: impl Display, source: io::Error) -> Self {
        Error::Io {
            what: what.to_string(),
            source,
        }
    }

    pub(crate) fn entry(path: &Path, error: rustix::io::Errno) -> Self {
        Error::io(path.display(), error.into())
    }

    pub(crate) fn escapes(path: &Path) -> Self {
        Error::Escapes(path.display().to_string())
    }

    /// The tar reader's own errors carry one of ours where a digesting reader below it failed.
    pub(crate) fn tar(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::Truncated,
            io::ErrorKind::StorageFull => Error::io("unpack", error),
            _ if error.to_string().contains("unexpected EOF")
                || error.to_string().contains("failed to fill") =>
            {
                Error::Truncated
            }
            _ => Error::Malformed(error.to_string()),
        }
    }
}

/// This node's platform as images name it, e.g. `("linux", "amd64")`.
pub fn node_platform() -> (&'static str, &'static str) {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    };
    ("linux", architecture)
}
