//! Resources whose objects are stored in several versions side by side: those of CustomResourceDefinitions, whose stored
//! version changes while what was written before stays as it is.
//!
//! A handle ([`Resource`]) stands for one version. What leaves the registry through it is in that version; what enters
//! is written in the version that is stored now.

use async_trait::async_trait;
use corten_meta::{Result, Status};
use serde_json::Value;

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

    fn has_version(&self, object: &Object) -> bool {
        self.versions
            .as_ref()
            .is_none_or(|versions| object.json().starts_with(versions.head()))
    }

    /// Objects in this handle's version; those of another one are converted together.
    pub(crate) async fn all_in_version(&self, mut objects: Vec<Object>) -> Result<Vec<Object>> {
        let Some(versions) = &self.versions else {
            return Ok(objects);
        };
        let others: Vec<usize> = (0..objects.len())
            .filter(|at| !self.has_version(&objects[*at]))
            .collect();
        if others.is_empty() {
            return Ok(objects);
        }
        let values = others
            .iter()
            .map(|at| objects[*at].value())
            .collect::<Result<Vec<_>>>()?;
        let converted = versions.to_served(values).await?;
        if converted.len() != others.len() {
            return Err(lost());
        }
        for (at, value) in others.into_iter().zip(converted) {
            objects[at] = objects[at].converted(&value)?;
        }
        Ok(objects)
    }

    /// The events of a watch in this handle's version. Bookmarks and errors hold no object.
    ///
    /// # Errors
    /// Where an object cannot be converted.
    pub async fn events_in_version(&self, events: Vec<WatchEvent>) -> Result<Vec<WatchEvent>> {
        if self.versions.is_none() {
            return Ok(events);
        }
        let mut out = Vec::with_capacity(events.len());
        for event in events {
            out.push(match event {
                WatchEvent::Added(object) => WatchEvent::Added(self.in_version(object).await?),
                WatchEvent::Modified(object) => WatchEvent::Modified(self.in_version(object).await?),
                WatchEvent::Deleted(object) => WatchEvent::Deleted(self.in_version(object).await?),
                other => other,
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

fn lost() -> Status {
    Status::internal("a conversion did not give as many objects as it was given")
}
