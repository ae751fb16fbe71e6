//! Resources whose objects are stored in several versions side by side: those of CustomResourceDefinitions, whose stored
//! version changes while what was written before stays as it is.
//!
//! A handle ([`Resource`]) stands for one version. What leaves the registry through it is in that version; what enters
//! is written in the version that is stored now.

use std::collections::VecDeque;

use async_trait::async_trait;
use corten_meta::{Result, Status};
use serde_json::Value;

use crate::object::Object;
use crate::registry::{Deleted, Updated};
use crate::resource::Resource;
use crate::watch::WatchEvent;

/// Objects that are sent to a webhook in one review at most; further ones are sent when their answer is there.
pub(crate) const CONVERTED_TOGETHER: usize = 500;
/// A review that holds so many bytes of objects takes no further one.
const CONVERTED_TOGETHER_BYTES: usize = 8 << 20;

/// Conversion between the versions of one resource, as seen from the version of one handle.
#[async_trait]
pub trait Versions: Send + Sync {
    /// `"kind":"Foo","apiVersion":"g/v"` as stored bytes of this handle's version begin, with the brace before and the
    /// comma after: such objects need no conversion.
    fn head(&self) -> &[u8];

    /// What the store holds, as its own version's schema has it today: pruned, defaults filled in. `None` where that
    /// changes nothing.
    fn read(&self, stored: &Value) -> Option<Value>;

    /// Conversion asks a webhook. Otherwise versions differ in their name alone, and
    /// [`Versions::to_served_at_once`] converts too.
    fn asks(&self) -> bool;

    /// An object in any version in this handle's, where that asks nobody.
    ///
    /// # Errors
    /// Where it does, and where the object does not fit.
    fn to_served_at_once(&self, object: Value) -> Result<Value>;

    /// Objects in any version, each in this handle's.
    ///
    /// # Errors
    /// Where a webhook fails or gives something else.
    async fn to_served(&self, objects: Vec<Value>) -> Result<Vec<Value>>;

    /// An object of this handle's version in the version that is stored.
    ///
    /// # Errors
    /// As [`Versions::to_served`].
    async fn to_stored(&self, object: Value) -> Result<Value>;

    /// Every `apiVersion` of the definition in its order, served or not, of which the subresource (empty: the object
    /// itself) exists.
    fn all(&self, subresource: &str) -> Vec<String>;

    /// An object of any version in one of [`Versions::all`].
    ///
    /// # Errors
    /// As [`Versions::to_served`].
    async fn to_version(&self, object: Value, api_version: &str) -> Result<Value>;

    /// The object with a configuration of its version merged into it, lists and maps as that version's schema has them.
    ///
    /// # Errors
    /// What does not fit the schema, in upstream's words.
    fn overlay(&self, object: &Value, configuration: &Value) -> std::result::Result<Value, String>;
}

impl Resource {
    /// An object in this handle's version.
    pub(crate) async fn in_version(&self, object: Object) -> Result<Object> {
        if self.has_version(&object) {
            return Ok(object);
        }
        let converted = self.all_in_version(vec![object]).await?;
        converted.into_iter().next().ok_or_else(lost)
    }

    pub(crate) fn has_version(&self, object: &Object) -> bool {
        self.versions
            .as_ref()
            .is_none_or(|versions| object.json().starts_with(versions.head()))
    }

    /// Conversion to this handle's version asks a webhook.
    pub(crate) fn asks(&self) -> bool {
        self.versions.as_ref().is_some_and(|versions| versions.asks())
    }

    /// An object in this handle's version where it is in another and conversion asks nobody; `None` where it is in it.
    pub(crate) fn at_once_in_version(&self, object: &Object) -> Result<Option<Object>> {
        match &self.versions {
            Some(versions) if !self.has_version(object) => {
                let value = versions.to_served_at_once(object.value()?)?;
                Ok(Some(object.converted(&value)?))
            }
            _ => Ok(None),
        }
    }

    /// Objects in this handle's version; those of another one are converted together, as many as the bounds let.
    pub(crate) async fn all_in_version(&self, mut objects: Vec<Object>) -> Result<Vec<Object>> {
        let Some(versions) = &self.versions else {
            return Ok(objects);
        };
        let mut others = (0..objects.len())
            .filter(|at| !self.has_version(&objects[*at]))
            .collect::<VecDeque<usize>>();
        while !others.is_empty() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while let Some(at) = others.front()
                && batch.len() < CONVERTED_TOGETHER
                && bytes < CONVERTED_TOGETHER_BYTES
            {
                bytes += objects[*at].json().len();
                batch.extend(others.pop_front());
            }
            let values = batch
                .iter()
                .map(|at| objects[*at].value())
                .collect::<Result<Vec<_>>>()?;
            let converted = versions.to_served(values).await?;
            if converted.len() != batch.len() {
                return Err(lost());
            }
            for (at, value) in batch.into_iter().zip(converted) {
                objects[at] = objects[at].converted(&value)?;
            }
        }
        Ok(objects)
    }

    /// The events of a watch in this handle's version, without those that turn out not to be for it. Bookmarks and
    /// errors hold no object.
    ///
    /// # Errors
    /// Where an object cannot be converted.
    pub async fn events_in_version(&self, events: Vec<WatchEvent>) -> Result<Vec<WatchEvent>> {
        if self.versions.is_none() {
            return Ok(events);
        }
        let objects = events.iter().flat_map(objects_of).cloned().collect();
        let mut converted = self.all_in_version(objects).await?.into_iter();
        let mut next = || converted.next().ok_or_else(lost);
        let mut out = Vec::with_capacity(events.len());
        for event in events {
            out.extend(match event {
                WatchEvent::Added(_) => Some(WatchEvent::Added(next()?)),
                WatchEvent::Modified(_) => Some(WatchEvent::Modified(next()?)),
                WatchEvent::Deleted(_) => Some(WatchEvent::Deleted(next()?)),
                WatchEvent::Undecided(change) => {
                    let now = change.now().map(|_| next()).transpose()?;
                    let before = change.before().map(|_| next()).transpose()?;
                    change.decide(now, before)?
                }
                other => Some(other),
            });
        }
        Ok(out)
    }

    /// A stored object parsed, in this handle's version.
    pub(crate) async fn value_of(&self, object: &Object) -> Result<Value> {
        match &self.versions {
            None => object.value(),
            Some(_) => self.in_version(object.clone()).await?.value(),
        }
    }

    pub(crate) async fn updated(&self, updated: Updated) -> Result<Updated> {
        Ok(Updated {
            object: self.in_version(updated.object).await?,
            ..updated
        })
    }

    pub(crate) async fn deleted(&self, deleted: Deleted) -> Result<Deleted> {
        Ok(Deleted {
            object: self.in_version(deleted.object).await?,
            ..deleted
        })
    }
}

/// What of an event is to be converted.
fn objects_of(event: &WatchEvent) -> impl Iterator<Item = &Object> {
    let (one, other) = match event {
        WatchEvent::Undecided(change) => (change.now(), change.before()),
        WatchEvent::Bookmark(_) => (None, None),
        event => (event.object(), None),
    };
    one.into_iter().chain(other)
}

fn lost() -> Status {
    Status::internal("a conversion did not give as many objects as it was given")
}
