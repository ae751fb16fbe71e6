//! Reading container logs: the CRI format, from the end or from a time, following as they grow and are rotated.

mod filter;
mod follow;
mod tail;

pub use filter::{Filter, Streams};
pub use follow::{Alive, send};

use jiff::Timestamp;

/// What a reader wants of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub follow: bool,
    pub timestamps: bool,
    /// The last so many lines.
    pub tail: Option<u64>,
    /// Nothing older.
    pub since: Option<Timestamp>,
    pub limit_bytes: Option<u64>,
    pub streams: Streams,
}
