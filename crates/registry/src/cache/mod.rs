//! The watch cache of one resource: its objects as a snapshot, its last events, its watchers.

mod event;
mod snapshot;
mod watchers;

use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::ArcSwap;
use corten_stdx::batch;
use parking_lot::Mutex;

pub(crate) use event::CacheEvent;
pub use event::Undecided;
pub(crate) use snapshot::Snapshot;
pub(crate) use watchers::WATCH_BUFFER;
use watchers::{Watchers, indexed_place};

use crate::filter::Filter;
use crate::metrics::Metrics;
use crate::object::Object;
use crate::strategy::Strategy;
use crate::watch::WatchEvent;

/// Events kept for watches that resume. Older ones come from the store's history.
const RING_EVENTS_MAX: usize = 4096;
/// Bytes of objects those events keep alive.
const RING_BYTES_MAX: usize = 8 << 20;
/// How many times `tidy` finds an event before it is dropped: at one every 30 s that is upstream's 75 s for which its
/// watch cache keeps events, and a little more. Who was away for longer reads the store's history.
const RING_TIDIES: usize = 3;
/// Snapshots kept for the following pages of lists; older ones are read from the store.
const PINNED_SNAPSHOTS_MAX: usize = 8;

/// One change as it comes from the store.
#[derive(Clone)]
pub(crate) struct Change {
    pub revision: u64,
    pub what: What,
}

#[derive(Clone)]
pub(crate) enum What {
    Put(Object),
    /// The key of what was deleted, or cannot be read any more.
    Deleted(Box<str>),
}

struct State {
    /// The revision the cache was loaded at: changes up to it are in already.
    loaded: u64,
    ring: VecDeque<Arc<CacheEvent>>,
    ring_bytes: usize,
    /// Every event after this revision is in the ring.
    ring_after: u64,
    /// The newest event at each of the last tidies, oldest first.
    aged: [u64; RING_TIDIES],
    watchers: Watchers,
    pinned: VecDeque<(u64, Arc<Snapshot>)>,
    /// Served no longer: watches end.
    closed: bool,
}

pub(crate) struct Cache {
    snapshot: ArcSwap<Snapshot>,
    state: Mutex<State>,
    indexed: Option<usize>,
    indexed_field: Option<&'static str>,
}

/// How a watch begins.
pub(crate) struct Subscription {
    pub initial: Vec<WatchEvent>,
    pub receiver: batch::Receiver<WatchEvent>,
}

impl Cache {
    /// Holds `objects`, which are everything up to `revision`.
    pub fn new(strategy: &Arc<dyn Strategy>, snapshot: Snapshot, revision: u64) -> Self {
        let state = State {
            loaded: revision,
            ring: VecDeque::new(),
            ring_bytes: 0,
            ring_after: revision,
            aged: [revision; RING_TIDIES],
            watchers: Watchers::default(),
            pinned: VecDeque::new(),
            closed: false,
        };
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            state: Mutex::new(state),
            indexed: indexed_place(strategy),
            indexed_field: strategy.indexed_field(),
        }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The revision of the last change.
    pub fn changed(&self) -> u64 {
        self.snapshot.load().changed
    }

    /// One object of the newest snapshot.
    pub fn get(&self, key: &str) -> Option<Object> {
        self.snapshot.load().get(key).cloned()
    }

    /// Takes changes in the order of their revisions: first the snapshot, then the watchers.
    pub fn apply(&self, changes: Vec<Change>, metrics: &Metrics) {
        let mut state = self.state.lock();
        let mut next = Snapshot::clone(&self.snapshot.load());
        let mut events = Vec::with_capacity(changes.len());
        for change in changes
            .into_iter()
            .filter(|change| change.revision > state.loaded)
        {
            let (object, previous) = match change.what {
                What::Put(object) => (Some(object.clone()), next.objects.insert(object)),
                What::Deleted(key) => (None, next.objects.remove(key.as_bytes())),
            };
            next.changed = change.revision;
            events.extend(CacheEvent::new(change.revision, object, previous).map(Arc::new));
        }
        self.snapshot.store(Arc::new(next));
        state.watchers.deliver(&events, self.indexed, metrics);
        events.into_iter().for_each(|event| state.remember(event));
    }

    /// Begins a watch with what there is now: the objects, then what comes after them.
    pub fn subscribe_with_state(&self, filter: &Filter, applied: u64) -> (Subscription, u64) {
        let mut state = self.state.lock();
        let snapshot = self.snapshot.load_full();
        let revision = snapshot.changed.max(applied);
        let added = |object: Object| match filter.is_late() {
            true => Arc::new(CacheEvent::added(object)).seen_through(filter),
            false => Some(WatchEvent::Added(object)),
        };
        let initial = snapshot.select(filter).into_iter().filter_map(added).collect();
        (
            state.subscribe(filter, self.indexed_field, revision, initial),
            revision,
        )
    }

