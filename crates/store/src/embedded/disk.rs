//! The database below, and everything that reads it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use fjall::config::{BlockSizePolicy, CompressionPolicy, PartitioningPolicy};
use fjall::{
    AbstractTree, CompressionType, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode,
};
use parking_lot::Mutex;

use super::ahead::Ahead;
use super::layout::{self, Change, Meta};
use crate::api::{Error, Event, EventKind, KeyValue, RangeRequest, RangeResponse, Result};

/// Decoded blocks kept for reading. Small: the watch cache above holds what is read often.
const BLOCK_CACHE_BYTES: u64 = 4 << 20;
/// States gathered in memory before they are sealed, to be written as a sorted table. fjall would seal them at the same
/// bounds, but only asks its worker to: once for each commit, in a queue of 1,000 that the worker itself has to put the next
/// step into. A worker that is busy for 1,000 commits would wait for itself for ever, and every writer for it. So whoever
/// commits seals what is full at once ([`Disk::after_commit`]); at four sealed ones fjall lets writers wait, so that all of it
/// stays under five times this and a group.
const KV_MEMTABLE_BYTES: u64 = 8 << 20;
const SMALL_MEMTABLE_BYTES: u64 = 1 << 20;
/// Of its bound, what a memtable must have for a table of its own when nothing much is written any more.
const QUIET_MEMTABLE_PART: u64 = 8;
/// The least fjall allows.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
/// What writing tables in the background needs at a time.
const BACKGROUND_BYTES: u64 = 16 << 20;
const OPEN_FILES_MAX: usize = 64;
/// What a row of a batch takes in the journal beside its key and value, about.
const JOURNAL_ROW_BYTES: usize = 32;
const WORKER_THREADS: usize = 1;

/// The keyspaces of one data directory. Cheap to clone.
#[derive(Clone)]
pub(super) struct Disk {
    pub db: Database,
    pub kv: Keyspace,
    pub log: Keyspace,
    pub leases: Keyspace,
    pub meta: Keyspace,
    pub path: PathBuf,
    /// Oldest readable revision; read again after an iterator exists, because compaction raises it before it deletes.
    compacted: Arc<AtomicU64>,
    /// Held by whoever writes to the journal.
    ahead: Arc<Mutex<Ahead>>,
}

pub(super) fn fjall_error(path: &Path, error: fjall::Error) -> Error {
    match error {
        fjall::Error::Locked => Error::Locked {
            path: path.display().to_string(),
        },
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            if error.kind() == std::io::ErrorKind::StorageFull {
                return no_space(path, BACKGROUND_BYTES);
            }
            Error::from(error)
        }
        // A write in the background failed earlier; nearly always because the disk was full, and is.
        fjall::Error::Poisoned => match free_bytes(path) {
            Ok(free) if free < BACKGROUND_BYTES => no_space(path, BACKGROUND_BYTES - free),
            _ => Error::from(std::io::Error::other(
                "an earlier write failed: restart to write again",
            )),
        },
        other => Error::Corrupt(format!("{other:?}")),
    }
}

/// The first two levels are rewritten while the cluster is busiest, and small: compressing them took a seventh of all
/// processor time while 10,000 pods were made. The same goes for the journal.
fn compression() -> CompressionPolicy {
    CompressionPolicy::new([CompressionType::None, CompressionType::None, CompressionType::Lz4])
}

