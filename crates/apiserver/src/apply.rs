//! Server-side apply.

use bytes::Bytes;
use corten_meta::Status;
use serde_json::Value;

use crate::call::Call;
use crate::catalog::Served;
use crate::options::WriteOptions;

const PATCH_TYPES: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// Applies a configuration to the current object.
///
/// # Errors
/// 415 until the schema crate can merge by field ownership.
pub fn apply(
    _call: &Call,
    _served: &Served,
    _current: Value,
    _configuration: &Value,
    _raw: &Bytes,
    _options: &WriteOptions,
) -> Result<Value, Status> {
    Err(Status::unsupported_media_type(&PATCH_TYPES))
}
