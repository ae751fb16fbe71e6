//! Resources whose objects are stored in several versions side by side: those of CustomResourceDefinitions, whose stored
//! version changes while what was written before stays as it is.
//!
//! A handle ([`Resource`]) stands for one version. What leaves the registry through it is in that version; what enters
//! is written in the version that is stored now.

use async_trait::async_trait;
use corten_meta::Result;
use serde_json::Value;

use crate::converted::{self, lost};
use crate::object::Object;
use crate::registry::{Deleted, Updated};
use crate::resource::Resource;
use crate::watch::WatchEvent;

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
    /// A stored object in this handle's version.
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

    /// Stored objects in this handle's version. What a webhook makes of them is shared with all who ask through this
    /// handle.
    pub(crate) async fn all_in_version(&self, objects: Vec<Object>) -> Result<Vec<Object>> {
        match &self.versions {
            Some(_) if objects.iter().all(|object| self.has_version(object)) => Ok(objects),
            Some(versions) if versions.asks() => self.converted().all(versions, objects).await,
            Some(_) => {
                let at_once = |object| Ok(self.at_once_in_version(&object)?.unwrap_or(object));
                objects.into_iter().map(at_once).collect()
            }
            None => Ok(objects),
        }
    }

    /// In this handle's version what the store does not hold as it is: it is shared with nobody.
    pub(crate) async fn apart_in_version(&self, object: Object) -> Result<Object> {
        match &self.versions {
            Some(versions) if !self.has_version(&object) => {
                let converted = converted::each(versions.as_ref(), &[object]).await?;
                converted.into_iter().next().ok_or_else(lost)
            }
            _ => Ok(object),
        }
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

    /// What came of an update. `stored`: the object is what the store holds.
    pub(crate) async fn updated(&self, updated: Updated, stored: bool) -> Result<Updated> {
        Ok(Updated {
            object: self.written(updated.object, stored).await?,
            ..updated
        })
    }

    /// What came of a delete, likewise.
    pub(crate) async fn deleted(&self, deleted: Deleted, stored: bool) -> Result<Deleted> {
        Ok(Deleted {
            object: self.written(deleted.object, stored).await?,
            ..deleted
        })
    }

    /// What came of a write, likewise.
    pub(crate) async fn written(&self, object: Object, stored: bool) -> Result<Object> {
        if stored {
            self.in_version(object).await
        } else {
            self.apart_in_version(object).await
        }
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
