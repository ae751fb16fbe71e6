//! Who watches what: an index, so that an event costs its own watchers and no others.

use std::collections::HashMap;
use std::sync::Arc;

use corten_stdx::batch::{self, Refused};

use super::event::CacheEvent;
use crate::filter::Filter;
use crate::metrics::Metrics;
use crate::watch::WatchEvent;

/// Events waiting for one watcher; one that has so many unread is ended, as upstream ends it.
pub(crate) const WATCH_BUFFER: corten_stdx::queue::Bound =
    corten_stdx::queue::Bound::new("watch-events", 4096);

struct Watcher {
    id: u64,
    /// Shared with watchers beside it that ask for the same.
    filter: Arc<Filter>,
    /// Events up to here are not for it.
    after: u64,
    sender: batch::Sender<WatchEvent>,
}

/// Where a watcher is found.
enum Place {
    All,
    Namespace(String),
    Key(String),
    Field(String),
}

#[derive(Default)]
pub(crate) struct Watchers {
    next_id: u64,
    all: Vec<Watcher>,
    by_namespace: HashMap<String, Vec<Watcher>>,
    by_key: HashMap<String, Vec<Watcher>>,
    /// By the value of the strategy's indexed field.
    by_field: HashMap<String, Vec<Watcher>>,
}

impl Watchers {
    pub fn add(
        &mut self,
        filter: Filter,
        indexed_field: Option<&str>,
        after: u64,
    ) -> batch::Receiver<WatchEvent> {
        let (sender, receiver) = batch::channel(WATCH_BUFFER);
        self.next_id += 1;
        let id = self.next_id;
        let watchers = match place(&filter, indexed_field) {
            Place::All => &mut self.all,
            Place::Namespace(namespace) => self.by_namespace.entry(namespace).or_default(),
            Place::Key(key) => self.by_key.entry(key).or_default(),
            Place::Field(value) => self.by_field.entry(value).or_default(),
        };
        let beside = watchers.last().map(|watcher| &watcher.filter);
        let filter = match beside.filter(|beside| ***beside == filter) {
            Some(same) => Arc::clone(same),
            None => Arc::new(filter),
        };
        watchers.push(Watcher {
            id,
            filter,
            after,
            sender,
        });
        receiver
    }

    /// Hands events to those they are for, to one watcher after the other: who wakes finds all of them and writes them
    /// at once. `indexed` is the indexed field's place among the object's fields.
    pub fn deliver(&mut self, events: &[Arc<CacheEvent>], indexed: Option<usize>, metrics: &Metrics) {
        deliver_to(&mut self.all, events, metrics);
        if !self.by_namespace.is_empty() {
            for run in events.chunk_by(|a, b| a.newest().namespace() == b.newest().namespace()) {
                deliver_in(&mut self.by_namespace, run[0].newest().namespace(), run, metrics);
            }
        }
        for event in events {
            let one = std::slice::from_ref(event);
            deliver_in(&mut self.by_key, event.newest().key(), one, metrics);
            let Some(indexed) = indexed.filter(|_| !self.by_field.is_empty()) else {
                continue;
            };
            let (now, before) = event.field(indexed);
            for value in [now, before.filter(|before| now != Some(*before))]
                .into_iter()
                .flatten()
            {
                deliver_in(&mut self.by_field, value, one, metrics);
            }
        }
    }

    /// Forgets watchers whose reader has gone.
    pub fn drop_closed(&mut self) {
        let open = |watcher: &Watcher| !watcher.sender.is_closed();
        self.all.retain(open);
        for map in [&mut self.by_namespace, &mut self.by_key, &mut self.by_field] {
            map.retain(|_, watchers| {
                watchers.retain(open);
                !watchers.is_empty()
            });
        }
    }

    /// Ends every watch.
    pub fn clear(&mut self) {
        *self = Self {
            next_id: self.next_id,
            ..Self::default()
        };
    }
}

fn place(filter: &Filter, indexed_field: Option<&str>) -> Place {
    if let Some(key) = filter.single_key() {
        return Place::Key(key);
    }
    if let Some(value) = indexed_field.and_then(|field| filter.exact(field)) {
        return Place::Field(value.to_owned());
    }
    filter.namespace.clone().map_or(Place::All, Place::Namespace)
}

fn deliver_in(
    map: &mut HashMap<String, Vec<Watcher>>,
    key: &str,
    events: &[Arc<CacheEvent>],
    metrics: &Metrics,
) {
    if map.is_empty() {
        return;
    }
    if let Some(watchers) = map.get_mut(key) {
        deliver_to(watchers, events, metrics);
        if watchers.is_empty() {
            map.remove(key);
        }
    }
}

fn deliver_to(watchers: &mut Vec<Watcher>, events: &[Arc<CacheEvent>], metrics: &Metrics) {
    let (mut delivered, mut seen) = (0, Seen::default());
    watchers.retain(|watcher| {
        let events = seen.through(&watcher.filter, events);
        watcher.take(events, &mut delivered, metrics)
    });
    metrics.events_delivered.add(delivered);
}

/// Events as the last filter shows them, which is often the next watcher's as well.
#[derive(Default)]
struct Seen {
    filter: Option<Arc<Filter>>,
    /// With their revisions.
    events: Vec<(u64, WatchEvent)>,
}

impl Seen {
    fn through(&mut self, filter: &Arc<Filter>, events: &[Arc<CacheEvent>]) -> &[(u64, WatchEvent)] {
        let same = self.filter.as_ref().is_some_and(|last| Arc::ptr_eq(last, filter));
        if !same {
            self.filter = Some(Arc::clone(filter));
            self.events.clear();
            let seen = events
                .iter()
                .filter_map(|event| Some((event.revision, event.seen_through(filter)?)));
            self.events.extend(seen);
        }
        &self.events
    }
}

impl Watcher {
    /// Takes those that are for it, of events in order. False where it is to be forgotten.
    fn take(&self, events: &[(u64, WatchEvent)], delivered: &mut u64, metrics: &Metrics) -> bool {
        let begin = events.partition_point(|(revision, _)| *revision <= self.after);
        let new = &events[begin..];
        if new.is_empty() {
            return true;
        }
        match self.sender.send_all(new.iter().map(|(_, event)| event.clone())) {
            Ok(()) => {
                *delivered += new.len() as u64;
                true
            }
            Err(Refused::Closed) => false,
            Err(Refused::Full) => {
                metrics.watches_ended_slow.add(1);
                tracing::warn!(watcher = self.id, "ending a watch whose reader is too slow");
                false
            }
        }
    }
}

/// The place of the indexed field among the selectable ones.
pub(crate) fn indexed_place(strategy: &Arc<dyn crate::strategy::Strategy>) -> Option<usize> {
    let indexed = strategy.indexed_field()?;
    strategy
        .selectable_fields()
        .iter()
        .position(|field| *field == indexed)
}
