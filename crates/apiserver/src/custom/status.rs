//! Writing the status of definitions, as the API server itself.

use std::time::SystemTime;

use corten_meta::Result;
use corten_meta::time::{self, Timestamp};
use corten_registry::{Registry, Resource, Subresource, UpdateOptions, WriteContext};
use serde_json::Value;

/// RFC 3339, whole seconds.
pub fn now() -> String {
    time::format(Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Writes what `change` makes of a definition, as its status.
pub async fn write_status(
    registry: &Registry,
    definitions: &Resource,
    name: &str,
    change: impl Fn(&Value) -> Result<Value> + Send + Sync,
) -> Result<()> {
    let ctx = WriteContext::of_server(SystemTime::now());
    let options = UpdateOptions::default();
    registry
        .update(&ctx, definitions, "", name, Subresource::STATUS, change, &options)
        .await
        .map(drop)
}
