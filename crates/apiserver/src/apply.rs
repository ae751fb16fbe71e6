//! Server-side apply, and who owns the fields of every other write.

use std::sync::Arc;
use std::time::SystemTime;

use corten_auth::authz::Attributes;
use corten_crd::resource::Version;
use corten_meta::time::{self, Timestamp};
use corten_meta::{GroupVersionKind, Status, object};
use corten_schema::apply::scale::Counts;
use corten_schema::apply::{self, Write, reset_fields};
use corten_schema::decode;
use serde_json::Value;

use crate::call::Call;
use crate::catalog::Served;
use crate::codec::{self, Reading};
use crate::options::WriteOptions;

/// Who writes, as the managed-fields entry will say.
pub struct Ownership {
    gvk: GroupVersionKind,
    manager: String,
    /// RFC 3339.
    now: String,
    has_status: bool,
    /// The version of a custom kind.
    custom: Option<Arc<Version>>,
}

impl Ownership {
    /// The manager that the request names, else its user agent's.
    pub fn new(call: &Call, served: &Served, options: &WriteOptions) -> Self {
        let now = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            gvk: served.schema.gvk(),
            manager: apply::manager_name(&options.field_manager, call.user_agent()),
            now: time::format(now),
            has_status: served.schema.subresource("status").is_some(),
            custom: served.custom.as_ref().map(|kind| kind.version.clone()),
        }
    }

    /// The field manager.
    pub fn manager(&self) -> &str {
        &self.manager
    }

    fn write<'a>(&'a self, subresource: &'a str) -> Write<'a> {
        Write {
            gvk: &self.gvk,
            manager: &self.manager,
            subresource,
            now: &self.now,
            reset: match &self.custom {
                Some(version) => version.reset_fields(subresource),
                None => reset_fields(&self.gvk, subresource, self.has_status),
            },
        }
    }

    /// Records in `wanted` what the write changes of `live` (null on create). Both in the served version.
    pub fn record(&self, subresource: &str, live: &Value, wanted: &mut Value) {
        let write = self.write(subresource);
        match &self.custom {
            Some(version) => apply::update_custom(&write, &version.apply_type(), existing(live), wanted),
            None => apply::update(&write, existing(live), wanted),
        }
    }

    /// Applies a configuration to the current object (null where there is none).
    ///
    /// # Errors
    /// 409 for fields that others own, unless forced; else as upstream.
    pub fn apply(
        &self,
        call: &Call,
        served: &Served,
        current: &Value,
        configuration: &Value,
        force: bool,
    ) -> Result<Value, Status> {
        self.converts(configuration)?;
        let write = self.write(&call.info.subresource);
        let live = existing(current);
        let merged = || match &self.custom {
            Some(version) => apply::apply_custom(&write, &version.apply_type(), live, configuration, force),
            None => apply::apply(&write, live, configuration, force),
        };
        codec::patched(call, &self.gvk, served.custom.as_ref(), merged, &Reading::MERGED)
    }

    /// Upstream takes a configuration to its internal type and back before it merges it.
    fn converts(&self, configuration: &Value) -> Result<(), Status> {
        if self.custom.is_some() {
            return Ok(());
        }
        decode::converts(&self.gvk, configuration).map_err(|error| {
            let (namespace, name) = (object::namespace(configuration), object::name(configuration));
            let (version, kind) = (self.gvk.api_version(), &self.gvk.kind);
            let text = format!(
                "failed to convert to unversioned ({namespace}/{name}; {version}, Kind={kind}): {error}"
            );
            Status::new(500, "", text)
        })
    }

    /// Applies a configuration to the Scale of an object.
    ///
    /// # Errors
    /// As [`Ownership::apply`].
    pub fn apply_scale(
        &self,
        call: &Call,
        of: &Value,
        mut scale: Value,
        configuration: &Value,
        force: bool,
    ) -> Result<Value, Status> {
        scale["metadata"]["managedFields"] = apply::scale::to_scale(of, self.counts());
        let gvk = crate::subresources::scale::gvk();
        let write = Write {
            gvk: &gvk,
            reset: &[],
            ..self.write("scale")
        };
        let merged = || apply::apply(&write, existing(&scale), configuration, force);
        codec::patched(call, &gvk, None, merged, &Reading::MERGED)
    }

    fn counts(&self) -> Counts<'_> {
        match &self.custom {
            Some(version) => Counts::Custom(&version.replicas),
            None => Counts::Builtin(&self.gvk.group),
        }
    }

    /// Gives the owners that an applied Scale has to its object.
    pub fn record_scale(&self, scale: &Value, of: &mut Value) {
        apply::scale::to_object(scale, of, &self.gvk, self.counts());
    }
}

/// An object without a uid stands for none.
fn existing(live: &Value) -> Option<&Value> {
    Some(live).filter(|l| !object::uid(l).is_empty())
}

/// A PUT or apply that makes the object needs the right to create it.
///
/// # Errors
/// 403.
pub fn may_create(call: &Call, wanted: &Value) -> Result<(), Status> {
    let info = &call.info;
    let attributes = Attributes {
        user: &call.user,
        verb: "create",
        group: &info.group,
        version: &info.version,
        resource: &info.resource,
        subresource: &info.subresource,
        namespace: &info.namespace,
        name: object::name(wanted),
        field_selector: None,
        path: &info.path,
        resource_request: true,
    };
    crate::authz::check(&call.server, &attributes)
}