    /// Begins a watch after a revision. `Err` with the oldest revision one can begin after, if this one is older.
    pub fn subscribe_after(&self, filter: &Filter, after: u64) -> Result<Subscription, u64> {
        let mut state = self.state.lock();
        if after < state.ring_after {
            return Err(state.ring_after);
        }
        let begin = state.ring.partition_point(|event| event.revision <= after);
        let initial = state
            .ring
            .range(begin..)
            .filter_map(|event| event.seen_through(filter))
            .collect();
        Ok(state.subscribe(filter, self.indexed_field, after, initial))
    }

    /// Keeps a snapshot for the pages that follow.
    pub fn pin(&self, revision: u64, snapshot: &Arc<Snapshot>) {
        let mut state = self.state.lock();
        if state.pinned.iter().any(|(pinned, _)| *pinned == revision) {
            return;
        }
        if state.pinned.len() == PINNED_SNAPSHOTS_MAX {
            state.pinned.pop_front();
        }
        state.pinned.push_back((revision, Arc::clone(snapshot)));
    }

    pub fn pinned(&self, revision: u64) -> Option<Arc<Snapshot>> {
        let state = self.state.lock();
        state
            .pinned
            .iter()
            .find(|(pinned, _)| *pinned == revision)
            .map(|(_, snapshot)| Arc::clone(snapshot))
    }

    /// Drops pinned snapshots the store would no longer serve, watchers that have gone, and events that are old.
    pub fn tidy(&self, compacted: u64) {
        let mut state = self.state.lock();
        state.age();
        state.pinned.retain(|(revision, _)| *revision >= compacted);
        state.watchers.drop_closed();
    }

    /// Ends every watch, now and later.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.watchers.clear();
    }
}

impl State {
    fn subscribe(
        &mut self,
        filter: &Filter,
        indexed_field: Option<&str>,
        after: u64,
        initial: Vec<WatchEvent>,
    ) -> Subscription {
        // Whoever has seen the initial events has seen everything applied so far.
        let newest = self.ring.back().map_or(0, |event| event.revision);
        let receiver = self
            .watchers
            .add(filter.clone(), indexed_field, after.max(newest));
        if self.closed {
            self.watchers.clear();
        }
        Subscription { initial, receiver }
    }

    fn remember(&mut self, event: Arc<CacheEvent>) {
        self.ring_bytes += event.bytes();
        self.ring.push_back(event);
        while self.ring.len() > RING_EVENTS_MAX || self.ring_bytes > RING_BYTES_MAX {
            if !self.forget_oldest() {
                return;
            }
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(oldest) = self.ring.pop_front() else {
            return false;
        };
        self.ring_bytes -= oldest.bytes();
        self.ring_after = oldest.revision;
        true
    }

    /// Drops the events that were there `RING_TIDIES` tidies ago.
    fn age(&mut self) {
        let newest = self.ring.back().map_or(self.ring_after, |event| event.revision);
        self.aged.rotate_left(1);
        let old = std::mem::replace(&mut self.aged[RING_TIDIES - 1], newest);
        while self.ring.front().is_some_and(|event| event.revision <= old) {
            self.forget_oldest();
        }
        if self.ring.len() < self.ring.capacity() / 4 {
            self.ring.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Cache, Change, RING_TIDIES, Snapshot, What};
    use crate::metrics::Metrics;
    use crate::object::Object;
    use crate::strategy::for_resource;

    fn change(cache: &Cache, revision: u64) {
        let encoded = crate::encode::encode(&serde_json::json!({"metadata": {"name": "a"}})).unwrap();
        let change = Change {
            revision,
            what: What::Put(Object::new("a", &encoded, revision, None)),
        };
        cache.apply(vec![change], &Metrics::default());
    }

    /// What nobody resumes from is not kept because nothing else happens to push it out.
    #[test]
    fn events_leave_when_they_are_old() {
        let cache = Cache::new(&for_resource("", "configmaps"), Snapshot::default(), 1);
        let oldest = || cache.state.lock().ring_after;
        change(&cache, 2);
        change(&cache, 3);
        cache.tidy(0);
        change(&cache, 4);
        for _ in 1..RING_TIDIES {
            cache.tidy(0);
        }
        assert_eq!(oldest(), 1);
        cache.tidy(0);
        assert_eq!(oldest(), 3);
        cache.tidy(0);
        assert_eq!(oldest(), 4);
        assert_eq!(cache.state.lock().ring.capacity(), 0);
        assert!(cache.get("a").is_some());
    }
}
