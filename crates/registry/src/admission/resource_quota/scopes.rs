//! Which objects a quota is about.

use serde_json::Value;

use super::usage::{Measured, terminating};

/// Whether the object is in all scopes of the quota.
pub(super) fn matches(measured: &Measured, quota: &Value, object: &Value) -> bool {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let plain = list(&quota["spec"]["scopes"]);
    let selected = list(&quota["spec"]["scopeSelector"]["matchExpressions"]);
    let exists = serde_json::json!({"operator": "Exists"});
    let plain = plain
        .iter()
        .all(|scope| in_scope(measured, scope.as_str().unwrap_or_default(), &exists, object));
    plain
        && selected.iter().all(|requirement| {
            in_scope(
                measured,
                requirement["scopeName"].as_str().unwrap_or_default(),
                requirement,
                object,
            )
        })
}

fn in_scope(measured: &Measured, scope: &str, requirement: &Value, object: &Value) -> bool {
    let spec = &object["spec"];
    match (measured, scope) {
        (Measured::Pod, "Terminating") => terminating(object),
        (Measured::Pod, "NotTerminating") => !terminating(object),
        (Measured::Pod, "BestEffort") => best_effort(spec),
        (Measured::Pod, "NotBestEffort") => !best_effort(spec),
        (Measured::Pod, "PriorityClass") => selects(requirement, &[&spec["priorityClassName"]]),
        (Measured::Pod, "CrossNamespacePodAffinity") => reaches_out(&spec["affinity"]),
        (Measured::Claim, "VolumeAttributesClass") => {
            let status = &object["status"];
            let names = [
                &spec["volumeAttributesClassName"],
                &status["currentVolumeAttributesClassName"],
                &status["modifyVolumeStatus"]["targetVolumeAttributesClassName"],
            ];
            selects(requirement, &names)
        }
        _ => false,
    }
}

/// Whether one of the names is what the requirement asks for.
fn selects(requirement: &Value, names: &[&Value]) -> bool {
    let names: Vec<&str> = names
        .iter()
        .filter_map(|name| name.as_str())
        .filter(|name| !name.is_empty())
        .collect();
    let values = requirement["values"].as_array().into_iter().flatten();
    let values: Vec<&str> = values.filter_map(Value::as_str).collect();
    match requirement["operator"].as_str() {
        Some("Exists") => !names.is_empty(),
        Some("DoesNotExist") => names.is_empty(),
        Some("In") => names.iter().any(|name| values.contains(name)),
        Some("NotIn") => !names.iter().any(|name| values.contains(name)),
        _ => false,
    }
}

/// No container asks for or limits cpu or memory.
fn best_effort(spec: &Value) -> bool {
    let holders = ["containers", "initContainers"].map(|field| spec[field].as_array());
    let mut holders = holders
        .into_iter()
        .flatten()
        .flatten()
        .chain(std::iter::once(spec));
    let stated = |holder: &Value, kind: &str| {
        let list = super::amounts(&holder["resources"][kind]);
        ["cpu", "memory"]
            .iter()
            .any(|name| list.get(*name).is_some_and(|amount| !amount.is_zero()))
    };
    !holders.any(|holder| stated(holder, "requests") || stated(holder, "limits"))
}

/// Terms that look at pods of other namespaces.
fn reaches_out(affinity: &Value) -> bool {
    let term = |term: &Value| {
        term["namespaces"]
            .as_array()
            .is_some_and(|names| !names.is_empty())
            || term["namespaceSelector"].is_object()
    };
    let any =
        |terms: &Value, check: &dyn Fn(&Value) -> bool| terms.as_array().into_iter().flatten().any(check);
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let rules = &affinity[*kind];
        any(&rules["requiredDuringSchedulingIgnoredDuringExecution"], &term)
            || any(
                &rules["preferredDuringSchedulingIgnoredDuringExecution"],
                &|weighted| term(&weighted["podAffinityTerm"]),
            )
    })
}
