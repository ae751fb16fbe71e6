//! One change of one object, and what it is to a watcher with a selector.

use std::sync::OnceLock;

use crate::filter::Filter;
use crate::object::Object;
use crate::watch::WatchEvent;

/// Shared by every watcher of the change.
#[derive(Debug)]
pub(crate) struct CacheEvent {
    pub revision: u64,
    /// None: the object was deleted.
    object: Option<Object>,
    previous: Option<Object>,
    /// The previous object with this change's revision, made when the first watcher needs it.
    gone: OnceLock<Object>,
}

impl CacheEvent {
    /// None if nothing was there and nothing came.
    pub fn new(revision: u64, object: Option<Object>, previous: Option<Object>) -> Option<Self> {
        (object.is_some() || previous.is_some()).then(|| Self {
            revision,
            object,
            previous,
            gone: OnceLock::new(),
        })
    }

    /// The object, or the last state of a deleted one.
    pub fn newest(&self) -> &Object {
        match (&self.object, &self.previous) {
            (Some(object), _) => object,
            (None, Some(previous)) => previous,
            (None, None) => unreachable!("an event has an object or a previous one"),
        }
    }

    /// A field's value after and before.
    pub fn field(&self, at: usize) -> (Option<&str>, Option<&str>) {
        (
            self.object.as_ref().and_then(|object| object.field(at)),
            self.previous.as_ref().and_then(|object| object.field(at)),
        )
    }

    /// The bytes this event keeps alive.
    pub fn bytes(&self) -> usize {
        self.newest().json().len()
    }

    fn gone(&self, previous: &Object) -> Object {
        let gone = self.gone.get_or_init(|| previous.at_revision(self.revision));
        gone.clone()
    }

    /// What a watcher with this filter is told: objects that begin to match are added, those that cease to are deleted.
    pub fn seen_through(&self, filter: &Filter) -> Option<WatchEvent> {
        let now = self.object.as_ref().filter(|object| filter.matches(object));
        let before = self.previous.as_ref().filter(|object| filter.matches(object));
        match (now, before) {
            (Some(object), None) => Some(WatchEvent::Added(object.clone())),
            (Some(object), Some(_)) => Some(WatchEvent::Modified(object.clone())),
            (None, Some(previous)) => Some(WatchEvent::Deleted(self.gone(previous))),
            (None, None) => None,
        }
    }
}
