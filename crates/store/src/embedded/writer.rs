//! The group commit: one thread takes every write that waits, writes them as one batch, and one fsync serves all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::group::{Group, Index};
use super::layout;
use super::leases::{Leases, end_after};
use crate::api::{Error, Lease, Op, Result, Txn, TxnResponse};

/// Writes that may wait; further writers wait to get in line.
pub(super) const WRITES_QUEUED: corten_stdx::queue::Bound =
    corten_stdx::queue::Bound::new("store-writes", 4096);
/// Writes one fsync serves at most, in number and in bytes: bounds the latency of the first.
const GROUP_WRITES_MAX: usize = 1024;
pub(super) const GROUP_BYTES_MAX: usize = 8 << 20;
/// Keys that an ending lease takes with it in one step.
const LEASE_KEYS_STEP: usize = crate::api::TXN_OPS_MAX;

pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

/// What the writer thread does.
pub(super) enum Write {
    Txn(Txn, Reply<TxnResponse>),
    Grant(Duration, Reply<Lease>),
    KeepAlive(i64, Reply<Lease>),
    /// Deletes some of the lease's keys, or the lease when it has none; true when it is gone.
    Revoke(i64, Reply<bool>),
    /// The same with the first lease that has ended; true when none has.
    Expire(Reply<bool>),
}

/// What a write of the group answers once the group is on disk.
enum Answer {
    Txn(Reply<TxnResponse>, TxnResponse),
    Lease(Reply<Lease>, Lease),
    Flag(Reply<bool>, bool),
}

impl Answer {
    fn send(self, outcome: Result<()>) {
        // A writer that has gone away does not need its answer.
        match self {
            Self::Txn(reply, response) => drop(reply.send(outcome.map(|()| response))),
            Self::Lease(reply, lease) => drop(reply.send(outcome.map(|()| lease))),
            Self::Flag(reply, flag) => drop(reply.send(outcome.map(|()| flag))),
        }
    }
}

/// A change of the leases that takes effect when the group is on disk.
enum LeaseChange {
    Set(i64, Duration, u64),
    Removed(i64),
}

/// Everything only the writer thread touches.
pub(super) struct Writer {
    pub shared: Arc<Shared>,
    pub index: Index,
    pub leases: Leases,
}

impl Writer {
    /// Runs until every sender is gone.
    pub fn run(mut self, mut queue: mpsc::Receiver<Write>) {
        let mut waiting = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            waiting.push(first);
            gather(&mut queue, &mut waiting);
            while !waiting.is_empty() {
                self.write_group(&mut waiting);
            }
        }
    }

    /// Takes writes off `waiting` until a bound is reached and makes them durable.
    fn write_group(&mut self, waiting: &mut Vec<Write>) {
        let shared = Arc::clone(&self.shared);
        let room = shared.check_room();
        let mut group = Group::new(&shared.disk, &self.index, shared.revision());
        let mut answers = Vec::with_capacity(waiting.len());
        let mut lease_changes = Vec::new();
        let mut taken = 0;
        for write in waiting.iter_mut() {
            if group.bytes() >= GROUP_BYTES_MAX {
                break;
            }
            taken += 1;
            // Replaced by a harmless write that `drain` drops.
            let write = std::mem::replace(write, Write::Expire(oneshot::channel().0));
            if let Err(error) = &room {
                refuse(write, error);
                continue;
            }
            answers.extend(add(&self.leases, &shared, &mut group, &mut lease_changes, write));
        }
        waiting.drain(..taken);
        if answers.is_empty() {
            return;
        }
        shared.condition.begun(shared.clock.monotonic());
        let outcome = group.commit();
        shared
            .condition
            .ended(outcome.as_ref().map(drop).map_err(Clone::clone));
        match outcome {
            Ok(committed) => {
                self.learn(&committed.states, lease_changes);
                shared.publish(committed.recents, committed.revision);
                answers.into_iter().for_each(|answer| answer.send(Ok(())));
                shared.disk.after_commit();
            }
            Err(error) => {
                tracing::error!(%error, "writing to the store failed");
                answers
                    .into_iter()
                    .for_each(|answer| answer.send(Err(error.clone())));
            }
        }
    }

    fn learn(&mut self, states: &[(bytes::Bytes, Option<layout::Meta>)], lease_changes: Vec<LeaseChange>) {
        for change in lease_changes {
            match change {
                // Keeps the keys of a lease that is kept alive.
                LeaseChange::Set(id, ttl, end) => drop(self.leases.insert(id, ttl, end)),
                LeaseChange::Removed(id) => drop(self.leases.remove(id)),
            }
        }
        for (key, state) in states {
            let before = match state {
                Some(meta) => self.index.insert(key, *meta),
                None => self.index.remove(key),
            };
            if let Some(lease) = before.map(|meta| meta.lease).filter(|lease| *lease != 0) {
                self.leases.detach(lease, key);
            }
            if let Some(lease) = state.map(|meta| meta.lease).filter(|lease| *lease != 0) {
                self.leases.attach(lease, key.clone());
            }
        }
        self.shared
            .next_lease_end
            .send_replace(self.leases.first_end().map(|(end, _)| end));
    }
}