/// Bytes the file system has left for us.
pub(super) fn free_bytes(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(path).map_err(std::io::Error::from)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

pub(super) fn no_space(path: &Path, needed_bytes: u64) -> Error {
    Error::NoSpace {
        path: path.display().to_string(),
        needed_bytes,
    }
}

impl Disk {
    pub fn open(path: &Path) -> Result<Self> {
        let wrap = |error| fjall_error(path, error);
        std::fs::create_dir_all(path)?;
        let open = || {
            Database::builder(path)
                .cache_size(BLOCK_CACHE_BYTES)
                .max_journaling_size(JOURNAL_BYTES_MAX)
                .max_cached_files(Some(OPEN_FILES_MAX))
                .worker_threads(WORKER_THREADS)
                .manual_journal_persist(true)
                .journal_compression(CompressionType::None)
                .open()
        };
        let db = match open() {
            Err(fjall::Error::JournalRecovery(_)) if super::torn::cut(path)? => open(),
            outcome => outcome,
        };
        let db = db.map_err(wrap)?;
        let small = || KeyspaceCreateOptions::default().max_memtable_size(SMALL_MEMTABLE_BYTES);
        let kv = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(KV_MEMTABLE_BYTES)
                .data_block_size_policy(BlockSizePolicy::all(16 << 10))
                .data_block_compression_policy(compression())
                // Whoever writes a table holds a key of each of its blocks until their index is written, and with the
                // key the whole block as it was read: all of the table, not compressed. Of an index in parts that is
                // one part at a time.
                .index_block_partitioning_policy(PartitioningPolicy::all(true))
        };
        let disk = Self {
            kv: db.keyspace("kv", kv).map_err(wrap)?,
            log: db.keyspace("log", small).map_err(wrap)?,
            leases: db.keyspace("leases", small).map_err(wrap)?,
            meta: db.keyspace("meta", small).map_err(wrap)?,
            db,
            path: path.to_owned(),
            compacted: Arc::default(),
            ahead: Arc::default(),
        };
        disk.check_format()?;
        disk.compacted
            .store(disk.stored_number(layout::COMPACTED)?, Ordering::Release);
        Ok(disk)
    }

    fn check_format(&self) -> Result<()> {
        match self.meta.get(layout::FORMAT).map_err(|error| self.error(error))? {
            Some(version) if *version == *layout::FORMAT_VERSION => Ok(()),
            Some(_) => Err(Error::Corrupt(
                "the data directory has the format of a newer version".to_owned(),
            )),
            None => {
                let mut batch = self.db.batch();
                batch.insert(&self.meta, layout::FORMAT, layout::FORMAT_VERSION);
                self.commit(batch, layout::FORMAT_VERSION.len(), PersistMode::SyncAll)
            }
        }
    }

    /// Writes a batch of about `bytes`. Whatever its mode, nothing of it stays in fjall's buffer, which fjall's worker would
    /// write to the journal at any time: see [`super::ahead`].
    pub fn commit(&self, batch: OwnedWriteBatch, bytes: usize, mode: PersistMode) -> Result<()> {
        let rows = batch.len() * JOURNAL_ROW_BYTES;
        let mut ahead = self.ahead.lock();
        let outcome = batch.durability(Some(mode)).commit();
        ahead.written(bytes + rows);
        outcome.map_err(|error| self.error(error))
    }

    /// What belongs after every commit, when whoever waits for it has been answered: seals what has reached its bound in
    /// memory, and prepares the journal.
    pub fn after_commit(&self) {
        self.seal_memtables(|bound| bound);
        if let Err(error) = self.ahead.lock().extend(&self.path) {
            tracing::debug!(%error, "nothing was written ahead to the journal");
        }
    }

    /// Seals what is worth a table of its own, so that its memory is given back.
    pub fn seal_quiet_memtables(&self) {
        self.seal_memtables(|bound| bound / QUIET_MEMTABLE_PART);
    }

    fn seal_memtables(&self, least: impl Fn(u64) -> u64) {
        let small = [&self.log, &self.leases, &self.meta].map(|keyspace| (keyspace, SMALL_MEMTABLE_BYTES));
        for (keyspace, bound) in [(&self.kv, KV_MEMTABLE_BYTES)].into_iter().chain(small) {
            if keyspace.tree.active_memtable().size() >= least(bound)
                && let Err(error) = keyspace.rotate_memtable()
            {
                // What is wrong with the database, the next write is told.
                tracing::warn!(?error, "a memtable cannot be sealed");
            }
        }
    }

    fn stored_number(&self, name: &[u8]) -> Result<u64> {
        match self.meta.get(name).map_err(|error| self.error(error))? {
            Some(bytes) => layout::number(&bytes),
            None => Ok(0),
        }
    }

    pub fn error(&self, error: fjall::Error) -> Error {
        fjall_error(&self.path, error)
    }

    pub fn compacted(&self) -> u64 {
        self.compacted.load(Ordering::Acquire)
    }

    /// Makes `revision` the oldest readable one, durably, before anything is removed.
    pub fn set_compacted(&self, revision: u64) -> Result<()> {
        let mut batch = self.db.batch();
        batch.insert(&self.meta, layout::COMPACTED, revision.to_be_bytes());
        self.commit(batch, size_of_val(&revision), PersistMode::SyncData)?;
        self.compacted.fetch_max(revision, Ordering::AcqRel);
        Ok(())
    }

    /// The newest revision in the log.
    pub fn last_logged(&self) -> Result<u64> {
        match self.log.last_key_value() {
            Some(guard) => layout::number(&guard.key().map_err(|error| self.error(error))?),
            None => Ok(0),
        }
    }

    /// Calls `visit` with the newest state of every key, value included.
    pub fn scan_current(&self, mut visit: impl FnMut(&[u8], Meta)) -> Result<()> {
        let mut last: Option<(Bytes, Option<Meta>)> = None;
        for guard in self.kv.iter() {
            let (row_key, row) = guard.into_inner().map_err(|error| self.error(error))?;
            let (key, revision) = layout::split_row_key(&row_key)?;
            let meta = layout::decode_row(revision, &row)?.map(|(meta, _)| meta);
            match &mut last {
                Some((previous, state)) if **previous == *key => *state = meta,
                _ => {
                    if let Some((previous, Some(meta))) = last.replace((Bytes::copy_from_slice(key), meta)) {
                        visit(&previous, meta);
                    }
                }
            }
        }
        if let Some((previous, Some(meta))) = last {
            visit(&previous, meta);
        }
        Ok(())
    }

    /// The range at a revision that is not in the future.
    pub fn range(&self, request: &RangeRequest, revision: u64) -> Result<RangeResponse> {
        let (start, end) = (
            layout::row_bound(&request.range.start),
            layout::row_bound(&request.range.end),
        );
        let mut answer = RangeResponse {
            revision,
            kvs: Vec::new(),
            more: false,
        };
        if start >= end {
            return Ok(answer);
        }
        let rows = self.kv.range(start..end);
        self.check_readable(revision)?;
        let mut last: Option<(fjall::UserKey, fjall::UserValue)> = None;
        for guard in rows {
            let (row_key, row) = guard.into_inner().map_err(|error| self.error(error))?;
            let (key, row_revision) = layout::split_row_key(&row_key)?;
            if row_revision > revision {
                continue;
            }
            if let Some(previous) = last.as_ref()
                && layout::split_row_key(&previous.0)?.0 != key
            {
                push_state(&mut answer.kvs, previous)?;
                if request.limit != 0 && answer.kvs.len() > request.limit {
                    last = None;
                    break;
                }
            }
            last = Some((row_key, row));
        }
        if let Some(last) = last {
            push_state(&mut answer.kvs, &last)?;
        }
        if request.limit != 0 && answer.kvs.len() > request.limit {
            answer.kvs.truncate(request.limit);
            answer.more = true;
        }
        Ok(answer)
    }

    fn check_readable(&self, revision: u64) -> Result<()> {
        let compacted = self.compacted();
        if revision < compacted {
            Err(Error::Compacted { compacted })
        } else {
            Ok(())
        }
    }

    /// The state a key got at exactly this revision.
    pub fn state(&self, key: &[u8], revision: u64) -> Result<Option<KeyValue>> {
        let row_key = layout::row_key(key, revision);
        let Some(row) = self.kv.get(row_key).map_err(|error| self.error(error))? else {
            return Ok(None);
        };
        Ok(layout::decode_row(revision, &row)?.map(|(meta, value)| layout::key_value(key, &meta, value)))
    }

    /// The changes of a revision and all later ones, in order.
    pub fn log_from(&self, revision: u64) -> impl Iterator<Item = Result<(u64, Vec<Change>)>> {
        self.log.range(revision.to_be_bytes()..).map(|guard| {
            let (key, row) = guard.into_inner().map_err(|error| self.error(error))?;
            Ok((layout::number(&key)?, layout::decode_log_row(&row)?))
        })
    }

    /// The event a log entry stands for. The caller checks compaction afterwards.
    pub fn event(&self, revision: u64, change: Change) -> Result<Event> {
        let kv = match change.kind {
            EventKind::Put => {
                let state = self.state(&change.key, revision)?;
                state.ok_or_else(|| Error::Corrupt(format!("no state for revision {revision}")))?
            }
            EventKind::Delete => deleted(change.key, revision),
        };
        Ok(Event {
            kind: change.kind,
            kv,
            prev: None,
            tag: None,
        })
    }
}

