//! Writing the status of definitions, as the API server itself.

use std::time::SystemTime;

use corten_meta::time::{self, Timestamp};
use corten_meta::{GroupVersionKind, Result};
use corten_registry::{Registry, Resource, Subresource, UpdateOptions, WriteContext};
use corten_schema::apply;
use serde_json::Value;

use crate::apply::SERVER;

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
    let user = corten_registry::User {
        name: "system:apiserver".to_owned(),
        groups: vec!["system:masters".to_owned()],
        ..Default::default()
    };
    let ctx = WriteContext::new(user, SystemTime::now()).with_field_manager(SERVER);
    let gvk = GroupVersionKind::new(super::GROUP, "v1", "CustomResourceDefinition");
    let now = now();
    let change = |live: &Value| {
        let mut wanted = change(live)?;
        let write = apply::Write {
            gvk: &gvk,
            manager: SERVER,
            subresource: "status",
            now: &now,
            reset: apply::reset_fields(&gvk, "status", true),
        };
        apply::update(&write, Some(live), &mut wanted);
        Ok(wanted)
    };
    let options = UpdateOptions::default();
    registry
        .update(&ctx, definitions, "", name, Subresource::STATUS, change, &options)
        .await
        .map(drop)
}
