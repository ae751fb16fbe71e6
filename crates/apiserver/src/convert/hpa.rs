//! HorizontalPodAutoscaler: autoscaling/v1 has one CPU target; what else v2 says travels in annotations.

use corten_meta::Status;
use corten_meta::object::{child_mut, metadata_mut, object_mut};
use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
/// Percent; what v1 means where it says nothing.
const DEFAULT_CPU: i64 = 80;

fn is_cpu_utilization(metric: &Value, at: &str) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && metric["resource"][at]["averageUtilization"].is_number()
}

fn annotate(hpa: &mut Value, key: &str, value: &Value) {
    let annotations = child_mut(metadata_mut(hpa), "annotations");
    annotations.insert(key.to_owned(), json!(value.to_string()));
}

fn take_annotation(hpa: &mut Value, key: &str) -> Option<Value> {
    let metadata = metadata_mut(hpa);
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let text = annotations.remove(key);
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    serde_json::from_str(text?.as_str()?).ok()
}

/// From v2.
pub fn to_v1(hpa: &mut Value) {
    for key in [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR] {
        take_annotation(hpa, key);
    }
    let take = |hpa: &mut Value, part: &str, key: &str| {
        object_mut(hpa)
            .get_mut(part)
            .and_then(Value::as_object_mut)
            .and_then(|m| m.remove(key))
    };
    let list = |v: Option<Value>| match v {
        Some(Value::Array(a)) => a,
        _ => Vec::new(),
    };
    let metrics = list(take(hpa, "spec", "metrics"));
    let (cpu, others): (Vec<_>, Vec<_>) = metrics.into_iter().partition(|m| is_cpu_utilization(m, "target"));
    if let Some(first) = cpu.first() {
        hpa["spec"]["targetCPUUtilizationPercentage"] =
            first["resource"]["target"]["averageUtilization"].clone();
    }
    let current = list(take(hpa, "status", "currentMetrics"));
    if let Some(c) = current.iter().find(|m| is_cpu_utilization(m, "current")) {
        hpa["status"]["currentCPUUtilizationPercentage"] =
            c["resource"]["current"]["averageUtilization"].clone();
    }
    let conditions = list(take(hpa, "status", "conditions"));
    let behavior = take(hpa, "spec", "behavior");
    for (key, all, part) in [(METRICS, others, "target"), (CURRENT_METRICS, current, "current")] {
        if !all.is_empty() {
            annotate(hpa, key, &all.iter().map(|m| metric_to_v1(m, part)).collect());
        }
    }
    if !conditions.is_empty() {
        annotate(hpa, CONDITIONS, &Value::Array(conditions));
    }
    if let Some(b) = behavior {
        annotate(hpa, BEHAVIOR, &b);
    }
}

/// To v2.
///
/// # Errors
/// None today; annotations that do not parse are dropped, as upstream does.
pub fn to_v2(hpa: &mut Value) -> Result<(), Status> {
    let list = |v: Option<Value>| match v {
        Some(Value::Array(a)) => a,
        _ => Vec::new(),
    };
    let mut metrics: Vec<Value> = list(take_annotation(hpa, METRICS))
        .iter()
        .map(|m| metric_to_v2(m, "target"))
        .collect();
    let spec = child_mut(object_mut(hpa), "spec");
    if let Some(percent) = spec.remove("targetCPUUtilizationPercentage") {
        metrics.push(cpu_target(&percent));
    }
    if metrics.is_empty() {
        metrics.push(cpu_target(&json!(DEFAULT_CPU)));
    }
    spec.insert("metrics".to_owned(), Value::Array(metrics));
    if let Some(b) = take_annotation(hpa, BEHAVIOR) {
        hpa["spec"]["behavior"] = b;
    }
    let percent = child_mut(object_mut(hpa), "status").remove("currentCPUUtilizationPercentage");
    let current = list(take_annotation(hpa, CURRENT_METRICS));
    if !current.is_empty() {
        hpa["status"]["currentMetrics"] = current.iter().map(|m| metric_to_v2(m, "current")).collect();
    } else if let Some(p) = percent {
        let resource = json!({"name": "cpu", "current": {"averageUtilization": p}});
        hpa["status"]["currentMetrics"] = json!([{"type": "Resource", "resource": resource}]);
    }
    if let Some(c) = take_annotation(hpa, CONDITIONS) {
        hpa["status"]["conditions"] = c;
    }
    Ok(())
}

fn cpu_target(percent: &Value) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
}

