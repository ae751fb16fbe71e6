//! Dynamic resource allocation (`pkg/apis/resource/validation`): claims, classes, slices, taint rules.

mod capacity;
mod claims;
mod slices;
mod status;

pub(super) use claims::{CLASS, Claims};
pub(super) use slices::{SLICE, TAINT_RULE};

use std::collections::HashSet;

use corten_cel::Type;
use corten_cel::environments::{DeviceSizes, device_selector};
use corten_meta::names;
use serde_json::Value;

use super::pod::storage::driver_name;
use super::rules::{At, ErrorList, dns_label, dns_subdomain, label_name};

const ITEMS_MAX: usize = 32;
const ID_MAX: usize = 32;
const POOL_NAME_MAX: usize = 253;
const PARAMETERS_MAX: usize = 10 * 1024;
/// What a selector may be estimated to cost.
const EXPRESSION_COST_MAX: u64 = 1_000_000;
const EXPRESSION_MAX: usize = 10 * 1024;
const TAINT_EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];
const BINDING_CONDITIONS_MAX: usize = 4;

/// Whether a list is short enough to be looked at.
fn fits(list: &At<'_, '_>, max: usize, errors: &mut ErrorList) -> bool {
    if list.len() > max {
        list.too_many(errors, i64::try_from(max).unwrap_or(i64::MAX));
    }
    list.len() <= max
}

/// Items that are the same by `key`; errors are shown under the item itself.
fn unique(list: &At<'_, '_>, key: impl Fn(&Value) -> &str, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for item in list.items() {
        let key = key(item.value);
        if !seen.insert(key) {
            item.duplicate_as(errors, key);
        }
    }
}

fn name_of(item: &Value) -> &str {
    item["name"].as_str().unwrap_or_default()
}

fn required_label(at: &At<'_, '_>, errors: &mut ErrorList) {
    match at.is_empty() {
        true => at.required(errors, ""),
        false => dns_label(at, errors),
    }
}

fn pool_name(at: &At<'_, '_>, errors: &mut ErrorList) {
    if at.is_empty() {
        return at.required(errors, "");
    }
    if at.len() > POOL_NAME_MAX {
        at.too_long(errors, POOL_NAME_MAX as i64);
    }
    for part in at.str().split('/') {
        dns_subdomain(&at.with(&part.into()), errors);
    }
}

fn identifier(at: &At<'_, '_>, text: &str, errors: &mut ErrorList) {
    if text.len() > ID_MAX {
        at.too_long(errors, ID_MAX as i64);
    }
    for message in names::is_c_identifier(text) {
        at.invalid_as(errors, text, &message);
    }
}

/// `name` or `example.com/name`.
fn qualified_name(at: &At<'_, '_>, text: &str, errors: &mut ErrorList) {
    match text.split('/').collect::<Vec<_>>().as_slice() {
        [name] => identifier(at, name, errors),
        [domain, name] => {
            match *domain {
                "" => at.invalid_as(errors, "", "the domain must not be empty"),
                domain => driver_name(&at.with(&domain.into()), errors),
            }
            match *name {
                "" => at.invalid_as(errors, "", "the name must not be empty"),
                name => identifier(at, name, errors),
            }
        }
        _ => {}
    }
}

fn fully_qualified_name(at: &At<'_, '_>, errors: &mut ErrorList) {
    qualified_name(at, at.str(), errors);
    if !at.str().contains('/') {
        let detail = "a fully qualified name must be a domain and a name separated by a slash";
        at.invalid(errors, detail);
    }
}

fn selectors(list: &At<'_, '_>, errors: &mut ErrorList) {
    if !fits(list, ITEMS_MAX, errors) {
        return;
    }
    for selector in list.items() {
        let cel = selector.get("cel");
        if !cel.is_set() {
            cel.required(errors, "");
        } else {
            expression(&cel.get("expression"), errors);
        }
    }
}

/// Not compiled if it is too long.
fn expression(at: &At<'_, '_>, errors: &mut ErrorList) {
    if at.len() > EXPRESSION_MAX {
        return at.too_long(errors, EXPRESSION_MAX as i64);
    }
    let program = match device_selector().compile(at.str()) {
        Ok(program) => program,
        Err(mistakes) => return at.invalid(errors, &format!("compilation failed: {mistakes}")),
    };
    let ty = program.result_type();
    if !matches!(ty, Type::Bool | Type::Dyn) {
        let detail = format!("must evaluate to bool or the unknown type, not {}", ty.declared());
        return at.invalid(errors, &detail);
    }
    if program.estimate(&DeviceSizes).max > EXPRESSION_COST_MAX {
        at.forbidden(errors, "too complex, exceeds cost limit");
    }
}

/// Configuration that only its driver understands.
fn configuration(config: &At<'_, '_>, errors: &mut ErrorList) {
    let opaque = config.get("opaque");
    if !opaque.is_set() {
        return opaque.required(errors, "");
    }
    driver_name(&opaque.get("driver"), errors);
    raw(&opaque.get("parameters"), errors);
}

/// A JSON object of bounded size.
fn raw(at: &At<'_, '_>, errors: &mut ErrorList) {
    if !at.is_set() {
        at.required(errors, "");
    } else if at.value.to_string().len() > PARAMETERS_MAX {
        at.too_long(errors, PARAMETERS_MAX as i64);
    } else if !at.value.is_object() {
        at.invalid_as(errors, "<value omitted>", "must be a valid JSON object");
    }
}

fn taint(at: &At<'_, '_>, old_effect: Option<&Value>, errors: &mut ErrorList) {
    label_name(&at.get("key"), errors);
    let (value, effect) = (at.get("value"), at.get("effect"));
    if !value.is_empty() {
        value.invalid_each(errors, names::is_label_value(value.str()));
    }
    if old_effect != Some(effect.value) {
        effect.one_of(errors, TAINT_EFFECTS);
    }
}

/// Conditions that a device waits for before a pod is bound, and those that end the wait.
fn binding_conditions(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (good, bad) = (at.get("bindingConditions"), at.get("bindingFailureConditions"));
    for list in [&good, &bad] {
        if fits(list, BINDING_CONDITIONS_MAX, errors) {
            list.items().for_each(|condition| label_name(&condition, errors));
        }
    }
    unique(&good, text, errors);
    let mut seen = HashSet::new();
    for condition in bad.items() {
        if !seen.insert(condition.str()) {
            condition.duplicate(errors);
        }
        if good.items().any(|good| good.str() == condition.str()) {
            let detail = "bindingFailureConditions must not overlap with bindingConditions";
            condition.invalid(errors, detail);
        }
    }
    match (good.is_empty(), bad.is_empty()) {
        (true, false) => good.invalid(
            errors,
            "bindingConditions are required to use bindingFailureConditions",
        ),
        (false, true) => bad.invalid(
            errors,
            "bindingFailureConditions are required to use bindingConditions",
        ),
        _ => {}
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
