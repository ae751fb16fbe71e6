//! Conversions between the served versions of one stored kind: events (core/v1 and events.k8s.io/v1) and horizontal pod
//! autoscalers (autoscaling/v1 and v2).

use corten_meta::GroupVersionKind;
use serde_json::{Map, Value, json};

use crate::declared::{self, Form};
use crate::types::named;

/// Annotations that carry what autoscaling/v1 has no field for.
pub(crate) const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// Kinds whose versions differ.
pub(crate) const CONVERTED: [&str; 2] = ["Event", "HorizontalPodAutoscaler"];

/// Brings an object to another version of its kind. Where there is no conversion the object stays as it is, renamed.
pub fn to(mut object: Value, target: &GroupVersionKind) -> Value {
    let from = corten_meta::object::api_version(&object).to_owned();
    if from == target.api_version() {
        return object;
    }
    object = match (
        target.kind.as_ref(),
        from.as_str(),
        target.group.as_ref(),
        target.version.as_ref(),
    ) {
        ("Event", "v1", "events.k8s.io", _) => rename(object, &EVENT_NAMES, false),
        ("Event", "events.k8s.io/v1", "", _) => rename(object, &EVENT_NAMES, true),
        ("HorizontalPodAutoscaler", "autoscaling/v1", "autoscaling", "v2") => to_v2(&object),
        ("HorizontalPodAutoscaler", "autoscaling/v2", "autoscaling", "v1") => to_v1(&object),
        _ => object,
    };
    corten_meta::object::set_gvk(&mut object, target);
    object
}

/// What core/v1 and events.k8s.io/v1 call the same field.
const EVENT_NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(object: Value, names: &[(&str, &str)], reverse: bool) -> Value {
    let Value::Object(mut map) = object else {
        return object;
    };
    for (core, series) in names {
        let (from, to) = if reverse { (series, core) } else { (core, series) };
        if let Some(value) = map.remove(*from) {
            map.insert((*to).to_owned(), value);
        }
    }
    // Core always writes these two; the other leaves them out when empty.
    for name in ["reportingComponent", "reportingInstance"] {
        if reverse {
            map.entry(name).or_insert_with(|| json!(""));
        }
    }
    if !reverse {
        map.retain(|name, value| !name.starts_with("reporting") || value != "");
    }
    Value::Object(map)
}

/// An autoscaler in autoscaling/v2 form, whichever it came in.
pub(crate) fn to_v2(object: &Value) -> Value {
    let mut out = object.clone();
    if object["apiVersion"] != "autoscaling/v1" && object["spec"]["targetCPUUtilizationPercentage"].is_null()
    {
        return out;
    }
    let annotation = |name: &str| {
        let text = corten_meta::object::annotation(object, name)?;
        serde_json::from_str::<Value>(text).ok()
    };
    let mut metrics = cpu_metric(
        object["spec"]["targetCPUUtilizationPercentage"].as_i64(),
        "target",
        "averageUtilization",
    );
    metrics.extend(
        annotation(METRICS)
            .map(|v| metric_list(&v, Side::Target))
            .unwrap_or_default(),
    );
    let mut current = Vec::new();
    if let Some(now) = object["status"]["currentCPUUtilizationPercentage"].as_i64() {
        current.extend(cpu_metric(Some(now), "current", "averageUtilization"));
    }
    current.extend(
        annotation(CURRENT_METRICS)
            .map(|v| metric_list(&v, Side::Current))
            .unwrap_or_default(),
    );
    if let Some(Value::Object(spec)) = out.get_mut("spec") {
        spec.remove("targetCPUUtilizationPercentage");
        put(spec, "metrics", Value::Array(metrics));
        if let Some(behavior) = annotation(BEHAVIOR) {
            put(spec, "behavior", lower_keys(&behavior));
        }
    }
    if let Some(Value::Object(status)) = out.get_mut("status") {
        status.remove("currentCPUUtilizationPercentage");
        status.insert(
            "currentMetrics".to_owned(),
            if current.is_empty() {
                Value::Null
            } else {
                current.into()
            },
        );
        if let Some(conditions) = annotation(CONDITIONS) {
            put(status, "conditions", conditions);
        }
    }
    strip_annotations(&mut out);
    out
}

fn put(map: &mut Map<String, Value>, name: &str, value: Value) {
    if value.as_array().is_none_or(|list| !list.is_empty()) {
        map.insert(name.to_owned(), value);
    }
}

fn strip_annotations(object: &mut Value) {
    if let Some(Value::Object(annotations)) = object.pointer_mut("/metadata/annotations") {
        annotations
            .retain(|name, _| ![METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR].contains(&name.as_str()));
        if annotations.is_empty()
            && let Some(Value::Object(meta)) = object.get_mut("metadata")
        {
            meta.remove("annotations");
        }
    }
}

fn cpu_metric(percent: Option<i64>, side: &str, field: &str) -> Vec<Value> {
    let Some(percent) = percent else { return Vec::new() };
    let mut amount = json!({ field: percent });
    if side == "target" {
        amount["type"] = json!("Utilization");
    }
    vec![json!({"type": "Resource", "resource": {"name": "cpu", side: amount}})]
}

