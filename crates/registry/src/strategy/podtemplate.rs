//! PodTemplates.

use corten_meta::names;
use serde_json::Value;

use super::pod::{validate_template, warnings};
use super::rules::{At, ErrorList, object_meta, object_meta_update};
use super::{Strategy, StrategyContext};

#[derive(Clone, Copy, Debug)]
pub struct PodTemplateStrategy;

impl Strategy for PodTemplateStrategy {
    fn validate(&self, _ctx: &StrategyContext<'_>, object: &Value) -> ErrorList {
        let mut errors = object_meta(object, true, names::name_is_dns_subdomain);
        validate_template(&At::root(object).get("template"), &mut errors);
        errors
    }

    fn warnings_on_create(&self, _ctx: &StrategyContext<'_>, object: &Value) -> Vec<String> {
        warnings::of_template(&At::root(object).get("template"))
    }

    fn warnings_on_update(&self, _ctx: &StrategyContext<'_>, object: &Value, old: &Value) -> Vec<String> {
        match warnings::is_changed(object, old) {
            true => warnings::of_template(&At::root(object).get("template")),
            false => Vec::new(),
        }
    }

    fn validate_update(&self, _ctx: &StrategyContext<'_>, object: &Value, _old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        object_meta_update(object, &mut errors);
        validate_template(&At::root(object).get("template"), &mut errors);
        errors
    }
}
