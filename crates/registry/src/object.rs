//! A stored object as the bytes clients receive.

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use corten_meta::{Result, Status, object};
use serde_json::Value;
use triomphe::ThinArc;

use crate::encode::{self, Encoded};
use crate::encodings::Encoding;

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

/// What selectors can ask for of an object beside its name.
#[derive(Debug)]
pub(crate) struct Selected {
    labels: Labels,
    /// Values of the strategy's selectable fields, in its order.
    fields: Box<[String]>,
}

impl Selected {
    /// None for an object that has neither: most objects of most kinds.
    pub fn new(labels: Labels, fields: Vec<String>) -> Option<Arc<Self>> {
        let nothing = labels.0.is_empty() && fields.is_empty();
        (!nothing).then(|| {
            let fields = fields.into();
            Arc::new(Self { labels, fields })
        })
    }
}

/// One object at one revision. Never changes, and is cheap to clone: a pointer to the one allocation that holds all of it,
/// because there are as many of these as the cluster has objects.
#[derive(Clone)]
pub struct Object(ThinArc<Head, u8>);

/// Behind the JSON, as Go's encoder ends an object.
const NEWLINE: &[u8] = b"\n";

/// What stands before the key and the JSON.
struct Head {
    revision: u64,
    selected: Option<Arc<Selected>>,
    key_length: u32,
    /// Of the JSON as an item of a protobuf list; 0 until it is asked for.
    protobuf_length: AtomicU32,
    protobuf: Encoding,
}

impl Head {
    /// Of an object without key and version.
    fn at(revision: u64) -> Self {
        Self {
            revision,
            selected: None,
            key_length: 0,
            protobuf_length: AtomicU32::new(0),
            protobuf: Encoding::default(),
        }
    }
}

impl Object {
    /// The object as the store's revision `revision`; 0 leaves the resourceVersion out.
    pub(crate) fn new(key: &str, encoded: &Encoded, revision: u64, selected: Option<Arc<Selected>>) -> Self {
        let parts = encoded.bytes.split_at(encoded.version_at);
        Self::assemble(key, parts, revision, selected)
    }

    fn assemble(
        key: &str,
        (head, tail): (&[u8], &[u8]),
        revision: u64,
        selected: Option<Arc<Selected>>,
    ) -> Self {
        let member = version_member(revision);
        let content = [key.as_bytes(), head, member.as_bytes(), tail, NEWLINE].concat();
        let head = Head {
            // Bounded by the length of names.
            key_length: u32::try_from(key.len()).unwrap_or(u32::MAX),
            selected,
            ..Head::at(revision)
        };
        Self(ThinArc::from_header_and_slice(head, &content))
    }

    /// The same content with another resourceVersion: what a watcher sees of a deleted object.
    pub(crate) fn at_revision(&self, revision: u64) -> Self {
        let selected = self.head().selected.clone();
        Self::assemble(self.key(), self.stored_parts(), revision, selected)
    }

    /// The same object in another version.
    pub(crate) fn converted(&self, value: &Value) -> Result<Self> {
        let encoded = encode::encode(value)?;
        let fields = self.head().selected.as_ref().map(|own| own.fields.to_vec());
        let selected = Selected::new(Labels::of(value), fields.unwrap_or_default());
        Ok(Self::new(self.key(), &encoded, self.revision(), selected))
    }

    /// A bookmark: kind, version and annotations, no content.
    pub(crate) fn bookmark(json: &[u8], revision: u64) -> Self {
        let content = [json, NEWLINE].concat();
        Self(ThinArc::from_header_and_slice(Head::at(revision), &content))
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }

    /// `namespace/name`, or `name` for cluster-scoped objects: the store key without its prefix.
    pub fn key(&self) -> &str {
        // It was one when it was put in.
        std::str::from_utf8(self.key_bytes()).unwrap_or_default()
    }

    pub(crate) fn key_bytes(&self) -> &[u8] {
        &self.0.slice[..self.head().key_length as usize]
    }

    /// JSON with the resourceVersion in it.
    pub fn json(&self) -> &[u8] {
        let line = self.line_bytes();
        &line[..line.len() - NEWLINE.len()]
    }

    fn line_bytes(&self) -> &[u8] {
        &self.0.slice[self.head().key_length as usize..]
    }