/// What a delete event says of its key.
pub(super) fn deleted(key: Bytes, revision: u64) -> KeyValue {
    KeyValue {
        key,
        value: Bytes::new(),
        create_revision: 0,
        mod_revision: revision,
        version: 0,
        lease: 0,
    }
}

fn push_state(kvs: &mut Vec<KeyValue>, row: &(fjall::UserKey, fjall::UserValue)) -> Result<()> {
    let (key, revision) = layout::split_row_key(&row.0)?;
    if let Some((meta, value)) = layout::decode_row(revision, &row.1)? {
        kvs.push(layout::key_value(key, &meta, value));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Engine, Options};
    use super::*;
    use crate::api::{Op, Store, Txn};

    /// Writers are faster than what makes tables of their writes: then they wait, not the memory grows.
    #[tokio::test(flavor = "multi_thread")]
    async fn memory_of_writes_is_bounded() {
        const VALUE_BYTES: usize = 256 << 10;
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), Options::default()).await.unwrap();
        let disk = engine.shared.disk.clone();
        let mut seed = 1_u64;
        // Nothing that compression makes short.
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed as u8
        })
        .take(VALUE_BYTES)
        .collect();
        let (mut most, mut active) = (0, 0);
        for round in 0..40_usize {
            let put = |n: usize| {
                let (end, begin) = noise.split_at(round * 64 + n);
                let op = Op::Put {
                    key: format!("/k/{:03}", (n * 37 + round * 11) % 1000).into(),
                    value: [begin, end].concat().into(),
                    lease: 0,
                    tag: None,
                };
                engine.txn(Txn {
                    compares: Vec::new(),
                    success: vec![op],
                    failure: Vec::new(),
                })
            };
            for outcome in futures::future::join_all((0..64).map(put)).await {
                outcome.unwrap();
            }
            active = active.max(disk.kv.tree.active_memtable().size());
            most = most.max(disk.db.write_buffer_size());
        }
        let group = u64::try_from(super::super::writer::GROUP_BYTES_MAX).unwrap() + (1 << 20);
        assert!(active <= KV_MEMTABLE_BYTES + group, "{active} bytes");
        assert!(most <= 5 * (KV_MEMTABLE_BYTES + group), "{most} bytes");
    }

    /// Puts as many values of 64 KiB, one after another.
    async fn put_values(engine: &Engine, values: usize) {
        for n in 0..values {
            let op = Op::Put {
                key: format!("/k/{n}").into(),
                value: vec![b'x'; 64 << 10].into(),
                lease: 0,
                tag: None,
            };
            let txn = Txn {
                success: vec![op],
                ..Txn::default()
            };
            engine.txn(txn).await.unwrap();
        }
    }

    /// fjall's worker is never flooded with requests to seal: it would wait for room in its own queue.
    #[test]
    fn a_busy_worker_finishes() {
        // More than its queue holds.
        const COMMITS: u64 = 1_200;
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        let commit = |key: u64, bytes: u64| {
            let mut batch = disk.db.batch();
            let row_bytes = usize::try_from(bytes).unwrap();
            batch.insert(&disk.leases, key.to_be_bytes(), vec![0; row_bytes]);
            disk.commit(batch, row_bytes, PersistMode::Buffer).unwrap();
            disk.after_commit();
        };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let until = |reached: &dyn Fn() -> bool| {
            while !reached() && std::time::Instant::now() < deadline {
                std::thread::yield_now();
            }
            reached()
        };
        let busy = disk.leases.tree.get_flush_lock();
        commit(0, SMALL_MEMTABLE_BYTES);
        assert!(until(&|| disk.leases.sealed_memtable_count() == 1));
        commit(1, SMALL_MEMTABLE_BYTES);
        (2..COMMITS).for_each(|key| commit(key, 1));
        let written = std::sync::atomic::AtomicBool::new(false);
        let finished = std::thread::scope(|scope| {
            // Takes each place in the queue that the worker makes before the worker can.
            scope.spawn(|| {
                while !written.load(Ordering::Relaxed) {
                    commit(COMMITS, 1);
                }
            });
            drop(busy);
            let finished = until(&|| disk.leases.table_count() == 2);
            written.store(true, Ordering::Relaxed);
            finished
        });
        assert!(finished, "the worker waits for itself");
    }

    /// What a load leaves in memory is given back when it is over, and read from the tables.
    #[tokio::test(flavor = "multi_thread")]
    async fn quiet_memtables_are_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let clock = corten_stdx::ManualClock::at(std::time::SystemTime::UNIX_EPOCH);
        let options = Options {
            clock: clock.clone(),
            ..Options::default()
        };
        let engine = Engine::open(dir.path(), options).await.unwrap();
        put_values(&engine, 40).await;
        let disk = engine.shared.disk.clone();
        assert!(disk.kv.tree.active_memtable().size() > KV_MEMTABLE_BYTES / QUIET_MEMTABLE_PART);
        while disk.kv.tree.active_memtable().size() > 0 || disk.kv.sealed_memtable_count() > 0 {
            clock.advance(std::time::Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        let all = RangeRequest::new(crate::api::Range::prefix("/k/"));
        assert_eq!(engine.range(all).await.unwrap().kvs.len(), 40);
    }

    /// Anonymous memory of this process, in bytes.
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib << 10
    }

    /// Tables that are merged are not held, however much shorter they are on disk than they were.
    #[tokio::test(flavor = "multi_thread")]
    async fn memory_of_merges_is_bounded() {
        const VALUES: usize = 6144;
        const MOST: u64 = 300 << 20;
        let dir = tempfile::tempdir().unwrap();
        let before = resident();
        let engine = Engine::open(dir.path(), Options::default()).await.unwrap();
        let disk = engine.shared.disk.clone();
        let mut most = 0;
        for round in 0..VALUES / 64 {
            let put = |n: usize| Op::Put {
                key: format!(
                    "/registry/configmaps/default/m{:05}",
                    (round * 64 + n) * 7919 % VALUES
                )
                .into(),
                value: vec![b'x'; 100_000].into(),
                lease: 0,
                tag: None,
            };
            let txn = |n| Txn {
                compares: Vec::new(),
                success: vec![put(n)],
                failure: Vec::new(),
            };
            let puts = (0..64).map(|n| engine.txn(txn(n)));
            for outcome in futures::future::join_all(puts).await {
                outcome.unwrap();
            }
            most = most.max(resident() - before);
        }
        // One more, of everything; this thread looks on.
        let kv = disk.kv.clone();
        let merge = std::thread::spawn(move || kv.major_compact());
        while !merge.is_finished() {
            most = most.max(resident().saturating_sub(before));
            std::thread::yield_now();
        }
        merge.join().unwrap().unwrap();
        assert!(most < MOST, "{most} bytes");
    }
}
