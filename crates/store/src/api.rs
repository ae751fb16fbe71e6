//! The store's trait and its terms, which are etcd's (`etcdserverpb`): what one engine promises, all do.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;

/// Keys are at most this long.
pub const KEY_BYTES_MAX: usize = 4096;
/// Values are at most this long (upstream's request limit is 3 MiB; etcd's 1.5 MiB default is raised by most).
pub const VALUE_BYTES_MAX: usize = 4 << 20;
/// Operations in one transaction (etcd's `--max-txn-ops`).
pub const TXN_OPS_MAX: usize = 128;

pub type Result<T> = std::result::Result<T, Error>;

/// What a store answers instead of doing it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The revision asked for is gone; `compacted` is the oldest that can still be read.
    #[error("mvcc: required revision has been compacted (oldest is {compacted})")]
    Compacted { compacted: u64 },
    #[error("mvcc: required revision is a future revision (newest is {current})")]
    FutureRevision { current: u64 },
    /// Nothing was written; reading still works, and so does writing once there is room.
    #[error(
        "no space left on the device that holds {path}: free some (at least {needed_bytes} bytes) and writes work again"
    )]
    NoSpace { path: String, needed_bytes: u64 },
    #[error("the data directory {path} is in use by another process: stop it, or choose another --data-dir")]
    Locked { path: String },
    #[error("store input/output error: {0}")]
    Io(Arc<std::io::Error>),
    /// What is on disk is not what was written.
    #[error("store data is damaged: {0}")]
    Corrupt(String),
    #[error("requested lease {0} not found")]
    LeaseNotFound(i64),
    /// A key with a zero byte, empty or too long; a value or transaction too large.
    #[error("invalid store request: {0}")]
    Invalid(&'static str),
    #[error("the store is closed")]
    Closed,
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// Something the writer attaches to a value and watchers of the same process get back, so that what the writer
/// has parsed need not be parsed again. Not stored: events read from disk or from another process have none.
pub type Tag = Arc<dyn Any + Send + Sync>;

/// A key's state at a revision.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Bytes,
    pub value: Bytes,
    /// Revision of the put that created the key.
    pub create_revision: u64,
    /// Revision of the last put.
    pub mod_revision: u64,
    /// Puts since creation, beginning with 1.
    pub version: u64,
    /// The lease that will remove the key; 0 for none.
    pub lease: i64,
}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, value) = (
            String::from_utf8_lossy(&self.key),
            String::from_utf8_lossy(&self.value),
        );
        write!(
            f,
            "{key}={value:.64} created {} modified {}",
            self.create_revision, self.mod_revision
        )?;
        write!(f, " version {} lease {}", self.version, self.lease)
    }
}

/// Keys from `start` up to, not including, `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: Bytes,
    pub end: Bytes,
}

impl Range {
    /// One key: in byte order the next possible key is this one and a zero byte.
    pub fn key(key: impl AsRef<[u8]>) -> Self {
        let key = key.as_ref();
        let mut end = Vec::with_capacity(key.len() + 1);
        end.extend_from_slice(key);
        end.push(0);
        Self {
            start: Bytes::copy_from_slice(key),
            end: end.into(),
        }
    }

    /// Every key that begins with `prefix`. The empty prefix is every key.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Self {
        let mut end = prefix.as_ref().to_vec();
        while end.last() == Some(&u8::MAX) {
            end.pop();
        }
        match end.last_mut() {
            Some(last) => *last += 1,
            None => end = vec![u8::MAX; KEY_BYTES_MAX + 1],
        }
        Self {
            start: Bytes::copy_from_slice(prefix.as_ref()),
            end: end.into(),
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.start <= key && key < self.end
    }
}

/// A read of a range at one revision.
#[derive(Clone, Debug)]
pub struct RangeRequest {
    pub range: Range,
    /// 0 for the newest.
    pub revision: u64,
    /// At most this many keys; 0 for all.
    pub limit: usize,
}

impl RangeRequest {
    pub fn new(range: Range) -> Self {
        Self {
            range,
            revision: 0,
            limit: 0,
        }
    }