    /// The JSON as a buffer that keeps the object alive.
    pub fn bytes(&self) -> Bytes {
        let mut bytes = self.line();
        bytes.truncate(self.json().len());
        bytes
    }

    /// The same with a newline behind it: what a client that asks for the object gets.
    pub fn line(&self) -> Bytes {
        Bytes::from_owner(Line(self.clone()))
    }

    /// The store revision that wrote it; for a deleted object, that removed it. 0 if it was not written (dry run).
    pub fn revision(&self) -> u64 {
        self.head().revision
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.head().selected.as_ref()?.labels.get(key)
    }

    /// The value of the strategy's selectable field at a place in its list.
    pub fn field(&self, at: usize) -> Option<&str> {
        let selected = self.head().selected.as_ref()?;
        selected.fields.get(at).map(String::as_str)
    }

    /// What stands before the resourceVersion member and behind it, its comma included.
    fn stored_parts(&self) -> (&[u8], &[u8]) {
        let (json, at) = (self.json(), self.version_at());
        let (head, tail) = json.split_at(at);
        let member = version_member(self.revision());
        (head, tail.strip_prefix(member.as_bytes()).unwrap_or(tail))
    }

    /// Where its metadata's members begin. They are looked for rather than noted: there are many objects, and few are asked.
    fn version_at(&self) -> usize {
        encode::metadata_at(self.json()).unwrap_or(0)
    }

    /// Whether the store holds exactly these bytes for it.
    pub(crate) fn is_stored_as(&self, stored: &[u8]) -> bool {
        let (head, tail) = self.stored_parts();
        stored.len() == head.len() + tail.len() && stored.starts_with(head) && stored.ends_with(tail)
    }

    /// The metadata as JSON, cut out of the object without reading the rest; `None` for bookmarks.
    pub fn metadata(&self) -> Option<&[u8]> {
        // Bookmarks have no key.
        let json = Some(self.json()).filter(|_| self.head().key_length > 0)?;
        let begin = self.version_at().checked_sub(1)?;
        let end = corten_meta::scan::value_end(json, begin)?;
        json.get(begin..end)
    }

    /// Empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.key().split_once('/').map_or("", |(namespace, _)| namespace)
    }

    pub fn name(&self) -> &str {
        let key = self.key();
        key.split_once('/').map_or(key, |(_, name)| name)
    }

    /// The object parsed, resourceVersion included.
    pub fn value(&self) -> Result<Value> {
        let damaged =
            |error| Status::internal(format!("stored object {:?} is not JSON: {error}", self.key()));
        serde_json::from_slice(self.json()).map_err(damaged)
    }

    /// The protobuf form: encoded by the first caller, shared by the others while it is kept.
    pub fn protobuf(&self, encode: impl FnOnce(&[u8]) -> Result<Bytes>) -> Result<Bytes> {
        self.head().protobuf.get_or(|| encode(self.json()))
    }

    /// How long the object is as an item of a protobuf list: measured once.
    pub fn protobuf_length(&self, measure: impl FnOnce() -> Result<usize>) -> Result<usize> {
        let known = &self.head().protobuf_length;
        match known.load(Relaxed) {
            0 => {
                let length = measure()?;
                known.store(u32::try_from(length).unwrap_or(0), Relaxed);
                Ok(length)
            }
            length => Ok(length as usize),
        }
    }
}

/// The member that tells the revision; nothing of an object that was not written.
fn version_member(revision: u64) -> String {
    match revision {
        0 => String::new(),
        revision => format!("\"resourceVersion\":\"{revision}\","),
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.key(), self.revision())
    }
}

/// Objects are found, and stand in their order, by key.
impl Borrow<[u8]> for Object {
    fn borrow(&self) -> &[u8] {
        self.key_bytes()
    }
}

impl Ord for Object {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key_bytes().cmp(other.key_bytes())
    }
}

impl PartialOrd for Object {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Object {}

/// The line of an object that is held for it.
struct Line(Object);

impl AsRef<[u8]> for Line {
    fn as_ref(&self) -> &[u8] {
        self.0.line_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There are as many of these as objects: count and length of the allocation come to it, then key and JSON.
    #[test]
    fn little_stands_before_the_json() {
        assert_eq!(size_of::<Head>(), 32);
    }
}
