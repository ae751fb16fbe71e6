//! One group of writes: evaluated in order against what is committed plus what the group did before, written as one
//! batch, then published. Until the batch is on disk nothing of it shows anywhere.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

use super::disk::{Disk, deleted};
use super::layout::{self, Change, Meta};
use super::ring::Recent;
use crate::api::{
    Compare, Error, Event, EventKind, KeyValue, Op, OpResult, Result, TXN_OPS_MAX, Txn, TxnResponse,
    VALUE_BYTES_MAX,
};

/// Where every existing key stands, without values. Belongs to the writer alone. It does not hold the keys but 128 bits
/// made of each with numbers of this process, which nobody can choose keys against: a key is longer than all we know of it.
#[derive(Default)]
pub(super) struct Index {
    metas: HashMap<u128, Meta>,
    hashers: [RandomState; 2],
}

impl Index {
    fn digest(&self, key: &[u8]) -> u128 {
        let [high, low] = [0, 1].map(|at: usize| u128::from(self.hashers[at].hash_one(key)));
        high << 64 | low
    }

    pub fn get(&self, key: &[u8]) -> Option<Meta> {
        self.metas.get(&self.digest(key)).copied()
    }

    /// What was there before.
    pub fn insert(&mut self, key: &[u8], meta: Meta) -> Option<Meta> {
        self.metas.insert(self.digest(key), meta)
    }

    /// What was there.
    pub fn remove(&mut self, key: &[u8]) -> Option<Meta> {
        self.metas.remove(&self.digest(key))
    }
}

/// A key's state inside the group; `None` when the group deleted it.
type Pending = Option<(Meta, Bytes)>;

pub(super) struct Group<'a> {
    disk: &'a Disk,
    index: &'a Index,
    batch: fjall::OwnedWriteBatch,
    pending: HashMap<Bytes, Pending>,
    /// What watchers will see.
    pub recents: Vec<Recent>,
    /// Newest revision, the group's included.
    pub revision: u64,
    bytes: usize,
}

impl<'a> Group<'a> {
    pub fn new(disk: &'a Disk, index: &'a Index, revision: u64) -> Self {
        Self {
            batch: disk.db.batch(),
            disk,
            index,
            pending: HashMap::new(),
            recents: Vec::new(),
            revision,
            bytes: 0,
        }
    }

