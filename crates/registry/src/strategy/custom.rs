//! Custom resources: what a version of a CustomResourceDefinition lets happen to its objects (upstream's
//! `apiextensions-apiserver/pkg/registry/customresource`). The rules are the `crd` crate's; here they meet the write path.

use std::sync::Arc;

use corten_crd::resource::Version;
use corten_meta::field::ErrorList;
use corten_schema::resources::custom;
use serde_json::Value;

use super::{Strategy, StrategyContext};
use crate::metadata;
use crate::resource::Subresource;

/// The strategy of one version.
pub struct CustomStrategy {
    version: Arc<Version>,
    /// The version objects are stored in: where values of selectable fields are read from.
    stored: Arc<Version>,
    /// Its selectable fields, without the dot they begin with in the definition.
    selectable: Vec<&'static str>,
}

impl CustomStrategy {
    /// Of a version of a definition that stores its objects in `stored`.
    pub fn new(version: Arc<Version>, stored: Arc<Version>) -> Self {
        let selectable = stored.selectable.iter().map(|name| custom::text(name)).collect();
        Self {
            version,
            stored,
            selectable,
        }
    }
}

impl Strategy for CustomStrategy {
    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn prepare_for_create(&self, _ctx: &StrategyContext<'_>, object: &mut Value) {
        self.version.prepare_for_create(object);
    }

    /// Metadata is checked with the rest, so that one answer names every problem.
    fn validate(&self, ctx: &StrategyContext<'_>, object: &Value) -> ErrorList {
        let name_rule = |name: &str, prefix: bool| self.validate_name(name, prefix);
        let mut errors = metadata::validate(object, ctx.resource.namespaced, &name_rule);
        errors.extend(self.version.validate(object));
        errors
    }

    fn warnings_on_create(&self, _ctx: &StrategyContext<'_>, object: &Value) -> Vec<String> {
        self.version.warnings(object, None)
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Value, old: &Value) {
        if ctx.subresource == Subresource::STATUS {
            self.version.prepare_for_status_update(object, old);
        } else {
            self.version.prepare_for_update(object, old);
        }
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, object: &Value, old: &Value) -> ErrorList {
        // Upstream's generic update and its validator of custom resources both say it.
        let mut errors = metadata::validate_update(object, old);
        errors.extend(if ctx.subresource == Subresource::STATUS {
            self.version.validate_status_update(object, old)
        } else {
            self.version.validate_update(object, old)
        });
        errors
    }

    fn warnings_on_update(&self, ctx: &StrategyContext<'_>, object: &Value, old: &Value) -> Vec<String> {
        if ctx.subresource == Subresource::STATUS {
            return Vec::new();
        }
        self.version.warnings(object, Some(old))
    }

    fn selectable_fields(&self) -> &[&'static str] {
        &self.selectable
    }

    fn field_values(&self, object: &Value) -> Vec<String> {
        self.stored.field_values(object)
    }
}
