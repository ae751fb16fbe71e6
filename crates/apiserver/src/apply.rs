//! Field ownership: every write records who wrote what, and server-side apply merges by it. The algorithm is the schema's.

use corten_auth::authz::Attributes;
use corten_meta::{GroupResource, GroupVersionKind, Status, object};
use corten_schema::apply::{self, Write, manager_name, reset_fields};
use serde_json::Value;

use crate::authz;
use crate::call::Call;
use crate::catalog::Served;
use crate::codec;
use crate::options::{Validation, WriteOptions};

/// Whose write this is, fixed for all its attempts.
pub struct Ownership {
    gvk: GroupVersionKind,
    manager: String,
    now: String,
    has_status: bool,
}

/// An object without a uid stands for none.
fn existing(live: &Value) -> Option<&Value> {
    Some(live).filter(|l| !object::uid(l).is_empty())
}

impl Ownership {
    /// Of a call's write.
    pub fn new(call: &Call, served: &Served, options: &WriteOptions) -> Self {
        Self {
            gvk: served.schema.gvk(),
            manager: manager_name(&options.field_manager, call.user_agent()),
            now: corten_meta::time::format(jiff::Timestamp::now()),
            has_status: served.schema.subresource("status").is_some(),
        }
    }

    /// The field manager's name.
    pub fn manager(&self) -> &str {
        &self.manager
    }

    fn write<'a>(&'a self, subresource: &'a str) -> Write<'a> {
        Write {
            gvk: &self.gvk,
            manager: &self.manager,
            subresource,
            now: &self.now,
            reset: reset_fields(subresource, self.has_status),
        }
    }

    /// Records what a create (`live` is null) or update changed; both in the served version.
    pub fn record(&self, subresource: &str, live: &Value, wanted: &mut Value) {
        apply::update(&self.write(subresource), existing(live), wanted);
    }

    /// Merges a configuration into the current object (null creates it); the outcome is complete, defaults included.
    ///
    /// # Errors
    /// 409 for fields that others own, 500 for a configuration that does not fit, in upstream's words.
    pub fn apply(&self, call: &Call, current: &Value, config: &Value, force: bool) -> Result<Value, Status> {
        let write = self.write(&call.info.subresource);
        let merged = apply::apply(&write, existing(current), config, force)?;
        codec::patched(call, &self.gvk, merged, Validation::Ignore)
    }
}

/// A write that turns out to create needs the right to create, too.
///
/// # Errors
/// 403; 409 where the object wanted has a uid, for then another object is meant.
pub fn may_create(call: &Call, wanted: &Value) -> Result<(), Status> {
    let info = &call.info;
    let uid = object::uid(wanted);
    if !uid.is_empty() {
        let gr = GroupResource::new(info.group.clone(), info.resource.clone());
        let text =
            format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
        return Err(Status::conflict(&gr, &info.name, text));
    }
    let attributes = Attributes {
        version: &info.version,
        subresource: &info.subresource,
        namespace: &info.namespace,
        name: &info.name,
        ..Attributes::resource(&call.user, "create", &info.group, &info.resource)
    };
    authz::check(&call.server, &attributes)
}
