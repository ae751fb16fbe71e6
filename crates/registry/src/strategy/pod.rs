//! Pods: deleted with grace, watched by node (`pkg/registry/core/pod/strategy.go`).

use corten_meta::object;
use serde_json::{Value, json};

use super::{Strategy, StrategyContext, generic};

/// Fields pods can be selected by, as upstream's `ToSelectableFields`.
const FIELDS: [&str; 9] = [
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
];

#[derive(Clone, Copy, Debug)]
pub struct PodStrategy;

impl Strategy for PodStrategy {
    fn prepare_for_create(&self, ctx: &StrategyContext<'_>, pod: &mut Value) {
        generic::prepare_for_create(ctx, pod);
        pod["status"] = json!({"phase": "Pending", "qosClass": qos_class(pod)});
    }

    fn graceful_delete(
        &self,
        _ctx: &StrategyContext<'_>,
        pod: &Value,
        requested: Option<i64>,
    ) -> Option<i64> {
        let by_default = || pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(0);
        let unscheduled = object::str_at(pod, &["spec", "nodeName"]).is_empty();
        let finished = matches!(object::str_at(pod, &["status", "phase"]), "Failed" | "Succeeded");
        let period = if unscheduled || finished {
            0
        } else {
            requested.unwrap_or_else(by_default)
        };
        Some(if period < 0 { 1 } else { period })
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &FIELDS
    }

    fn field_values(&self, pod: &Value) -> Vec<String> {
        FIELDS.iter().map(|field| field_value(pod, field)).collect()
    }

    fn indexed_field(&self) -> Option<&'static str> {
        Some("spec.nodeName")
    }
}

fn field_value(pod: &Value, field: &str) -> String {
    match field {
        "spec.hostNetwork" => pod["spec"]["hostNetwork"].as_bool().unwrap_or(false).to_string(),
        "status.podIP" => pod["status"]["podIPs"][0]["ip"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        "status.podIPs" => {
            let ips = pod["status"]["podIPs"].as_array().into_iter().flatten();
            ips.filter_map(|ip| ip["ip"].as_str())
                .collect::<Vec<_>>()
                .join(",")
        }
        field => {
            let (part, name) = field.split_once('.').unwrap_or((field, ""));
            object::str_at(pod, &[part, name]).to_owned()
        }
    }
}

/// Quality of service from requests and limits of cpu and memory (`pkg/apis/core/v1/helper/qos`).
fn qos_class(pod: &Value) -> &'static str {
    let containers = ["initContainers", "containers"].into_iter();
    let containers: Vec<&Value> = containers
        .filter_map(|kind| pod["spec"][kind].as_array())
        .flatten()
        .collect();
    let set = |container: &Value, kind: &str, resource: &str| match &container["resources"][kind][resource] {
        Value::Null => None,
        quantity => Some(quantity.clone()).filter(|quantity| !is_zero(quantity)),
    };
    let (mut any, mut all_limited) = (false, true);
    for container in &containers {
        for resource in ["cpu", "memory"] {
            let (request, limit) = (
                set(container, "requests", resource),
                set(container, "limits", resource),
            );
            any |= request.is_some() || limit.is_some();
            all_limited &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (any, all_limited) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn is_zero(quantity: &Value) -> bool {
    quantity
        .as_str()
        .is_some_and(|text| text.chars().all(|c| !c.is_ascii_digit() || c == '0'))
        || *quantity == 0
}
