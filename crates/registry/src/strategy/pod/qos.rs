//! Quality of service from requests and limits of cpu and memory (`pkg/apis/core/v1/helper/qos`).

use serde_json::Value;

use super::super::rules::nanos;

/// Of a pod's spec. Requests and limits of the whole pod, where given, count instead of the containers'.
pub(super) fn class(spec: &Value) -> &'static str {
    let whole = &spec["resources"];
    let of_pod = ["requests", "limits"]
        .iter()
        .any(|kind| whole[*kind].as_object().is_some_and(|map| !map.is_empty()));
    let lists = ["containers", "initContainers"]
        .into_iter()
        .filter_map(|kind| spec[kind].as_array());
    let containers = lists.flatten().map(|container| &container["resources"]);
    let all: Vec<&Value> = if of_pod { vec![whole] } else { containers.collect() };
    let amount = |resources: &Value, kind: &str, name: &str| nanos(&resources[kind][name]);
    let (mut any, mut guaranteed) = (false, true);
    for resources in &all {
        for name in ["cpu", "memory"] {
            let (request, limit) = (
                amount(resources, "requests", name),
                amount(resources, "limits", name),
            );
            any |= request > 0 || limit > 0;
            guaranteed &= limit > 0 && (request == limit || request == 0);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equal_amounts_in_other_words_are_guaranteed() {
        let container =
            |requests: Value, limits: Value| json!({"resources": {"requests": requests, "limits": limits}});
        let all = json!({"cpu": "1", "memory": "1Gi"});
        let same = json!({"cpu": "1000m", "memory": "1024Mi"});
        assert_eq!(
            class(&json!({"containers": [container(all.clone(), same)]})),
            "Guaranteed"
        );
        assert_eq!(
            class(&json!({"containers": [container(all, json!({}))]})),
            "Burstable"
        );
        assert_eq!(class(&json!({"containers": [{}]})), "BestEffort");
    }
}
