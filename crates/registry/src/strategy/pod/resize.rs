//! Changing cpu and memory of a pod in place (`ValidatePodResize`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::rules::{At, ErrorList, nanos};
use super::{MIRROR, NOWHERE, qos, spec_only_update};

const LISTS: [&str; 2] = ["requests", "limits"];

pub(super) fn validate(pod: &Value, old: &Value) -> ErrorList {
    let refused = match old {
        _ if old["metadata"]["annotations"].get(MIRROR).is_some() => Some("static pods cannot be resized"),
        _ if old["spec"]["os"]["name"] == "windows" => Some("windows pods cannot be resized"),
        _ => None,
    };
    if let Some(detail) = refused {
        let mut errors = ErrorList::new();
        At::top(NOWHERE, &Value::Null).forbidden(&mut errors, detail);
        return errors;
    }
    let mut errors = spec_only_update(pod);
    let root = At::root(pod);
    let spec = root.get("spec");
    let class = old["status"]["qosClass"]
        .as_str()
        .unwrap_or_else(|| qos::class(&old["spec"]));
    if class != qos::class(&pod["spec"]) {
        let shown = pod["status"]["qosClass"].as_str().unwrap_or_default();
        let detail = "Pod QOS Class may not change as a result of resizing";
        spec.invalid_as(&mut errors, shown, detail);
    }
    if !is_supported(&old["status"]) {
        spec.forbidden(&mut errors, "Pod running on node without support for resize");
    }
    of_pod(&spec, &old["spec"], &mut errors);
    let before = errors.len();
    for kind in ["containers", "initContainers"] {
        same_order(&spec.get(kind), &old["spec"][kind], kind, &mut errors);
    }
    if errors.len() > before {
        return errors;
    }
    removals(&spec, &old["spec"], &mut errors);
    for kind in ["containers", "initContainers"] {
        for (index, container) in spec.get(kind).items().enumerate() {
            rest(&spec, &container, &old["spec"][kind][index], kind, &mut errors);
        }
    }
    // What says nothing may not come or go either.
    let (now, then) = (spec.get("resources"), &old["spec"]["resources"]);
    let empty = !has_amounts(now.value) && !has_amounts(then);
    if errors.is_empty() && empty && now.value.is_null() != then.is_null() {
        spec.forbidden(&mut errors, "only cpu and memory resources are mutable");
    }
    errors
}

/// A kubelet that can resize says what a running container has. Where none runs it is not known, and allowed.
fn is_supported(status: &Value) -> bool {
    let mut containers = status["containerStatuses"].as_array().into_iter().flatten();
    containers
        .find(|container| !container["state"]["running"].is_null())
        .is_none_or(|running| !running["resources"].is_null())
}

fn has_amounts(resources: &Value) -> bool {
    let filled = |list| !At::root(resources).get(list).is_empty();
    LISTS.into_iter().any(filled)
}

/// `validatePodLevelResourcesResize`.
fn of_pod(spec: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let (now, then) = (spec.get("resources"), &old["resources"]);
    if !has_amounts(now.value) && !has_amounts(then) {
        return;
    }
    if !now.is_set() {
        return now.forbidden(errors, "pod-level resources cannot be removed");
    }
    for (list, detail) in [
        ("requests", "pod-level resource requests cannot be removed"),
        ("limits", "pod-level resource limits cannot be removed"),
    ] {
        removed(&now.get(list), &then[list], detail, errors);
    }
    if others(now.value) != others(then) || items(&now.value["claims"]) != items(&then["claims"]) {
        spec.forbidden(errors, "only cpu and memory resources are mutable at pod-level");
    }
}

fn same_order(at: &At<'_, '_>, old: &Value, kind: &str, errors: &mut ErrorList) {
    let before = items(old);
    if at.len() != before.len() {
        return at.forbidden(errors, &format!("{kind} may not be added or removed on resize"));
    }
    for (container, before) in at.items().zip(before) {
        if container.value["name"] != before["name"] {
            let detail = format!("{kind} may not be renamed or reordered on resize");
            container.get("name").forbidden(errors, &detail);
        }
    }
}

/// `validateContainerResize`, for containers that run as long as the pod.
fn removals(spec: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    for kind in ["initContainers", "containers"] {
        for (index, container) in spec.get(kind).items().enumerate() {
            let before = &old[kind][index]["resources"];
            if kind == "initContainers" && !is_sidecar(container.value) {
                continue;
            }
            let resources = container.get("resources");
            for list in LISTS {
                let detail = format!("resource {list} cannot be removed");
                removed(&resources.get(list), &before[list], &detail, errors);
            }
        }
    }
}

fn removed(at: &At<'_, '_>, old: &Value, detail: &str, errors: &mut ErrorList) {
    let mut before = old.as_object().into_iter().flatten();
    if before.any(|(name, _)| at.value.get(name).is_none()) {
        at.forbidden(errors, detail);
    }
}

/// Everything but cpu and memory is as it was; claims of devices cannot be resized with.
fn rest(spec: &At<'_, '_>, at: &At<'_, '_>, old: &Value, kind: &str, errors: &mut ErrorList) {
    let (now, then) = (&at.value["resources"], &old["resources"]);
    let policies = items(&at.value["resizePolicy"]) == items(&old["resizePolicy"]);
    let munged = || policies && others(now) == others(then) && items(&then["claims"]).is_empty();
    let (same, detail) = match kind {
        "containers" => (munged(), "only cpu and memory resources are mutable"),
        _ if is_sidecar(at.value) => (
            munged(),
            "only cpu and memory resources for sidecar containers are mutable",
        ),
        _ => (
            policies && all(now) == all(then) && items(&now["claims"]) == items(&then["claims"]),
            "resources for non-sidecar init containers are immutable",
        ),
    };
    if !same {
        spec.forbidden(errors, detail);
    }
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Requests and limits by name, to be compared.
fn all(resources: &Value) -> [BTreeMap<&str, i128>; 2] {
    LISTS.map(|list| {
        let entries = resources[list].as_object().into_iter().flatten();
        entries
            .map(|(name, value)| (name.as_str(), nanos(value)))
            .collect()
    })
}

/// The same without what can be resized.
fn others(resources: &Value) -> [BTreeMap<&str, i128>; 2] {
    all(resources).map(|mut list| {
        list.retain(|name, _| !matches!(*name, "cpu" | "memory"));
        list
    })
}

#[cfg(test)]
mod tests;
