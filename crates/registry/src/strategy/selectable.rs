//! Fields to be selected by, and events, which are little else.

use serde_json::Value;

use super::rules::ErrorList;
use super::{GcPolicy, Strategy, StrategyContext};

/// Events, in both groups.
pub(super) const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// Events: stored in the form of the core group, collected by nobody, gone after an hour.
#[derive(Clone, Copy, Debug)]
pub struct EventStrategy;

impl Strategy for EventStrategy {
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        corten_meta::names::is_path_segment(name, prefix)
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn validate(&self, ctx: &StrategyContext<'_>, event: &Value) -> ErrorList {
        super::kinds::event_rules(event, is_strict(ctx))
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, event: &Value, old: &Value) -> ErrorList {
        super::kinds::event_update_rules(event, old, is_strict(ctx))
    }

    fn gc_policy(&self) -> GcPolicy {
        GcPolicy::Unsupported
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        EVENT_FIELDS
    }

    fn field_values(&self, event: &Value) -> Vec<String> {
        EVENT_FIELDS
            .iter()
            .map(|field| event_field(event, field))
            .collect()
    }
}

/// Whether the request came by the newer group, which is stricter.
fn is_strict(ctx: &StrategyContext<'_>) -> bool {
    ctx.write.form.group == "events.k8s.io"
}

fn event_field(event: &Value, field: &str) -> String {
    let component = |path| text_at(event, path);
    match field {
        "source" => Some(component("source.component"))
            .filter(|c| !c.is_empty())
            .unwrap_or_else(|| component("reportingComponent")),
        "reason" | "type" | "reportingComponent" => text_at(event, field),
        _ => {
            let value = text_at(event, field);
            if value.is_empty() {
                text_at(event, &field.replacen("involvedObject", "regarding", 1))
            } else {
                value
            }
        }
    }
}

/// The text at a dotted path; empty where there is none.
pub(super) fn text_at(object: &Value, path: &str) -> String {
    let found = path.split('.').try_fold(object, |value, key| value.get(key));
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}
