//! Who owns the fields of what the server writes on its own account. Requests come with that recorded, by the version and the
//! schema of their kind; the server writes built-in kinds as they are stored.

use corten_schema::apply::{self, reset_fields};
use serde_json::Value;

use super::Write;

impl Write<'_> {
    /// Records in `wanted` what the server changes of `live` (`None` on create).
    pub(super) fn record_own(&self, live: Option<&Value>, wanted: &mut Value) {
        if !self.ctx.own {
            return;
        }
        let resource = self.resource;
        let gvk = resource.gvk();
        let write = apply::Write {
            gvk: &gvk,
            manager: &self.ctx.field_manager,
            subresource: self.subresource.0,
            now: &self.ctx.now_text(),
            reset: reset_fields(&gvk, self.subresource.0, resource.has_status),
        };
        apply::update(&write, live, wanted);
    }
}
