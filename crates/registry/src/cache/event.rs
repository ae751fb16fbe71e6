//! One change of one object, and what it is to a watcher with a selector.

use std::sync::{Arc, OnceLock};

use corten_meta::{Result, Status};

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

    /// An object that was there already.
    pub fn added(object: Object) -> Self {
        Self {
            revision: object.revision(),
            object: Some(object),
            previous: None,
            gone: OnceLock::new(),
        }
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
    pub fn seen_through(self: &Arc<Self>, filter: &Filter) -> Option<WatchEvent> {
        let now = self.object.as_ref().filter(|object| filter.matches(object));
        let before = self.previous.as_ref().filter(|object| filter.matches(object));
        match (now, before) {
            (None, None) => None,
            _ if filter.is_late() => Some(WatchEvent::Undecided(Undecided::new(self, filter))),
            // It is converted as it was stored: under this change's revision others may see another state of it.
            (None, Some(previous)) if filter.asks_about(previous) => {
                Some(WatchEvent::Undecided(Undecided::new(self, filter)))
            }
            (Some(object), None) => Some(WatchEvent::Added(object.clone())),
            (Some(object), Some(_)) => Some(WatchEvent::Modified(object.clone())),
            (None, Some(previous)) => Some(WatchEvent::Deleted(self.gone(previous))),
        }
    }
}

/// A change that a watcher's selector decides on when its objects are in the version of the watcher's handle, or that ends
/// what a webhook has to convert ([`crate::Resource::events_in_version`]).
#[derive(Clone, Debug)]
pub struct Undecided(Box<(Arc<CacheEvent>, Filter)>);

impl Undecided {
    fn new(event: &Arc<CacheEvent>, filter: &Filter) -> Self {
        Self(Box::new((Arc::clone(event), filter.clone())))
    }

    /// The last state of an object that is stored no more.
    pub fn deleted(&self) -> Option<&Object> {
        let (event, _) = &*self.0;
        event.previous.as_ref().filter(|_| event.object.is_none())
    }

    /// The object as stored, where what of the selector can be told already selects it.
    pub(crate) fn now(&self) -> Option<&Object> {
        let (event, filter) = &*self.0;
        event.object.as_ref().filter(|object| filter.matches(object))
    }

    /// The object before the change, likewise.
    pub(crate) fn before(&self) -> Option<&Object> {
        let (event, filter) = &*self.0;
        event.previous.as_ref().filter(|object| filter.matches(object))
    }

    /// What the watcher is told, given [`Undecided::now`] and [`Undecided::before`] in its handle's version.
    ///
    /// # Errors
    /// Where an object cannot be read.
    pub(crate) fn decide(&self, now: Option<Object>, before: Option<Object>) -> Result<Option<WatchEvent>> {
        let (event, filter) = &*self.0;
        let selected = |stored: Option<&Object>, converted: Option<Object>| match (stored, converted) {
            (Some(stored), Some(converted)) => {
                let selects = filter.selects_converted(stored, &converted)?;
                Ok::<_, Status>(Some(converted).filter(|_| selects))
            }
            _ => Ok(None),
        };
        let (now, before) = (selected(self.now(), now)?, selected(self.before(), before)?);
        Ok(match (now, before) {
            (Some(object), None) => Some(WatchEvent::Added(object)),
            (Some(object), Some(_)) => Some(WatchEvent::Modified(object)),
            (None, Some(previous)) => {
                let gone = previous.at_revision(event.revision);
                Some(WatchEvent::Deleted(gone))
            }
            (None, None) => None,
        })
    }
}
