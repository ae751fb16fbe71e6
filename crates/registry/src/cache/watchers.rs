//! Who watches what: an index, so that an event costs its own watchers and no others.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::event::CacheEvent;
use crate::filter::Filter;
use crate::metrics::Metrics;
use crate::watch::WatchEvent;

/// Events waiting for one watcher; one that has so many unread is ended, as upstream ends it.
pub(crate) const WATCH_BUFFER: corten_stdx::queue::Bound =
    corten_stdx::queue::Bound::new("watch-events", 4096);

struct Watcher {
    id: u64,
    filter: Filter,
    /// Events up to here are not for it.
    after: u64,
    sender: mpsc::Sender<WatchEvent>,
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
    ) -> mpsc::Receiver<WatchEvent> {
        let (sender, receiver) = WATCH_BUFFER.channel();
        let place = place(&filter, indexed_field);
        self.next_id += 1;
        let watcher = Watcher {
            id: self.next_id,
            filter,
            after,
            sender,
        };
        match place {
            Place::All => self.all.push(watcher),
            Place::Namespace(namespace) => self.by_namespace.entry(namespace).or_default().push(watcher),
            Place::Key(key) => self.by_key.entry(key).or_default().push(watcher),
            Place::Field(value) => self.by_field.entry(value).or_default().push(watcher),
        }
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
    let mut delivered = 0;
    watchers.retain(|watcher| {
        events
            .iter()
            .all(|event| watcher.take(event, &mut delivered, metrics))
    });
    metrics.events_delivered.add(delivered);
}

impl Watcher {
    /// Takes an event that is for it. False where it is to be forgotten.
    fn take(&self, event: &Arc<CacheEvent>, delivered: &mut u64, metrics: &Metrics) -> bool {
        if event.revision <= self.after {
            return true;
        }
        let Some(watch_event) = event.seen_through(&self.filter) else {
            return true;
        };
        match self.sender.try_send(watch_event) {
            Ok(()) => {
                *delivered += 1;
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
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
