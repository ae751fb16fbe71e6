//! What goes on beside the writes: compaction in bounded steps, leases that end.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::watch::blocking;
use super::writer::Write;
use crate::api::{Error, EventKind, Result};

/// Revisions compacted in one batch: bounds how long writes wait for it.
const COMPACT_STEP_REVISIONS: usize = 256;
/// Revisions in [`QUIET_INTERVAL`] that are few: what leases of nodes and leaders alone make of a few hundred nodes.
const QUIET_REVISIONS: u64 = 256;
const QUIET_INTERVAL: Duration = Duration::from_secs(10);
/// How often the store is compacted in the time for which its history is kept.
const COMPACTIONS_IN_INTERVAL: u32 = 5;

impl Shared {
    /// Removes what only revisions before the compacted one could see; bounded. True when nothing is left to do.
    fn compact_step(&self) -> Result<bool> {
        let compacted = self.disk.compacted();
        let mut batch = self.disk.db.batch();
        let (mut revisions, mut bytes) = (0, 0);
        for entry in self.disk.log_from(0) {
            let (revision, changes) = entry?;
            if revision > compacted || revisions == COMPACT_STEP_REVISIONS {
                break;
            }
            revisions += 1;
            for change in changes {
                bytes += change.key.len();
                if change.prev != 0 {
                    batch.remove(&self.disk.kv, super::layout::row_key(&change.key, change.prev));
                }
                if change.kind == EventKind::Delete {
                    batch.remove(&self.disk.kv, super::layout::row_key(&change.key, revision));
                }
            }
            batch.remove(&self.disk.log, revision.to_be_bytes());
        }
        self.disk.commit(batch, bytes, fjall::PersistMode::Buffer)?;
        self.disk.after_commit();
        Ok(revisions < COMPACT_STEP_REVISIONS)
    }
}

/// Forgets what was before `revision`. Writes go on between the steps.
pub(super) async fn compact(shared: &Arc<Shared>, revision: u64) -> Result<()> {
    let current = shared.revision();
    if revision > current {
        return Err(Error::FutureRevision { current });
    }
    let _one_at_a_time = shared.compacting.lock().await;
    let compacted = shared.disk.compacted();
    if revision <= compacted {
        return Err(Error::Compacted { compacted });
    }
    let raise = Arc::clone(shared);
    blocking(move || raise.disk.set_compacted(revision)).await?;
    finish_compaction(shared).await
}

async fn finish_compaction(shared: &Arc<Shared>) -> Result<()> {
    loop {
        let step = Arc::clone(shared);
        if blocking(move || step.compact_step()).await? {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

/// Compacts to where the store was one `interval` ago. kube-apiserver does so once each interval, so that between one and two
/// intervals of history can be read; here it is done more often, so that it is little more than one.
pub(super) async fn compact_regularly(shared: Weak<Shared>, interval: Duration) {
    let Some(start) = shared.upgrade() else { return };
    let clock = start.clock.clone();
    if let Err(error) = finish_compaction(&start).await {
        tracing::warn!(%error, "finishing an interrupted compaction failed");
    }
    // The revisions at the last turns, oldest first.
    let mut past = VecDeque::from([start.revision()]);
    drop(start);
    loop {
        clock.sleep(interval / COMPACTIONS_IN_INTERVAL).await;
        let Some(shared) = shared.upgrade() else { return };
        past.push_back(shared.revision());
        if past.len() <= COMPACTIONS_IN_INTERVAL as usize {
            continue;
        }
        let Some(target) = past.pop_front() else { return };
        match compact(&shared, target).await {
            Ok(()) | Err(Error::Compacted { .. }) => {}
            Err(error) => tracing::warn!(%error, revision = target, "compaction failed"),
        }
    }
}

/// Gives back what was gathered for more writes once few come: recent events and the states that no table has yet. A load's
/// last megabytes would stay for hours where only leases are renewed.
pub(super) async fn give_back(shared: Weak<Shared>) {
    let Some(start) = shared.upgrade() else { return };
    let clock = start.clock.clone();
    drop(start);
    let mut revision = 0;
    loop {
        clock.sleep(QUIET_INTERVAL).await;
        let Some(shared) = shared.upgrade() else { return };
        let now = shared.revision();
        if now - std::mem::replace(&mut revision, now) > QUIET_REVISIONS {
            continue;
        }
        shared.ring.write().keep_newest(QUIET_REVISIONS);
        let seal = move || {
            shared.disk.seal_quiet_memtables();
            Ok(())
        };
        if let Err(error) = blocking(seal).await {
            tracing::warn!(%error, "giving back the store's memory failed");
        }
    }
}

/// Ends leases at their time.
pub(super) async fn expire_leases(shared: Weak<Shared>, writes: mpsc::WeakSender<Write>) {
    let Some(start) = shared.upgrade() else { return };
    let (clock, mut ends) = (start.clock.clone(), start.next_lease_end.subscribe());
    drop(start);
    loop {
        let end = *ends.borrow_and_update();
        // Before the wall time, so that time passing in between makes the wait shorter, not longer.
        let monotonic = clock.monotonic();
        let now = clock.unix_nanos();
        let wait = end.map(|end| Duration::from_nanos(end.saturating_sub(now)));
        match wait {
            Some(Duration::ZERO) => {
                if expire_step(&writes).await.is_none() {
                    return;
                }
            }
            Some(wait) => {
                tokio::select! {
                    () = clock.sleep_until(monotonic + wait) => {}
                    changed = ends.changed() => if changed.is_err() { return },
                }
            }
            None => {
                if ends.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Wait after a failed step, so that a full disk does not become a busy loop.
const EXPIRE_RETRY: Duration = Duration::from_secs(1);

/// `None` when the store has closed.
async fn expire_step(writes: &mpsc::WeakSender<Write>) -> Option<()> {
    let (reply, answer) = oneshot::channel();
    let sender = writes.upgrade()?;
    sender.send(Write::Expire(reply)).await.ok()?;
    drop(sender);
    if answer.await.ok()?.is_err() {
        tokio::time::sleep(EXPIRE_RETRY).await;
    }
    Some(())
}
