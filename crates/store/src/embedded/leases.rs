//! Leases in memory: which keys hang on which, and which ends next. Nothing is swept: ends are ordered.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;

use super::disk::Disk;
use super::layout;
use crate::api::{Error, Lease, Result};

struct State {
    ttl: Duration,
    end_nanos: u64,
    keys: HashSet<Bytes>,
}

#[derive(Default)]
pub(super) struct Leases {
    by_id: HashMap<i64, State>,
    ends: BTreeSet<(u64, i64)>,
}

impl Leases {
    /// The leases on disk; their keys are attached by the caller, who scans them anyway.
    pub fn load(disk: &Disk) -> Result<Self> {
        let mut leases = Self::default();
        for guard in disk.leases.iter() {
            let (id, row) = guard.into_inner().map_err(|error| disk.error(error))?;
            let (ttl_ms, end_nanos) = layout::decode_lease_row(&row)?;
            leases.insert(
                layout::number(&id)? as i64,
                Duration::from_millis(ttl_ms),
                end_nanos,
            );
        }
        Ok(leases)
    }

    pub fn exists(&self, id: i64) -> bool {
        self.by_id.contains_key(&id)
    }

    pub fn attach(&mut self, id: i64, key: Bytes) {
        if let Some(state) = self.by_id.get_mut(&id) {
            state.keys.insert(key);
        }
    }

    pub fn detach(&mut self, id: i64, key: &Bytes) {
        if let Some(state) = self.by_id.get_mut(&id) {
            state.keys.remove(key);
        }
    }

    /// An id no lease has had: the time, or the one after the newest.
    pub fn next_id(&self, now_nanos: u64) -> i64 {
        let newest = self.by_id.keys().max().copied().unwrap_or(0);
        (now_nanos as i64 & i64::MAX).max(newest + 1)
    }

    pub fn insert(&mut self, id: i64, ttl: Duration, end_nanos: u64) -> Lease {
        let keys = self.remove(id);
        self.by_id.insert(id, State { ttl, end_nanos, keys });
        self.ends.insert((end_nanos, id));
        Lease { id, ttl }
    }

    /// The time to live of a lease that has not ended. One that has cannot be kept any more, though its keys may still
    /// be on their way out: its holder must not believe it has them.
    pub fn ttl(&self, id: i64, now_nanos: u64) -> Result<Duration> {
        self.by_id
            .get(&id)
            .filter(|state| state.end_nanos > now_nanos)
            .map(|state| state.ttl)
            .ok_or(Error::LeaseNotFound(id))
    }

    /// Forgets a lease; returns the keys that hung on it.
    pub fn remove(&mut self, id: i64) -> HashSet<Bytes> {
        let Some(state) = self.by_id.remove(&id) else {
            return HashSet::new();
        };
        self.ends.remove(&(state.end_nanos, id));
        state.keys
    }

    /// At most `limit` of the lease's keys.
    pub fn some_keys(&self, id: i64, limit: usize) -> Vec<Bytes> {
        let keys = self
            .by_id
            .get(&id)
            .map(|state| state.keys.iter().take(limit).cloned());
        keys.map(Iterator::collect).unwrap_or_default()
    }

    /// The lease that ends first, and when.
    pub fn first_end(&self) -> Option<(u64, i64)> {
        self.ends.first().copied()
    }
}

pub(super) fn end_after(now_nanos: u64, ttl: Duration) -> u64 {
    now_nanos.saturating_add(u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX))
}