/// Takes what waits. Writers that were just answered come back within microseconds: giving them that chance makes
/// the next fsync serve many instead of one.
fn gather(queue: &mut mpsc::Receiver<Write>, waiting: &mut Vec<Write>) {
    while waiting.len() < GROUP_WRITES_MAX {
        match queue.try_recv() {
            Ok(write) => waiting.push(write),
            Err(_) => return,
        }
    }
}

fn refuse(write: Write, error: &Error) {
    match write {
        Write::Txn(_, reply) => drop(reply.send(Err(error.clone()))),
        Write::Grant(_, reply) | Write::KeepAlive(_, reply) => drop(reply.send(Err(error.clone()))),
        Write::Revoke(_, reply) | Write::Expire(reply) => drop(reply.send(Err(error.clone()))),
    }
}

/// Adds one write to the group; answers at once, without the group, what cannot be done.
fn add(
    leases: &Leases,
    shared: &Shared,
    group: &mut Group<'_>,
    changes: &mut Vec<LeaseChange>,
    write: Write,
) -> Option<Answer> {
    let now = shared.clock.unix_nanos();
    match write {
        Write::Txn(txn, reply) => match group.txn(txn, |id| lease_exists(leases, changes, id)) {
            Ok(response) => Some(Answer::Txn(reply, response)),
            Err(error) => {
                drop(reply.send(Err(error)));
                None
            }
        },
        Write::Grant(ttl, reply) => {
            let granted = |change: &LeaseChange| matches!(change, LeaseChange::Set(..));
            let id = leases.next_id(now) + changes.iter().filter(|change| granted(change)).count() as i64;
            Some(Answer::Lease(
                reply,
                set_lease(shared, group, changes, id, ttl, now),
            ))
        }
        // `changes`: revoked by a write of the same group.
        Write::KeepAlive(id, reply) if !lease_exists(leases, changes, id) => {
            drop(reply.send(Err(Error::LeaseNotFound(id))));
            None
        }
        Write::KeepAlive(id, reply) => match leases.ttl(id, now) {
            Ok(ttl) => Some(Answer::Lease(
                reply,
                set_lease(shared, group, changes, id, ttl, now),
            )),
            Err(error) => {
                drop(reply.send(Err(error)));
                None
            }
        },
        Write::Revoke(id, reply) => {
            if !leases.exists(id) {
                drop(reply.send(Err(Error::LeaseNotFound(id))));
                return None;
            }
            Some(Answer::Flag(reply, end_lease(leases, shared, group, changes, id)))
        }
        Write::Expire(reply) => match leases.first_end().filter(|(end, _)| *end <= now) {
            Some((_, id)) => {
                end_lease(leases, shared, group, changes, id);
                Some(Answer::Flag(reply, false))
            }
            None => {
                drop(reply.send(Ok(true)));
                None
            }
        },
    }
}

fn lease_exists(leases: &Leases, changes: &[LeaseChange], id: i64) -> bool {
    let changed = changes.iter().rev().find_map(|change| match change {
        LeaseChange::Set(set, ..) if *set == id => Some(true),
        LeaseChange::Removed(removed) if *removed == id => Some(false),
        _ => None,
    });
    changed.unwrap_or_else(|| leases.exists(id))
}

fn set_lease(
    shared: &Shared,
    group: &mut Group<'_>,
    changes: &mut Vec<LeaseChange>,
    id: i64,
    ttl: Duration,
    now: u64,
) -> Lease {
    let end = end_after(now, ttl);
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    group.batch().insert(
        &shared.disk.leases,
        id.to_be_bytes(),
        layout::lease_row(ttl_ms, end),
    );
    changes.push(LeaseChange::Set(id, ttl, end));
    Lease { id, ttl }
}

/// Deletes some keys of a lease, or the lease if it has none left. True when it is gone.
fn end_lease(
    leases: &Leases,
    shared: &Shared,
    group: &mut Group<'_>,
    changes: &mut Vec<LeaseChange>,
    id: i64,
) -> bool {
    let keys = leases.some_keys(id, LEASE_KEYS_STEP);
    if keys.is_empty() {
        group.batch().remove(&shared.disk.leases, id.to_be_bytes());
        changes.push(LeaseChange::Removed(id));
        return true;
    }
    let deletes = Txn {
        success: keys.into_iter().map(Op::delete).collect(),
        ..Txn::default()
    };
    if let Err(error) = group.txn(deletes, |_| true) {
        tracing::error!(%error, lease = id, "deleting the keys of an ended lease failed");
    }
    false
}
