//! Events, as the group that was written to judges them: `events.k8s.io` asks for more than the core group, and names
//! one field otherwise.

use corten_meta::names;
use serde_json::Value;

use super::super::rules::{At, ErrorList, object_meta, object_meta_update, qualified};

const TEXT_MAX: usize = 128;
const MESSAGE_MAX: usize = 1024;

/// `ValidateEventCreate`; `strict` for a request of `events.k8s.io`.
pub(in crate::strategy) fn validate(event: &Value, strict: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = At::root(event);
    either_group(&at, strict, &mut errors);
    if !strict {
        return errors;
    }
    errors.extend(object_meta(event, true, names::name_is_dns_subdomain));
    series(&at, &mut errors);
    if !at.get("eventTime").is_set() {
        at.get("eventTime").required(&mut errors, "");
    }
    let kind = at.get("type");
    if !matches!(kind.str(), "Normal" | "Warning") {
        let detail = format!("has invalid value: {}", kind.str());
        kind.invalid_as(&mut errors, "", &detail);
    }
    let source = at.get("source");
    let stated = [
        ("firstTimestamp", at.get("firstTimestamp").is_set()),
        ("lastTimestamp", at.get("lastTimestamp").is_set()),
        ("count", at.get("count").int().unwrap_or(0) != 0),
        (
            "source",
            !source.get("component").is_empty() || !source.get("host").is_empty(),
        ),
    ];
    for (field, _) in stated.into_iter().filter(|(_, stated)| *stated) {
        at.get(field).invalid_as(&mut errors, "", "needs to be unset");
    }
    errors
}

/// What an update through `events.k8s.io` must keep, in upstream's order (`reason` is asked for twice).
const FIXED: [&str; 9] = [
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "reason",
    "type",
];
const FIXED_LATER: [(&str, &str); 4] = [
    ("action", "action"),
    ("related", "related"),
    ("reportingComponent", "reportingController"),
    ("reportingInstance", "reportingInstance"),
];

/// `ValidateEventUpdate`; `strict` for a request of `events.k8s.io`.
pub(in crate::strategy) fn validate_update(event: &Value, old: &Value, strict: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = At::root(event);
    either_group(&at, strict, &mut errors);
    if !strict {
        return errors;
    }
    errors.extend(crate::metadata::validate_update(event, old));
    object_meta_update(event, &mut errors);
    if *at.get("series").value != old["series"] {
        series(&at, &mut errors);
    }
    for field in FIXED {
        kept(&at.get(field), old, field, &mut errors);
    }
    // What is finer than microseconds is not kept anyhow.
    kept(&at.get("eventTime"), old, "eventTime", &mut errors);
    for (field, shown) in FIXED_LATER {
        let value = at.get(field).value;
        kept(&at.get(shown).with(value), old, field, &mut errors);
    }
    errors
}

/// Absent and Go's zero value of a type are the same.
fn kept(at: &At<'_, '_>, old: &Value, field: &str, errors: &mut ErrorList) {
    let zero = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    let before = &old[field];
    if at.value != before && !(zero(at.value) && zero(before)) {
        at.invalid(errors, "field is immutable");
    }
}

/// More than one event, and when the last of them was.
fn series(event: &At<'_, '_>, errors: &mut ErrorList) {
    let series = event.get("series");
    if !series.is_set() {
        return;
    }
    if series.get("count").int().unwrap_or(0) < 2 {
        series.get("count").invalid_as(errors, "", "should be at least 2");
    }
    if !series.get("lastObservedTime").is_set() {
        series.get("lastObservedTime").required(errors, "");
    }
}

/// `legacyValidateEvent`.
fn either_group(at: &At<'_, '_>, strict: bool, errors: &mut ErrorList) {
    let metadata = at.get("metadata");
    let namespace = metadata.get("namespace").str();
    let involved = at.get("involvedObject");
    let place = involved.get("namespace");
    let timed = at.get("eventTime").is_set();
    let matches = match (place.str(), timed) {
        ("", false) => matches!(namespace, "" | "default"),
        ("", true) => matches!(namespace, "default" | "kube-system"),
        (stated, false) => stated == namespace,
        (_, true) => true,
    };
    if !matches {
        place.invalid_as(errors, place.str(), "does not match event.namespace");
    }
    if timed {
        new_style(at, strict, errors);
    }
    for message in names::is_dns1123_subdomain(namespace) {
        at.get("namespace").invalid_as(errors, namespace, &message);
    }
}

/// What events with a time of their own must say.
fn new_style(at: &At<'_, '_>, strict: bool, errors: &mut ErrorList) {
    let stored = at.get("reportingComponent");
    let shown = if strict {
        at.get("reportingController")
    } else {
        stored
    };
    let reporter = shown.with(stored.value);
    reporter.nonempty(errors);
    qualified(&reporter.with(&Value::from(reporter.str())), errors);
    for field in ["reportingInstance", "action", "reason"] {
        at.get(field).nonempty(errors);
        too_long(&at.get(field), TEXT_MAX, errors);
    }
    too_long(&at.get("message"), MESSAGE_MAX, errors);
}

fn too_long(at: &At<'_, '_>, max: usize, errors: &mut ErrorList) {
    if at.len() > max {
        at.invalid_as(errors, "", &format!("can have at most {max} characters"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event() -> Value {
        json!({
            "metadata": {"name": "e", "namespace": "default", "uid": "u", "resourceVersion": "1"},
            "involvedObject": {"namespace": "default"},
            "eventTime": "2024-01-01T00:00:00.000000Z",
            "reportingComponent": "a.example/c",
            "reportingInstance": "i",
            "action": "a",
            "reason": "r",
            "type": "Normal",
        })
    }

    fn fields(errors: &ErrorList) -> Vec<String> {
        errors.iter().map(|error| error.field.clone()).collect()
    }

    #[test]
    fn the_newer_group_asks_for_more() {
        let mut changed = event();
        assert!(fields(&validate(&changed, true)).is_empty());
        changed["metadata"]["name"] = json!("Bad_Name!");
        changed["eventTime"] = Value::Null;
        changed["type"] = json!("other");
        changed["series"] = json!({"count": 1});
        changed["count"] = json!(1);
        changed["source"] = json!({"host": "h"});
        assert!(fields(&validate(&changed, false)).is_empty());
        let wanted = [
            "metadata.name",
            "series.count",
            "series.lastObservedTime",
            "eventTime",
            "type",
            "count",
            "source",
        ];
        assert_eq!(fields(&validate(&changed, true)), wanted);
    }

    #[test]
    fn the_reporter_has_a_name_in_each_group() {
        let mut changed = event();
        changed["reportingComponent"] = json!("Bad_Name!");
        assert_eq!(fields(&validate(&changed, false)), ["reportingComponent"]);
        assert_eq!(fields(&validate(&changed, true)), ["reportingController"]);
    }

    #[test]
    fn the_newer_group_changes_little_but_the_series() {
        let (old, mut new) = (event(), event());
        new["series"] = json!({"count": 2, "lastObservedTime": "2024-01-01T00:00:01.000000Z"});
        new["count"] = json!(0);
        assert!(fields(&validate_update(&new, &old, true)).is_empty());
        new["reason"] = json!("s");
        new["reportingComponent"] = json!("b.example/c");
        assert!(fields(&validate_update(&new, &old, false)).is_empty());
        let wanted = ["reason", "reason", "reportingController"];
        assert_eq!(fields(&validate_update(&new, &old, true)), wanted);
    }
}