/// Member of a MetricSpec that its type names.
fn source_name(metric: &Value) -> &'static str {
    match metric["type"].as_str().unwrap_or_default() {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        _ => "external",
    }
}

fn set(out: &mut Map<String, Value>, key: String, value: &Value) {
    if !value.is_null() {
        out.insert(key, value.clone());
    }
}

/// v1's prefix of flattened values: `targetAverageValue`, `currentAverageValue`.
fn metric_to_v1(metric: &Value, part: &str) -> Value {
    let source = source_name(metric);
    let from = &metric[source];
    let values = &from[part];
    let mut out = Map::new();
    match source {
        "resource" | "containerResource" => {
            set(&mut out, "name".into(), &from["name"]);
            set(&mut out, "container".into(), &from["container"]);
            set(
                &mut out,
                format!("{part}AverageUtilization"),
                &values["averageUtilization"],
            );
            set(&mut out, format!("{part}AverageValue"), &values["averageValue"]);
        }
        "object" => {
            set(&mut out, "target".into(), &from["describedObject"]);
            set(&mut out, "metricName".into(), &from["metric"]["name"]);
            set(&mut out, "selector".into(), &from["metric"]["selector"]);
            out.insert(
                format!("{part}Value"),
                values.get("value").cloned().unwrap_or(json!("0")),
            );
            set(&mut out, "averageValue".into(), &values["averageValue"]);
        }
        _ => {
            let selector = if source == "pods" {
                "selector"
            } else {
                "metricSelector"
            };
            set(&mut out, "metricName".into(), &from["metric"]["name"]);
            set(&mut out, selector.into(), &from["metric"]["selector"]);
            set(&mut out, format!("{part}Value"), &values["value"]);
            set(&mut out, format!("{part}AverageValue"), &values["averageValue"]);
        }
    }
    json!({"type": metric["type"], source: out})
}

fn metric_to_v2(metric: &Value, part: &str) -> Value {
    let source = source_name(metric);
    let from = &metric[source];
    let (mut out, mut values) = (Map::new(), Map::new());
    let average_name = if source == "object" {
        "averageValue".to_owned()
    } else {
        format!("{part}AverageValue")
    };
    set(
        &mut values,
        "averageUtilization".into(),
        &from[format!("{part}AverageUtilization")],
    );
    set(&mut values, "averageValue".into(), &from[average_name]);
    let value = &from[format!("{part}Value")];
    if !(source == "object" && values.contains_key("averageValue") && value == "0") {
        set(&mut values, "value".into(), value);
    }
    if part == "target" {
        let kind = if values.contains_key("averageUtilization") {
            "Utilization"
        } else if values.contains_key("averageValue")
            || matches!(source, "resource" | "containerResource" | "pods")
        {
            "AverageValue"
        } else {
            "Value"
        };
        values.insert("type".into(), json!(kind));
    }
    if matches!(source, "resource" | "containerResource") {
        set(&mut out, "name".into(), &from["name"]);
        set(&mut out, "container".into(), &from["container"]);
    } else {
        let mut id = Map::new();
        set(&mut id, "name".into(), &from["metricName"]);
        set(
            &mut id,
            "selector".into(),
            &from[if source == "external" {
                "metricSelector"
            } else {
                "selector"
            }],
        );
        out.insert("metric".into(), Value::Object(id));
        if source == "object" {
            set(&mut out, "describedObject".into(), &from["target"]);
        }
    }
    out.insert(part.to_owned(), Value::Object(values));
    json!({"type": metric["type"], source: out})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cpu_only_is_plain() {
        let mut hpa = json!({"metadata": {}, "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}, "status": {}});
        let before = hpa.clone();
        to_v2(&mut hpa).unwrap();
        assert_eq!(
            hpa["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
            50
        );
        to_v1(&mut hpa);
        assert_eq!(hpa, before);
    }

    #[test]
    fn other_metrics_travel_in_annotations() {
        let v2 = json!({"metadata": {}, "status": {}, "spec": {"metrics": [
            {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}}},
            {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "a"}, "metric": {"name": "q"},
                "target": {"type": "Value", "value": "3"}}},
        ]}});
        let mut hpa = v2.clone();
        to_v1(&mut hpa);
        assert!(
            hpa["metadata"]["annotations"][METRICS]
                .as_str()
                .unwrap()
                .contains("targetAverageValue")
        );
        to_v2(&mut hpa).unwrap();
        assert_eq!(hpa, v2);
    }
}