    pub fn at(mut self, revision: u64) -> Self {
        self.revision = revision;
        self
    }

    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// Keys in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeResponse {
    /// The revision the answer holds for.
    pub revision: u64,
    pub kvs: Vec<KeyValue>,
    /// The limit cut something off.
    pub more: bool,
}

/// A condition of a transaction.
#[derive(Clone, Debug)]
pub enum Compare {
    /// The key's mod revision is this; 0 means that the key does not exist.
    ModRevision(Bytes, u64),
    /// The key's version is this; 0 means that the key does not exist.
    Version(Bytes, u64),
    Exists(Bytes, bool),
}

/// One operation of a transaction.
#[derive(Clone)]
pub enum Op {
    Put {
        key: Bytes,
        value: Bytes,
        lease: i64,
        tag: Option<Tag>,
    },
    Delete {
        key: Bytes,
    },
    Get {
        key: Bytes,
    },
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, key) = match self {
            Self::Put { key, .. } => ("put", key),
            Self::Delete { key } => ("delete", key),
            Self::Get { key } => ("get", key),
        };
        write!(f, "{verb} {}", String::from_utf8_lossy(key))
    }
}

impl Op {
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::Put {
            key: key.into(),
            value: value.into(),
            lease: 0,
            tag: None,
        }
    }

    pub fn delete(key: impl Into<Bytes>) -> Self {
        Self::Delete { key: key.into() }
    }

    pub fn get(key: impl Into<Bytes>) -> Self {
        Self::Get { key: key.into() }
    }
}

/// All of `success` if every comparison holds, else all of `failure`; at one revision.
/// A key may be written once.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub success: Vec<Op>,
    pub failure: Vec<Op>,
}

/// What an operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    Put,
    /// Whether the key was there.
    Deleted(bool),
    Got(Option<KeyValue>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnResponse {
    pub succeeded: bool,
    /// The revision of what it wrote; the newest revision if it wrote nothing.
    pub revision: u64,
    pub results: Vec<OpResult>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Put,
    Delete,
}

/// A change of one key. A delete's `kv` has only key and mod revision.
#[derive(Clone)]
pub struct Event {
    pub kind: EventKind,
    pub kv: KeyValue,
    /// The state before, where the watch asked for it and there was one.
    pub prev: Option<KeyValue>,
    pub tag: Option<Tag>,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} before {:?}", self.kind, self.kv, self.prev)
    }
}

/// Events in the order of their revisions; a revision is never split over two batches.
#[derive(Clone, Debug)]
pub struct EventBatch {
    /// Everything up to here has been delivered. May rise without events.
    pub revision: u64,
    pub events: Vec<Event>,
}

#[derive(Clone, Debug)]
pub struct WatchRequest {
    pub range: Range,
    /// The first revision to deliver; 0 for what comes after now.
    pub start_revision: u64,
    /// Fill in [`Event::prev`].
    pub prev: bool,
}

/// Ends after an error (`Compacted` when the reader fell too far behind) and when the store closes.
pub type WatchStream = Pin<Box<dyn Stream<Item = Result<EventBatch>> + Send>>;

/// A lease as granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: i64,
    pub ttl: Duration,
}

/// A revisioned key-value store. Every acknowledged write survives the death of process and machine.
#[async_trait]
pub trait Store: Send + Sync {
    /// The newest revision: a read from now on sees at least this.
    async fn current_revision(&self) -> Result<u64>;

    /// The oldest revision that can be read; 0 before the first compaction.
    async fn compacted_revision(&self) -> Result<u64>;

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse>;

    async fn txn(&self, txn: Txn) -> Result<TxnResponse>;

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream>;

    /// Forgets what was before `revision`, except the states that hold at it.
    async fn compact(&self, revision: u64) -> Result<()>;

    /// A new lease. The keys put with it are deleted when it ends.
    async fn lease_grant(&self, ttl: Duration) -> Result<Lease>;

    /// Begins the lease's time anew.
    async fn lease_keepalive(&self, id: i64) -> Result<Lease>;

    /// Ends the lease now.
    async fn lease_revoke(&self, id: i64) -> Result<()>;

    /// Bytes on disk; 0 when the engine cannot say.
    async fn size_bytes(&self) -> Result<u64>;

    /// Why a write would fail now, as far as can be told without writing.
    fn health(&self) -> Result<()>;
}
