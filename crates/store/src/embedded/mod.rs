//! The embedded engine: etcd's model on fjall.

mod ahead;
mod condition;
mod disk;
mod group;
mod layout;
mod leases;
mod ring;
mod torn;
mod upkeep;
mod watch;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use corten_stdx::{RealClock, SharedClock};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};

use self::condition::Condition;
use self::disk::Disk;
use self::leases::Leases;
use self::ring::{Recent, Ring};
use self::watch::{Watcher, blocking};
use self::writer::{WRITES_QUEUED, Write, Writer};
use crate::api::{
    Error, Lease, RangeRequest, RangeResponse, Result, Store, Txn, TxnResponse, WatchRequest, WatchStream,
};

/// How an engine is run.
#[derive(Clone, Debug)]
pub struct Options {
    pub clock: SharedClock,
    /// How long history is kept at least; `None` leaves its end to [`Store::compact`].
    pub compact_interval: Option<Duration>,
    /// Writes are refused when the file system has less than this free, so that what was accepted can be finished.
    pub free_bytes_min: u64,
}

/// kube-apiserver's `--etcd-compaction-interval`.
const COMPACT_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Room for one journal.
const FREE_BYTES_MIN: u64 = 64 << 20;

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: RealClock::shared(),
            compact_interval: Some(COMPACT_INTERVAL),
            free_bytes_min: FREE_BYTES_MIN,
        }
    }
}

/// What the engine, its writer thread, its watchers and its upkeep share.
struct Shared {
    disk: Disk,
    clock: SharedClock,
    free_bytes_min: u64,
    ring: RwLock<Ring>,
    /// The newest revision on disk. The engine holds the only long-lived sender: when it closes, watches end.
    revision: Mutex<Option<tokio::sync::watch::Sender<u64>>>,
    revisions: tokio::sync::watch::Receiver<u64>,
    /// When the first lease ends, nanoseconds since 1970.
    next_lease_end: tokio::sync::watch::Sender<Option<u64>>,
    compacting: tokio::sync::Mutex<()>,
    condition: Condition,
}

impl Shared {
    fn revision(&self) -> u64 {
        *self.revisions.borrow()
    }

    /// Shows a durable group to watchers and readers.
    fn publish(&self, recents: Vec<Recent>, revision: u64) {
        let mut ring = self.ring.write();
        recents.into_iter().for_each(|recent| ring.push(recent));
        ring.trim();
        drop(ring);
        if let Some(sender) = self.revision.lock().as_ref() {
            sender.send_replace(revision);
        }
    }

    fn check_room(&self) -> Result<()> {
        match disk::free_bytes(&self.disk.path)? {
            free if free >= self.free_bytes_min => Ok(()),
            free => Err(disk::no_space(&self.disk.path, self.free_bytes_min - free)),
        }
    }
}

/// An open data directory. Dropping it closes it after the writes that wait.
pub struct Engine {
    shared: Arc<Shared>,
    writes: Option<mpsc::Sender<Write>>,
    writer: Option<JoinHandle<()>>,
    upkeep: Vec<tokio::task::JoinHandle<()>>,
}

impl Engine {
    /// Opens or creates the data directory; needs a tokio runtime. Only one process can have it open.
    pub async fn open(path: impl Into<PathBuf>, options: Options) -> Result<Self> {
        let path = path.into();
        let (disk, index, leases) = blocking(move || load(path)).await?;
        // Revision 1 is the empty store, as in etcd: 0 means "any" to clients.
        let revision = disk.last_logged()?.max(disk.compacted()).max(1);
        let (sender, revisions) = tokio::sync::watch::channel(revision);
        let shared = Arc::new(Shared {
            disk,
            clock: options.clock,
            free_bytes_min: options.free_bytes_min,
            ring: RwLock::new(Ring::after(revision)),
            revision: Mutex::new(Some(sender)),
            revisions,
            next_lease_end: tokio::sync::watch::Sender::new(leases.first_end().map(|(end, _)| end)),
            compacting: tokio::sync::Mutex::default(),
            condition: Condition::default(),
        });
        let (writes, queue) = WRITES_QUEUED.channel();
        let writer = Writer {
            shared: Arc::clone(&shared),
            index,
            leases,
        };
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let writer = thread.spawn(move || writer.run(queue))?;
        let expire = upkeep::expire_leases(Arc::downgrade(&shared), writes.downgrade());
        let give_back = upkeep::give_back(Arc::downgrade(&shared));
        let mut tasks = vec![tokio::spawn(expire), tokio::spawn(give_back)];
        if let Some(interval) = options.compact_interval {
            tasks.push(tokio::spawn(upkeep::compact_regularly(
                Arc::downgrade(&shared),
                interval,
            )));
        }
        Ok(Self {
            shared,
            writes: Some(writes),
            writer: Some(writer),
            upkeep: tasks,
        })
    }

    /// Writes that wait for the writer now.
    pub fn queued_writes(&self) -> usize {
        self.writes
            .as_ref()
            .map_or(0, |writes| writes.max_capacity() - writes.capacity())
    }

    async fn ask<T>(&self, write: impl FnOnce(oneshot::Sender<Result<T>>) -> Write) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let writes = self.writes.as_ref().ok_or(Error::Closed)?;
        writes.send(write(reply)).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.upkeep.iter().for_each(tokio::task::JoinHandle::abort);
        self.writes = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer thread panicked");
        }
        self.shared.revision.lock().take();
    }
}

/// Opens the database and reads where every key stands.
fn load(path: PathBuf) -> Result<(Disk, group::Index, Leases)> {
    let disk = Disk::open(&path)?;
    let mut leases = Leases::load(&disk)?;
    let mut index = group::Index::default();
    disk.scan_current(|key, meta| {
        if meta.lease != 0 {
            leases.attach(meta.lease, Bytes::copy_from_slice(key));
        }
        index.insert(key, meta);
    })?;
    Ok((disk, index, leases))
}

#[async_trait]
impl Store for Engine {
    async fn current_revision(&self) -> Result<u64> {
        Ok(self.shared.revision())
    }

    async fn compacted_revision(&self) -> Result<u64> {
        Ok(self.shared.disk.compacted())
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse> {
        let current = self.shared.revision();
        let revision = if request.revision == 0 {
            current
        } else {
            request.revision
        };
        if revision > current {
            return Err(Error::FutureRevision { current });
        }
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.disk.range(&request, revision)).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        self.ask(|reply| Write::Txn(txn, reply)).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream> {
        Watcher::stream(Arc::clone(&self.shared), self.shared.revisions.clone(), request)
    }

    async fn compact(&self, revision: u64) -> Result<()> {
        upkeep::compact(&self.shared, revision).await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease> {
        self.ask(|reply| Write::Grant(ttl, reply)).await
    }

    async fn lease_keepalive(&self, id: i64) -> Result<Lease> {
        self.ask(|reply| Write::KeepAlive(id, reply)).await
    }

    async fn lease_revoke(&self, id: i64) -> Result<()> {
        while !self.ask(|reply| Write::Revoke(id, reply)).await? {}
        Ok(())
    }

    fn health(&self) -> Result<()> {
        if self.writes.as_ref().is_none_or(mpsc::Sender::is_closed) {
            return Err(Error::Closed);
        }
        // Asked anew, so that room that is made shows without a write.
        self.shared.check_room()?;
        match self.shared.condition.check(self.shared.clock.monotonic()) {
            Err(Error::NoSpace { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    async fn size_bytes(&self) -> Result<u64> {
        self.shared
            .disk
            .db
            .disk_space()
            .map_err(|error| self.shared.disk.error(error))
    }
}
