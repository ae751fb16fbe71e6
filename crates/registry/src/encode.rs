//! Objects as they are stored: JSON without a resourceVersion, and where it goes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use corten_meta::{Result, Status};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::object::{Labels, Object, Selected};
use crate::resource::ResourceInfo;

const METADATA: &[u8] = b"\"metadata\":{";

/// The stored form. Type and metadata come first, so that the resourceVersion's place is near the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub bytes: Bytes,
    /// Where the resourceVersion member goes, with a comma behind it.
    pub version_at: usize,
}

/// Encodes an object; a resourceVersion in it is left out.
pub(crate) fn encode(value: &Value) -> Result<Encoded> {
    let not_an_object = || Status::internal("only objects with metadata can be stored");
    let map = value.as_object().ok_or_else(not_an_object)?;
    let metadata = map
        .get("metadata")
        .and_then(Value::as_object)
        .ok_or_else(not_an_object)?;
    if !metadata.keys().any(|key| key != "resourceVersion") {
        return Err(not_an_object());
    }
    let mut out = Vec::with_capacity(1024);
    out.push(b'{');
    for key in ["kind", "apiVersion"] {
        if let Some(value) = map.get(key) {
            member(&mut out, key, value)?;
            out.push(b',');
        }
    }
    out.extend_from_slice(METADATA);
    let version_at = out.len();
    members(&mut out, metadata, |key| key != "resourceVersion")?;
    out.push(b'}');
    let rest = |key: &str| !matches!(key, "kind" | "apiVersion" | "metadata");
    if map.keys().any(|key| rest(key)) {
        out.push(b',');
        members(&mut out, map, rest)?;
    }
    out.push(b'}');
    Ok(Encoded {
        bytes: out.into(),
        version_at,
    })
}

fn members(out: &mut Vec<u8>, map: &Map<String, Value>, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let mut first = true;
    for (key, value) in map.iter().filter(|(key, _)| wanted(key)) {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        member(out, key, value)?;
    }
    Ok(())
}

fn member(out: &mut Vec<u8>, key: &str, value: &Value) -> Result<()> {
    let failed = |error| Status::internal(format!("encoding an object failed: {error}"));
    serde_json::to_writer(&mut *out, key).map_err(failed)?;
    out.push(b':');
    serde_json::to_writer(&mut *out, value).map_err(failed)
}

/// Of a stored object what selectors can ask for.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: HeadMetadata<'a>,
}

#[derive(Deserialize)]
struct HeadMetadata<'a> {
    #[serde(borrow)]
    labels: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
}

/// What selectors need of an object, found once where the object is at hand as a value; travels with the write to the
/// watch cache, which then need not parse it again.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub key: Arc<str>,
    pub encoded: Encoded,
    selected: Option<Arc<Selected>>,
    object: OnceLock<Object>,
}

impl Prepared {
    pub fn new(resource: &ResourceInfo, key: Arc<str>, value: &Value) -> Result<Self> {
        let encoded = encode(value)?;
        Ok(Self::with(resource, key, value, encoded))
    }

    fn with(resource: &ResourceInfo, key: Arc<str>, value: &Value, encoded: Encoded) -> Self {
        let selected = Selected::new(Labels::of(value), resource.strategy.field_values(value));
        Self {
            key,
            encoded,
            selected,
            object: OnceLock::new(),
        }
    }

    /// From the store's bytes. Objects that someone else wrote are brought into our form.
    pub fn parse(resource: &ResourceInfo, key: Arc<str>, bytes: &Bytes) -> Result<Self> {
        let damaged = |error| Status::internal(format!("object {key:?} in the store is not JSON: {error}"));
        if resource.versions.is_none()
            && resource.strategy.selectable_fields().is_empty()
            && let Some(version_at) = place_in(bytes)
        {
            // All of it is checked, but only the labels are kept: a start reads every object.
            let head: Head<'_> = serde_json::from_slice(bytes).map_err(damaged)?;
            return Ok(Self {
                key,
                encoded: Encoded {
                    bytes: bytes.clone(),
                    version_at,
                },
                selected: Selected::new(
                    Labels::from_map(head.metadata.labels.unwrap_or_default()),
                    Vec::new(),
                ),
                object: OnceLock::new(),
            });
        }
        let value: Value = serde_json::from_slice(bytes).map_err(damaged)?;
        if let Some(read) = resource.versions.as_ref().and_then(|v| v.read(&value)) {
            return Self::new(resource, key, &read);
        }
        let encoded = match place_in(bytes) {
            Some(version_at) => Encoded {
                bytes: bytes.clone(),
                version_at,
            },
            None => encode(&value)?,
        };
        Ok(Self::with(resource, key, &value, encoded))
    }

    /// The object at the revision the store gave it: built by whoever comes first, writer or watch cache.
    pub fn object(&self, revision: u64) -> Object {
        let build = || Object::new(&self.key, &self.encoded, revision, self.selected.clone());
        self.object.get_or_init(build).clone()
    }
}

/// Where the members of the metadata begin in bytes that [`encode`] made: kinds and versions contain no quotes, so the first
/// `"metadata":{` is the object's own.
pub(crate) fn metadata_at(bytes: &[u8]) -> Option<usize> {
    Some(memchr::memmem::find(bytes, METADATA)? + METADATA.len())
}

/// The resourceVersion's place in bytes that [`encode`] made.
fn place_in(bytes: &[u8]) -> Option<usize> {
    if !bytes.starts_with(b"{\"kind\":") && !bytes.starts_with(b"{\"apiVersion\":") {
        return None;
    }
    let at = metadata_at(&bytes[..bytes.len().min(512)])?;
    // Ours has a member next, and no resourceVersion anywhere in the metadata: it would be a foreign writer's.
    (bytes.get(at) == Some(&b'"') && !bytes[at..].starts_with(b"\"resourceVersion\"")).then_some(at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_version_is_spliced_into_the_metadata() {
        let value = json!({"data": {"a": "\"metadata\":{"}, "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "x", "resourceVersion": "7"}});
        let encoded = encode(&value).unwrap();
        let text =
            r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"},"data":{"a":"\"metadata\":{"}}"#;
        assert_eq!(encoded.bytes, text);
        assert_eq!(place_in(&encoded.bytes), Some(encoded.version_at));
        let object = Object::new("x", &encoded, 12, None);
        let mut want = value;
        want["metadata"]["resourceVersion"] = json!("12");
        assert_eq!(object.value().unwrap(), want);
        assert!(object.is_stored_as(&encoded.bytes));
        assert_eq!(
            object.metadata().unwrap(),
            br#"{"resourceVersion":"12","name":"x"}"#
        );
        let later = object.at_revision(13);
        assert_eq!(later.value().unwrap()["metadata"]["resourceVersion"], "13");
        assert!(later.is_stored_as(&encoded.bytes));
    }

    #[test]
    fn foreign_bytes_are_not_taken_for_ours() {
        assert_eq!(place_in(br#"{"metadata":{"name":"x"},"kind":"A"}"#), None);
        assert_eq!(
            place_in(br#"{"kind":"A","metadata":{"resourceVersion":"1","name":"x"}}"#),
            None
        );
    }
}
