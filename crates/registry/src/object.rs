//! A stored object as the bytes clients receive.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use corten_meta::{Result, Status};
use serde_json::Value;

/// Labels as selectors read them.
pub type Labels = BTreeMap<String, String>;

/// One object at one revision. Cheap to share; never changes.
#[derive(Debug)]
pub struct Object {
    /// `namespace/name`, or `name` for cluster-scoped objects: the store key without its prefix.
    pub key: Arc<str>,
    /// JSON with the resourceVersion in it.
    pub bytes: Bytes,
    /// The store revision that wrote it; for a deleted object, that removed it.
    pub revision: u64,
    pub labels: Labels,
    /// Values of the strategy's selectable fields, in its order.
    pub fields: Box<[String]>,
    /// Where the resourceVersion member begins and ends in `bytes`, its comma included.
    pub(crate) version_span: (u32, u32),
    protobuf: OnceLock<Bytes>,
}

impl Object {
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
            return Ok(bytes.clone());
        }
        let bytes = encode(&self.bytes)?;
        Ok(self.protobuf.get_or_init(|| bytes).clone())
    }
}
