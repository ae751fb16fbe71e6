//! The one error type of the crate.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused; `what` says what was being done.
    #[error("{what}: {source}")]
    Kernel { what: String, source: io::Error },
    /// Every address of the node's pod range is in use.
    #[error("no free address left in the node's pod range {0}")]
    PoolExhausted(ipnet::Ipv4Net),
    /// The desired state or configuration cannot be carried out.
    #[error("{0}")]
    Invalid(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn kernel(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Error::Kernel {
            what: what.into(),
            source: source.into(),
        }
    }

    /// The errno behind it, when the kernel refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Kernel { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// Says what was being done when a system call failed.
pub(crate) trait Context<T> {
    fn context(self, what: &str) -> Result<T>;
    fn with_context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: &str) -> Result<T> {
        self.map_err(|e| Error::kernel(what, e))
    }

    fn with_context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::kernel(what(), e))
    }
}