/// Which half of a metric is meant: what is wanted or what is.
#[derive(Clone, Copy)]
enum Side {
    Target,
    Current,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Current => "current",
        }
    }
}

/// Metrics of the annotation form (autoscaling/v1's own types) in v2 form.
fn metric_list(list: &Value, side: Side) -> Vec<Value> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|metric| metric_to_v2(metric, side))
        .collect()
}

fn metric_to_v2(metric: &Value, side: Side) -> Value {
    let kind = metric["type"].as_str().unwrap_or_default();
    let member = member(kind);
    let old = &metric[member];
    let mut amount = Map::new();
    let pairs: [(&str, &str, &str); 6] = [
        ("targetValue", "value", "Value"),
        ("targetAverageValue", "averageValue", "AverageValue"),
        ("targetAverageUtilization", "averageUtilization", "Utilization"),
        ("currentValue", "value", ""),
        ("currentAverageValue", "averageValue", ""),
        ("currentAverageUtilization", "averageUtilization", ""),
    ];
    let plain = [("averageValue", "averageValue", "AverageValue")];
    for (from, to, target) in pairs.iter().chain(&plain) {
        let zero_value = *from == "targetValue" && old[from] == "0" && !old["averageValue"].is_null();
        if old[from].is_null() || zero_value {
            continue;
        }
        amount.insert((*to).to_owned(), old[from].clone());
        if matches!(side, Side::Target) && !target.is_empty() {
            amount.insert("type".to_owned(), json!(target));
        }
    }
    let mut new = Map::new();
    for name in ["name", "container"] {
        if !old[name].is_null() {
            new.insert(name.to_owned(), old[name].clone());
        }
    }
    if !old["metricName"].is_null() {
        let mut id = json!({"name": old["metricName"]});
        let selector = if old["metricSelector"].is_null() {
            &old["selector"]
        } else {
            &old["metricSelector"]
        };
        if !selector.is_null() {
            id["selector"] = selector.clone();
        }
        new.insert("metric".to_owned(), id);
    }
    if kind == "Object" {
        new.insert("describedObject".to_owned(), old["target"].clone());
    }
    new.insert(side.name().to_owned(), Value::Object(amount));
    json!({"type": kind, member: new})
}

fn member(kind: &str) -> &'static str {
    match kind {
        "Object" => "object",
        "Pods" => "pods",
        "External" => "external",
        "ContainerResource" => "containerResource",
        _ => "resource",
    }
}

/// The behavior annotation is written in Go's field names.
fn lower_keys(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(k, v)| {
                let mut letters = k.chars();
                let first = letters.next().map(|c| c.to_ascii_lowercase());
                (
                    first.into_iter().chain(letters).collect::<String>(),
                    lower_keys(v),
                )
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(lower_keys).collect(),
        other => other.clone(),
    }
}

fn is_cpu_utilization(metric: &Value, side: &str) -> Option<i64> {
    let resource = &metric["resource"];
    let cpu = metric["type"] == "Resource" && resource["name"] == "cpu";
    resource[side]["averageUtilization"].as_i64().filter(|_| cpu)
}

fn to_v1(object: &Value) -> Value {
    let mut out = object.clone();
    let mut notes: Vec<(&str, Option<String>)> = Vec::new();
    if let Some(Value::Object(spec)) = out.get_mut("spec") {
        let mut others = Vec::new();
        let metrics = spec.remove("metrics").unwrap_or_default();
        for metric in metrics.as_array().into_iter().flatten() {
            match is_cpu_utilization(metric, "target") {
                Some(percent) => {
                    drop(spec.insert("targetCPUUtilizationPercentage".to_owned(), percent.into()))
                }
                None => others.push(metric_to_v1(metric, Side::Target)),
            }
        }
        notes.push((METRICS, list_note(&others, "MetricSpec")));
        if let Some(behavior) = spec.remove("behavior") {
            let id = named("api/autoscaling/v2", "HorizontalPodAutoscalerBehavior");
            notes.push((
                BEHAVIOR,
                id.map(|id| declared::text(&behavior, id, Form::Untagged)),
            ));
        }
    }
    if let Some(Value::Object(status)) = out.get_mut("status") {
        let mut others = Vec::new();
        let current = status.remove("currentMetrics").unwrap_or_default();
        for metric in current.as_array().into_iter().flatten() {
            if let Some(percent) = is_cpu_utilization(metric, "current") {
                status.insert("currentCPUUtilizationPercentage".to_owned(), percent.into());
            }
            others.push(metric_to_v1(metric, Side::Current));
        }
        notes.push((CURRENT_METRICS, list_note(&others, "MetricStatus")));
        if let Some(Value::Array(conditions)) = status.remove("conditions") {
            let note = list_note(&conditions, "HorizontalPodAutoscalerCondition");
            notes.push((CONDITIONS, note));
        }
    }
    for (name, note) in notes {
        if let Some(note) = note {
            corten_meta::object::set_annotation(&mut out, name, &note);
        }
    }
    out
}

