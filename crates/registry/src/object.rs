//! A stored object as the bytes clients receive.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};

use bytes::Bytes;
use corten_meta::{Result, Status, object};
use serde_json::Value;

use crate::encode::Encoded;

/// Labels as selectors read them: sorted by key, in one allocation, because every object in the cache has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    pub(crate) fn from_map(labels: BTreeMap<Cow<'_, str>, Cow<'_, str>>) -> Self {
        Self(
            labels
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }

    pub(crate) fn of(object: &Value) -> Self {
        let mut entries: Box<[_]> = object::label_entries(object)
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        entries.sort_unstable();
        Self(entries)
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self
            .0
            .binary_search_by(|(known, _)| known.as_ref().cmp(key))
            .ok()?;
        self.0.get(at).map(|(_, value)| value.as_ref())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value.as_ref()))
    }
}

/// One object at one revision. Cheap to share; never changes.
#[derive(Debug)]
pub struct Object {
    /// `namespace/name`, or `name` for cluster-scoped objects: the store key without its prefix.
    pub key: Arc<str>,
    /// JSON with the resourceVersion in it.
    pub bytes: Bytes,
    /// The store revision that wrote it; for a deleted object, that removed it. 0 if it was not written (dry run).
    pub revision: u64,
    pub labels: Labels,
    /// Values of the strategy's selectable fields, in its order.
    pub fields: Arc<[String]>,
    /// Where the resourceVersion member begins and ends in `bytes`, its comma included.
    version_span: (usize, usize),
    /// Boxed: most objects never have one.
    protobuf: OnceLock<Box<Bytes>>,
}

impl Object {
    /// The object as the store's revision `revision`; 0 leaves the resourceVersion out.
    pub(crate) fn new(
        key: Arc<str>,
        encoded: &Encoded,
        revision: u64,
        labels: Labels,
        fields: Arc<[String]>,
    ) -> Self {
        let (head, tail) = encoded.bytes.split_at(encoded.version_at);
        let (bytes, version_span) = splice(head, revision, tail);
        Self {
            key,
            bytes,
            revision,
            labels,
            fields,
            version_span,
            protobuf: OnceLock::new(),
        }
    }

    /// The same content with another resourceVersion: what a watcher sees of a deleted object.
    pub(crate) fn at_revision(&self, revision: u64) -> Self {
        let (head, tail) = self.stored_parts();
        let (bytes, version_span) = splice(head, revision, tail);
        Self {
            key: Arc::clone(&self.key),
            bytes,
            revision,
            labels: self.labels.clone(),
            fields: Arc::clone(&self.fields),
            version_span,
            protobuf: OnceLock::new(),
        }
    }

    /// The same object in another version.
    pub(crate) fn converted(&self, value: &Value) -> Result<Self> {
        let encoded = crate::encode::encode(value)?;
        let (key, labels, fields) = (Arc::clone(&self.key), Labels::of(value), Arc::clone(&self.fields));
        Ok(Self::new(key, &encoded, self.revision, labels, fields))
    }

    /// A bookmark: kind, version and annotations, no content.
    pub(crate) fn bookmark(bytes: Bytes, revision: u64) -> Self {
        Self {
            key: Arc::from(""),
            bytes,
            revision,
            labels: Labels::default(),
            fields: no_fields(),
            version_span: (0, 0),
            protobuf: OnceLock::new(),
        }
    }

    fn stored_parts(&self) -> (&[u8], &[u8]) {
        (
            &self.bytes[..self.version_span.0],
            &self.bytes[self.version_span.1..],
        )
    }

    /// Whether the store holds exactly these bytes for it.
    pub(crate) fn is_stored_as(&self, stored: &[u8]) -> bool {
        let (head, tail) = self.stored_parts();
        stored.len() == head.len() + tail.len() && stored.starts_with(head) && stored.ends_with(tail)
    }

    /// The metadata as JSON, cut out of the object without reading the rest; `None` for bookmarks.
    pub fn metadata(&self) -> Option<Bytes> {
        let begin = self.version_span.0.checked_sub(1)?;
        let end = corten_meta::scan::value_end(&self.bytes, begin)?;
        Some(self.bytes.slice(begin..end))
    }

    /// Empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.key.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    pub fn name(&self) -> &str {
        self.key.split_once('/').map_or(&self.key, |(_, name)| name)
    }

    /// The object parsed, resourceVersion included.
    pub fn value(&self) -> Result<Value> {
        serde_json::from_slice(&self.bytes)
            .map_err(|error| Status::internal(format!("stored object {:?} is not JSON: {error}", self.key)))
    }

    /// The protobuf form: encoded by the first caller, shared by the others.
    pub fn protobuf(&self, encode: impl FnOnce(&Bytes) -> Result<Bytes>) -> Result<Bytes> {
        if let Some(bytes) = self.protobuf.get() {
            return Ok(Bytes::clone(bytes));
        }
        let bytes = encode(&self.bytes)?;
        Ok(Bytes::clone(self.protobuf.get_or_init(|| Box::new(bytes))))
    }
}

fn splice(head: &[u8], revision: u64, tail: &[u8]) -> (Bytes, (usize, usize)) {
    let member = match revision {
        0 => String::new(),
        revision => format!("\"resourceVersion\":\"{revision}\","),
    };
    // To the byte: the cache holds these for long.
    let mut bytes = Vec::with_capacity(head.len() + member.len() + tail.len());
    bytes.extend_from_slice(head);
    bytes.extend_from_slice(member.as_bytes());
    bytes.extend_from_slice(tail);
    (bytes.into(), (head.len(), head.len() + member.len()))
}

/// The fields of objects that have none.
pub(crate) fn no_fields() -> Arc<[String]> {
    static NONE: LazyLock<Arc<[String]>> = LazyLock::new(|| Arc::new([]));
    Arc::clone(&NONE)
}
