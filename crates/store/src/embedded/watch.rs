//! Watches. Each has its own place and reads on from it when the revision rises: from the ring while it keeps up, from
//! the log when it does not. No watcher has a buffer, so none can grow.

use std::sync::Arc;

use futures::stream;
use tokio::sync::watch;

use super::Shared;
use super::ring::{BATCH_EVENTS, Recent};
use crate::api::{Error, Event, EventBatch, Range, Result, WatchRequest, WatchStream};

pub(super) struct Watcher {
    shared: Arc<Shared>,
    request: WatchRequest,
    /// First revision not yet delivered.
    next: u64,
    revisions: watch::Receiver<u64>,
    failed: bool,
}

impl Watcher {
    pub fn stream(
        shared: Arc<Shared>,
        revisions: watch::Receiver<u64>,
        request: WatchRequest,
    ) -> Result<WatchStream> {
        let current = *revisions.borrow();
        let next = if request.start_revision == 0 {
            current + 1
        } else {
            request.start_revision
        };
        let compacted = shared.disk.compacted();
        if next <= compacted {
            return Err(Error::Compacted { compacted });
        }
        let watcher = Self {
            shared,
            request,
            next,
            revisions,
            failed: false,
        };
        Ok(Box::pin(stream::unfold(watcher, |mut watcher| async move {
            let batch = watcher.next_batch().await?;
            Some((batch, watcher))
        })))
    }

    async fn next_batch(&mut self) -> Option<Result<EventBatch>> {
        if self.failed {
            return None;
        }
        let next = self.next;
        let current = *self.revisions.wait_for(|revision| *revision >= next).await.ok()?;
        let batch = self.read(current).await;
        match &batch {
            Ok(batch) => self.next = batch.revision + 1,
            Err(_) => self.failed = true,
        }
        Some(batch)
    }

    async fn read(&self, current: u64) -> Result<EventBatch> {
        let recent = self
            .shared
            .ring
            .read()
            .read(&self.request.range, self.next, current);
        let (shared, prev) = (Arc::clone(&self.shared), self.request.prev);
        if let Some(slice) = recent {
            let revision = slice.revision;
            if !prev {
                let events = slice.events.into_iter().map(|recent| recent.event).collect();
                return Ok(EventBatch { revision, events });
            }
            return blocking(move || {
                Ok(EventBatch {
                    revision,
                    events: shared.with_prev(slice.events)?,
                })
            })
            .await;
        }
        let (range, from) = (self.request.range.clone(), self.next);
        blocking(move || shared.read_log(&range, from, current, prev)).await
    }
}

/// Runs a read of the disk where it may take its time.
pub(super) async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|_| Error::Closed)?
}

impl Shared {
    fn with_prev(&self, recents: Vec<Recent>) -> Result<Vec<Event>> {
        let fill = |recent: Recent| {
            let mut event = recent.event;
            if recent.prev != 0 {
                event.prev = self.disk.state(&event.kv.key, recent.prev)?;
            }
            Ok(event)
        };
        recents.into_iter().map(fill).collect()
    }

    /// The next events from the log, at most about [`BATCH_EVENTS`] changes of any key.
    fn read_log(&self, range: &Range, from: u64, current: u64, prev: bool) -> Result<EventBatch> {
        let mut batch = EventBatch {
            revision: current,
            events: Vec::new(),
        };
        let mut seen = 0;
        let mut last = from - 1;
        for entry in self.disk.log_from(from) {
            let (revision, changes) = entry?;
            if revision > current {
                break;
            }
            if seen >= BATCH_EVENTS {
                batch.revision = last;
                break;
            }
            last = revision;
            seen += changes.len();
            for change in changes.into_iter().filter(|change| range.contains(&change.key)) {
                let before = change.prev;
                match self.disk.event(revision, change) {
                    Ok(event) => batch.events.extend(self.with_prev(vec![Recent {
                        event,
                        prev: if prev { before } else { 0 },
                    }])?),
                    // Compaction may have taken the row since; the check below tells.
                    Err(_) if self.disk.compacted() >= from => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let compacted = self.disk.compacted();
        if from <= compacted {
            Err(Error::Compacted { compacted })
        } else {
            Ok(batch)
        }
    }
}