    /// Bytes to write so far, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn batch(&mut self) -> &mut fjall::OwnedWriteBatch {
        &mut self.batch
    }

    fn meta(&self, key: &[u8]) -> Option<Meta> {
        match self.pending.get(key) {
            Some(pending) => pending.as_ref().map(|(meta, _)| *meta),
            None => self.index.get(key),
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        match compare {
            Compare::ModRevision(key, revision) => {
                self.meta(key).map_or(0, |meta| meta.mod_revision) == *revision
            }
            Compare::Version(key, version) => self.meta(key).map_or(0, |meta| meta.version) == *version,
            Compare::Exists(key, exists) => self.meta(key).is_some() == *exists,
        }
    }

    /// Adds a transaction. An error leaves the group as it was.
    pub fn txn(&mut self, txn: Txn, lease_exists: impl Fn(i64) -> bool) -> Result<TxnResponse> {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { txn.success } else { txn.failure };
        check_ops(&ops, lease_exists)?;
        let gets_first = self.read_ops(&ops)?;
        let revision = self.revision + 1;
        let mut changes = Vec::new();
        let mut results = Vec::with_capacity(ops.len());
        for (op, got) in ops.into_iter().zip(gets_first) {
            results.push(match op {
                Op::Put {
                    key,
                    value,
                    lease,
                    tag,
                } => {
                    changes.push(self.put(revision, key, value, lease, tag));
                    OpResult::Put
                }
                Op::Delete { key } => {
                    let change = self.delete(revision, key);
                    let existed = change.is_some();
                    changes.extend(change);
                    OpResult::Deleted(existed)
                }
                Op::Get { .. } => OpResult::Got(got),
            });
        }
        if !changes.is_empty() {
            self.revision = revision;
            let row = layout::log_row(&changes);
            self.bytes += row.len();
            self.batch.insert(&self.disk.log, revision.to_be_bytes(), row);
        }
        Ok(TxnResponse {
            succeeded,
            revision: self.revision,
            results,
        })
    }

    /// What the gets of a transaction see: the state before its writes.
    fn read_ops(&self, ops: &[Op]) -> Result<Vec<Option<KeyValue>>> {
        let get = |op: &Op| match op {
            Op::Get { key } => self.read(key),
            _ => Ok(None),
        };
        ops.iter().map(get).collect()
    }

    fn read(&self, key: &Bytes) -> Result<Option<KeyValue>> {
        match self.pending.get(key) {
            Some(None) => Ok(None),
            Some(Some((meta, value))) => Ok(Some(layout::key_value(key, meta, value))),
            None => match self.index.get(key) {
                Some(meta) => self.disk.state(key, meta.mod_revision),
                None => Ok(None),
            },
        }
    }

    fn put(
        &mut self,
        revision: u64,
        key: Bytes,
        value: Bytes,
        lease: i64,
        tag: Option<crate::api::Tag>,
    ) -> Change {
        let before = self.meta(&key);
        let meta = Meta {
            create_revision: before.map_or(revision, |meta| meta.create_revision),
            mod_revision: revision,
            version: before.map_or(1, |meta| meta.version + 1),
            lease,
        };
        let prev = before.map_or(0, |meta| meta.mod_revision);
        self.insert_row(&key, revision, layout::put_row(&meta, &value));
        let kv = KeyValue {
            key: key.clone(),
            value: value.clone(),
            create_revision: meta.create_revision,
            mod_revision: revision,
            version: meta.version,
            lease,
        };
        self.recents.push(Recent {
            event: Event {
                kind: EventKind::Put,
                kv,
                prev: None,
                tag,
            },
            prev,
        });
        self.pending.insert(key.clone(), Some((meta, value)));
        Change {
            kind: EventKind::Put,
            key,
            prev,
        }
    }

    /// `None` if the key is not there.
    fn delete(&mut self, revision: u64, key: Bytes) -> Option<Change> {
        let before = self.meta(&key)?;
        self.insert_row(&key, revision, layout::tombstone_row());
        let kv = deleted(key.clone(), revision);
        let event = Event {
            kind: EventKind::Delete,
            kv,
            prev: None,
            tag: None,
        };
        self.recents.push(Recent {
            event,
            prev: before.mod_revision,
        });
        self.pending.insert(key.clone(), None);
        Some(Change {
            kind: EventKind::Delete,
            key,
            prev: before.mod_revision,
        })
    }

    fn insert_row(&mut self, key: &[u8], revision: u64, row: Vec<u8>) {
        self.bytes += key.len() + row.len();
        self.batch
            .insert(&self.disk.kv, layout::row_key(key, revision), row);
    }

    /// Writes the group and makes it durable. Returns what the index has to learn.
    pub fn commit(self) -> Result<Committed> {
        self.disk
            .commit(self.batch, self.bytes, fjall::PersistMode::SyncData)?;
        let states = self
            .pending
            .into_iter()
            .map(|(key, state)| (key, state.map(|(meta, _)| meta)));
        Ok(Committed {
            states: states.collect(),
            recents: self.recents,
            revision: self.revision,
        })
    }
}

/// A group that is on disk.
pub(super) struct Committed {
    pub states: Vec<(Bytes, Option<Meta>)>,
    pub recents: Vec<Recent>,
    pub revision: u64,
}

fn check_ops(ops: &[Op], lease_exists: impl Fn(i64) -> bool) -> Result<()> {
    if ops.len() > TXN_OPS_MAX {
        return Err(Error::Invalid("too many operations in one transaction"));
    }
    for (at, op) in ops.iter().enumerate() {
        let key = match op {
            Op::Put { value, .. } if value.len() > VALUE_BYTES_MAX => {
                return Err(Error::Invalid("value is too large"));
            }
            Op::Put { lease, .. } if *lease != 0 && !lease_exists(*lease) => {
                return Err(Error::LeaseNotFound(*lease));
            }
            Op::Put { key, .. } | Op::Delete { key } => key,
            Op::Get { .. } => continue,
        };
        layout::check_key(key)?;
        let again = |other: &Op| matches!(other, Op::Put { key: earlier, .. } | Op::Delete { key: earlier } if earlier == key);
        if ops[..at].iter().any(again) {
            return Err(Error::Invalid("duplicate key given in txn request"));
        }
    }
    Ok(())
}
