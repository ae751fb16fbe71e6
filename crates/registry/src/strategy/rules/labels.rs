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
        errors.extend(
            names::is_qualified_name(key)
                .into_iter()
                .map(|m| Error::invalid(&at.path(), key, m)),
        );
        errors.extend(
            names::is_label_value(value)
                .into_iter()
                .map(|m| Error::invalid(&at.path(), value, m)),
        );
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
            values.forbidden(
                errors,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            );
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        operator => at
            .get("operator")
            .invalid_as(errors, operator, "not a valid selector operator"),
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

/// A selector as messages show it: labels before expressions.
pub(in crate::strategy) fn show_selector(selector: &serde_json::Value) -> String {
    if selector.is_null() {
        return "null".to_owned();
    }
    let parts = ["matchLabels", "matchExpressions"]
        .into_iter()
        .filter_map(|field| {
            let value = selector.get(field).filter(|value| !value.is_null())?;
            Some(format!("\"{field}\":{value}"))
        });
    format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
}

/// Whether the selector can be read; then it is to select the labels of the template. The error of a selector that cannot
/// be read is the caller's.
pub(in crate::strategy) fn selector_matches_template(
    selector: &At<'_, '_>,
    template: &At<'_, '_>,
    errors: &mut ErrorList,
) -> bool {
    let Ok(parsed) = corten_meta::labels::Selector::from_label_selector(selector.value) else {
        return false;
    };
    // An absent selector selects nothing, an empty one everything.
    if !selector.is_set() || !parsed.matches_object(template.value) {
        let metadata = template.get("metadata");
        let labels = metadata.get("labels");
        let shown = if labels.is_set() {
            labels.value.clone()
        } else {
            serde_json::Value::Null
        };
        labels.invalid_as(errors, shown, "`selector` does not match template `labels`");
    }
    true
}
