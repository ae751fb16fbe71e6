//! From bytes to objects: JSON, YAML and protobuf, with upstream's errors.

mod object;
mod repeated;
mod settle;
pub mod syntax;
mod yaml;

use corten_meta::{GroupVersionKind, Status};
use serde::Deserialize as _;
use serde_json::Value;

pub use object::{Decoded, as_kind, as_stated, object, options};
pub use repeated::{Floats, json_repeated};
pub use settle::converts;
pub(crate) use yaml::{from_value as yaml_text, item as yaml_item_text};
pub use yaml::{repeated_key, to_value as yaml_value, whole};

use crate::wire;

/// The encodings that upstream reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Json,
    Yaml,
    Protobuf,
}

impl Media {
    /// From a `Content-Type`, parameters ignored; `None` for other types.
    pub fn parse(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json" => Some(Self::Json),
            "application/yaml" => Some(Self::Yaml),
            "application/vnd.kubernetes.protobuf" => Some(Self::Protobuf),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// Any JSON. The error is Go's text of the syntax error.
pub fn json_value(bytes: &[u8]) -> Result<Value, String> {
    with_json(bytes, |d| Value::deserialize(d).ok()).map(|value| value.unwrap_or(Value::Null))
}

/// Any YAML, read as upstream does (YAML 1.1 booleans and octals, whole floats as integers, keys as text).
pub fn yaml(bytes: &[u8]) -> corten_meta::Result<Value> {
    yaml::to_value(bytes).map_err(Status::bad_request)
}

/// An object in upstream's protobuf envelope, with the kind the envelope names.
pub fn protobuf(bytes: &[u8]) -> corten_meta::Result<(GroupVersionKind, Value)> {
    let envelope = wire::Envelope::read(bytes).map_err(|e| Status::bad_request(e.to_string()))?;
    let gvk = GroupVersionKind::from_api_version(&envelope.api_version, &envelope.kind)
        .map_err(Status::bad_request)?;
    let value = wire::decode(&gvk, envelope.raw).map_err(|e| Status::bad_request(e.to_string()))?;
    Ok((gvk, value))
}

/// The message of an object of a known kind, without an envelope.
pub fn protobuf_raw(gvk: &GroupVersionKind, message: &[u8]) -> corten_meta::Result<Value> {
    wire::decode(gvk, message).map_err(|e| Status::bad_request(e.to_string()))
}

/// Runs a reader over a whole document; text that does not parse is an error in Go's words.
fn with_json<T>(
    bytes: &[u8],
    read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::SliceRead<'_>>) -> Option<T>,
) -> Result<Option<T>, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = read(&mut deserializer);
    if value.is_some() && deserializer.end().is_ok() {
        return Ok(value);
    }
    match syntax::go_error(bytes) {
        Some(error) => Err(error),
        None => Err("json: the document nests too deeply or holds text that is not UTF-8".to_owned()),
    }
}
