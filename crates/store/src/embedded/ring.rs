//! The newest events in memory, for watchers that keep up.

use std::collections::VecDeque;

use crate::api::{Event, Range};

/// Events kept; older ones are read from the log on disk.
const RING_EVENTS_MAX: usize = 4096;
/// Value bytes kept; the same.
const RING_BYTES_MAX: usize = 4 << 20;
/// Events handed to a watcher at once, if one revision has not more.
pub(super) const BATCH_EVENTS: usize = 512;

/// An event and what is needed to find the state before it.
#[derive(Clone)]
pub(super) struct Recent {
    pub event: Event,
    /// Mod revision of the state before; 0 for none.
    pub prev: u64,
}

impl Recent {
    fn revision(&self) -> u64 {
        self.event.kv.mod_revision
    }
}

pub(super) struct Ring {
    events: VecDeque<Recent>,
    bytes: usize,
    /// Every event from this revision on is here.
    low: u64,
}

/// What the ring has for a watcher.
pub(super) struct Slice {
    pub events: Vec<Recent>,
    /// Everything up to here is delivered with these.
    pub revision: u64,
}

impl Ring {
    /// Holds what comes after `revision`.
    pub fn after(revision: u64) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            low: revision + 1,
        }
    }

    pub fn push(&mut self, recent: Recent) {
        self.bytes += recent.event.kv.value.len();
        self.events.push_back(recent);
    }

    /// Drops the oldest revisions, whole ones, until the bounds hold again.
    pub fn trim(&mut self) {
        while self.events.len() > RING_EVENTS_MAX || self.bytes > RING_BYTES_MAX {
            let Some(revision) = self.events.front().map(Recent::revision) else {
                return;
            };
            self.drop_through(revision);
        }
    }

    /// Drops all but the newest `revisions`, and the room they took.
    pub fn keep_newest(&mut self, revisions: u64) {
        let newest = self.events.back().map_or(0, Recent::revision);
        self.drop_through(newest.saturating_sub(revisions));
        self.events.shrink_to_fit();
    }

    fn drop_through(&mut self, revision: u64) {
        while let Some(recent) = self.events.pop_front_if(|recent| recent.revision() <= revision) {
            self.bytes -= recent.event.kv.value.len();
            self.low = recent.revision() + 1;
        }
    }

    /// Events of `range` from revision `from` to `current`; `None` if the ring no longer has them.
    pub fn read(&self, range: &Range, from: u64, current: u64) -> Option<Slice> {
        if from < self.low {
            return None;
        }
        let begin = self.events.partition_point(|recent| recent.revision() < from);
        let mut events: Vec<Recent> = Vec::new();
        let mut last = 0;
        for recent in self.events.range(begin..) {
            if recent.revision() > current {
                break;
            }
            if events.len() >= BATCH_EVENTS && recent.revision() != last {
                return Some(Slice {
                    events,
                    revision: last,
                });
            }
            last = recent.revision();
            if range.contains(&recent.event.kv.key) {
                events.push(recent.clone());
            }
        }
        Some(Slice {
            events,
            revision: current,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::{EventKind, KeyValue};

    fn recent(revision: u64) -> Recent {
        let kv = KeyValue {
            key: "k".into(),
            value: "v".into(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: 0,
        };
        Recent {
            event: Event {
                kind: EventKind::Put,
                kv,
                prev: None,
                tag: None,
            },
            prev: 0,
        }
    }

    #[test]
    fn old_revisions_leave_and_batches_end_at_revisions() {
        let mut ring = Ring::after(0);
        let newest = RING_EVENTS_MAX as u64 + 10;
        for revision in 1..=newest {
            ring.push(recent(revision));
        }
        ring.trim();
        let all = Range::prefix("");
        assert!(ring.read(&all, 10, newest).is_none());
        let slice = ring.read(&all, 11, newest).unwrap();
        assert_eq!(
            (slice.events.len(), slice.revision),
            (BATCH_EVENTS, 10 + BATCH_EVENTS as u64)
        );
        let none = ring.read(&Range::key("other"), newest, newest).unwrap();
        assert_eq!((none.events.len(), none.revision), (0, newest));
    }
}
