//! autoscaling/v1, autoscaling/v2 and scheduling/v1.

use serde_json::{Value, json};

use crate::convert::METRICS;

use super::{Entry, Members, child, list_is_empty, set, set_absent};

const V1: &str = "api/autoscaling/v1";
const V2: &str = "api/autoscaling/v2";

pub(super) const HOOKS: &[Entry] = &[
    (V1, "HorizontalPodAutoscaler", v1),
    (V2, "HorizontalPodAutoscaler", v2),
    ("api/scheduling/v1", "PriorityClass", priority_class),
];

const CPU_UTILIZATION: i32 = 80;

fn v1(obj: &mut Members) {
    // Upstream sets the target where it makes its internal form, which has the metrics that annotations hold.
    let noted = obj
        .get("metadata")
        .and_then(|meta| meta.get("annotations")?.get(METRICS)?.as_str())
        .and_then(|text| serde_json::from_str::<Vec<Value>>(text).ok())
        .is_some_and(|metrics| !metrics.is_empty());
    let spec = child(obj, "spec");
    set_absent(spec, "minReplicas", 1);
    if !noted {
        set_absent(spec, "targetCPUUtilizationPercentage", CPU_UTILIZATION);
    }
}

fn v2(obj: &mut Members) {
    let spec = child(obj, "spec");
    set_absent(spec, "minReplicas", 1);
    if list_is_empty(spec, "metrics") {
        let target = json!({"type": "Utilization", "averageUtilization": CPU_UTILIZATION});
        set(
            spec,
            "metrics",
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]),
        );
    }
    if let Some(Value::Object(behavior)) = spec.get_mut("behavior") {
        let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
        let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
        rules(child(behavior, "scaleUp"), json!([pods, percent]));
        set_absent(child(behavior, "scaleUp"), "stabilizationWindowSeconds", 0);
        rules(child(behavior, "scaleDown"), json!([percent]));
    }
}

fn rules(rules: &mut Members, policies: Value) {
    set_absent(rules, "selectPolicy", "Max");
    set_absent(rules, "policies", policies);
}

fn priority_class(obj: &mut Members) {
    set_absent(obj, "preemptionPolicy", "PreemptLowerPriority");
}
