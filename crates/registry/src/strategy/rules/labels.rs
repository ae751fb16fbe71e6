//! Labels and label selectors (`apimachinery/pkg/apis/meta/v1/validation`).

use corten_meta::field::Error;
use corten_meta::names;

use super::{At, ErrorList};

pub(in crate::strategy) fn label_name(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.invalid_each(errors, names::is_qualified_name(at.str()));
}

/// A map of labels: errors name the map, not the key.
pub(in crate::strategy) fn label_map(at: &At<'_, '_>, errors: &mut ErrorList) {
    for (key, value) in at.entries() {
        let value = value.as_str().unwrap_or_default();
        errors.extend(names::is_qualified_name(key).into_iter().map(|m| Error::invalid(&at.path(), key, m)));
        errors.extend(names::is_label_value(value).into_iter().map(|m| Error::invalid(&at.path(), value, m)));
    }
}

pub(in crate::strategy) fn label_selector(at: &At<'_, '_>, errors: &mut ErrorList) {
    label_map(&at.get("matchLabels"), errors);
    for requirement in at.get("matchExpressions").items() {
        requirement_rules(&requirement, errors);
    }
}

fn requirement_rules(at: &At<'_, '_>, errors: &mut ErrorList) {
    let values = at.get("values");
    match at.get("operator").str() {
        "In" | "NotIn" if values.is_empty() => {
            values.required(errors, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            values.forbidden(errors, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        operator => at.get("operator").invalid_as(errors, operator, "not a valid selector operator"),
    }
    label_name(&at.get("key"), errors);
    for value in values.items() {
        value.invalid_each(errors, names::is_label_value(value.str()));
    }
}

/// Requirements of a selector; 0 selects everything.
pub(in crate::strategy) fn selector_size(at: &At<'_, '_>) -> usize {
    at.get("matchLabels").len() + at.get("matchExpressions").len()
}