/// A list of one of autoscaling/v1's types; an empty one needs no annotation.
fn list_note(items: &[Value], kind: &str) -> Option<String> {
    let id = named("api/autoscaling/v1", kind)?;
    (!items.is_empty()).then(|| declared::list(items, id))
}

fn metric_to_v1(metric: &Value, side: Side) -> Value {
    let kind = metric["type"].as_str().unwrap_or_default();
    let member = member(kind);
    let (old, amount) = (&metric[member], &metric[member][side.name()]);
    let mut new = Map::new();
    for name in ["name", "container"] {
        if !old[name].is_null() {
            new.insert(name.to_owned(), old[name].clone());
        }
    }
    if !old["metric"].is_null() {
        new.insert("metricName".to_owned(), old["metric"]["name"].clone());
        if !old["metric"]["selector"].is_null() {
            let name = if kind == "External" {
                "metricSelector"
            } else {
                "selector"
            };
            new.insert(name.to_owned(), old["metric"]["selector"].clone());
        }
    }
    let prefix = side.name();
    for (from, to) in [
        ("value", "Value"),
        ("averageValue", "AverageValue"),
        ("averageUtilization", "AverageUtilization"),
    ] {
        if amount[from].is_null() {
            continue;
        }
        let name = if kind == "Object" && from == "averageValue" {
            from.to_owned()
        } else {
            format!("{prefix}{to}")
        };
        new.insert(name, amount[from].clone());
    }
    if kind == "Object" {
        new.insert("target".to_owned(), old["describedObject"].clone());
        new.entry(format!("{prefix}Value")).or_insert_with(|| json!("0"));
    }
    json!({"type": kind, member: new})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_change_their_names() {
        let core = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod"}, "message": "m",
            "source": {"component": "c"}, "count": 2, "firstTimestamp": null, "reportingComponent": "", "reportingInstance": "",
        });
        let series = to(
            core.clone(),
            &GroupVersionKind::new("events.k8s.io", "v1", "Event"),
        );
        assert_eq!(series["regarding"]["kind"], "Pod");
        assert_eq!(series["note"], "m");
        assert_eq!(to(series, &GroupVersionKind::new("", "v1", "Event")), core);
    }

    #[test]
    fn autoscalers_keep_what_v1_cannot_say() {
        let v2 = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {"maxReplicas": 3, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
                {"type": "Pods", "pods": {"metric": {"name": "qps"}, "target": {"type": "AverageValue", "averageValue": "10"}}},
            ]},
            "status": {"currentMetrics": null, "desiredReplicas": 0},
        });
        let v1 = to(
            v2.clone(),
            &GroupVersionKind::new("autoscaling", "v1", "HorizontalPodAutoscaler"),
        );
        assert_eq!(v1["spec"]["targetCPUUtilizationPercentage"], 80);
        assert_eq!(
            to(
                v1,
                &GroupVersionKind::new("autoscaling", "v2", "HorizontalPodAutoscaler")
            ),
            v2
        );
    }

    #[test]
    fn annotations_are_written_as_go_declares_their_types() {
        let cpu =
            json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 50}}});
        let queue = json!({"metric": {"name": "q", "selector": {"matchLabels": {"a": "<b>"}}}, "target": {"type": "Value", "value": "3"}});
        let rules = json!({"selectPolicy": "Max", "stabilizationWindowSeconds": 0, "policies": [{"periodSeconds": 15, "type": "Pods", "value": 4}]});
        let condition =
            json!({"lastTransitionTime": null, "reason": "R", "status": "True", "type": "AbleToScale"});
        let v2 = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {"maxReplicas": 3, "metrics": [{"type": "External", "external": queue}], "behavior": {"scaleUp": rules}},
            "status": {"currentMetrics": [cpu], "conditions": [condition], "desiredReplicas": 0},
        });
        let v1 = to(
            v2,
            &GroupVersionKind::new("autoscaling", "v1", "HorizontalPodAutoscaler"),
        );
        let annotation = |name: &str| corten_meta::object::annotation(&v1, name).unwrap_or_default();
        assert_eq!(
            annotation(CURRENT_METRICS),
            r#"[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":50,"currentAverageValue":"0"}}]"#
        );
        assert_eq!(
            annotation(METRICS),
            r#"[{"type":"External","external":{"metricName":"q","metricSelector":{"matchLabels":{"a":"\u003cb\u003e"}},"targetValue":"3"}}]"#
        );
        assert_eq!(
            annotation(CONDITIONS),
            r#"[{"type":"AbleToScale","status":"True","lastTransitionTime":null,"reason":"R"}]"#
        );
        let policy = r#"[{"Type":"Pods","Value":4,"PeriodSeconds":15}]"#;
        let up = format!(
            r#"{{"StabilizationWindowSeconds":0,"SelectPolicy":"Max","Policies":{policy},"Tolerance":null}}"#
        );
        assert_eq!(
            annotation(BEHAVIOR),
            format!(r#"{{"ScaleUp":{up},"ScaleDown":null}}"#)
        );
    }
}
