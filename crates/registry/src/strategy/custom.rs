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
    /// Its selectable fields, without the dot they begin with in the definition.
    selectable: Vec<&'static str>,
    /// What the watch cache keeps of each object: these versions' fields by name, each name once.
    kept: Vec<(Arc<Version>, usize)>,
    /// Where those of `selectable` are in there.
    places: Vec<Option<usize>>,
}

impl CustomStrategy {
    /// Of a version of a definition. `kept` are the versions whose fields a stored object has: all where they differ in
    /// name only, the stored one where a webhook converts. The same for every version.
    pub fn new(version: Arc<Version>, kept: &[Arc<Version>]) -> Self {
        let mut fields: Vec<(Arc<Version>, usize)> = Vec::new();
        let named = |fields: &[(Arc<Version>, usize)], name: &str| {
            fields.iter().position(|(of, at)| of.selectable[*at] == name)
        };
        for of in kept {
            for (at, name) in of.selectable.iter().enumerate() {
                if named(&fields, name).is_none() {
                    fields.push((of.clone(), at));
                }
            }
        }
        let places = version.selectable.iter().map(|name| named(&fields, name));
        Self {
            places: places.collect(),
            selectable: version.selectable.iter().map(|name| custom::text(name)).collect(),
            kept: fields,
            version,
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
        let value = |(of, at): &(Arc<Version>, usize)| of.field_value(*at, object);
        self.kept.iter().map(value).collect()
    }

    fn field_place(&self, field: &str) -> Option<usize> {
        let at = self.selectable.iter().position(|name| *name == field)?;
        self.places.get(at).copied().flatten()
    }

    fn field_value(&self, object: &Value, field: &str) -> String {
        let at = self.selectable.iter().position(|name| *name == field);
        at.map_or_else(String::new, |at| self.version.field_value(at, object))
    }
}
