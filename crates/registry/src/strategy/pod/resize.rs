//! Changing cpu and memory of a pod in place (`ValidatePodResize`).

use serde_json::Value;

use super::super::rules::{At, ErrorList};
use super::{MIRROR, qos, spec_only_update};

pub(super) fn validate(pod: &Value, old: &Value) -> ErrorList {
    let refused = match old {
        _ if old["metadata"]["annotations"].get(MIRROR).is_some() => Some("static pods cannot be resized"),
        _ if old["spec"]["os"]["name"] == "windows" => Some("windows pods cannot be resized"),
        _ => None,
    };
    if let Some(detail) = refused {
        let mut errors = ErrorList::new();
        At::root(&Value::Null).forbidden(&mut errors, detail);
        return errors;
    }
    let mut errors = spec_only_update(pod);
    let root = At::root(pod);
    let spec = root.get("spec");
    let class = old["status"]["qosClass"]
        .as_str()
        .unwrap_or_else(|| qos::class(&old["spec"]));
    if class != qos::class(&pod["spec"]) {
        spec.invalid_as(
            &mut errors,
            class,
            "Pod QOS Class may not change as a result of resizing",
        );
    }
    for kind in ["initContainers", "containers"] {
        if !same_order(&spec.get(kind), &old["spec"][kind], kind, &mut errors) {
            return errors;
        }
    }
    for kind in ["initContainers", "containers"] {
        for (index, container) in spec.get(kind).items().enumerate() {
            container_resize(&container, &old["spec"][kind][index], kind, &mut errors);
        }
    }
    errors
}

fn same_order(at: &At<'_, '_>, old: &Value, kind: &str, errors: &mut ErrorList) -> bool {
    let before = old.as_array().map(Vec::as_slice).unwrap_or_default();
    if at.len() != before.len() {
        at.forbidden(errors, &format!("{kind} may not be added or removed on resize"));
        return false;
    }
    let mut same = true;
    for (index, container) in at.items().enumerate() {
        if container.value["name"] != before[index]["name"] {
            same = false;
            let detail = format!("{kind} may not be renamed or reordered on resize");
            container.get("name").forbidden(errors, &detail);
        }
    }
    same
}

fn container_resize(at: &At<'_, '_>, old: &Value, kind: &str, errors: &mut ErrorList) {
    let resources = at.get("resources");
    if *resources.value == old["resources"] {
        return;
    }
    let sidecar = at.get("restartPolicy").str() == "Always";
    if kind == "initContainers" && !sidecar {
        let detail = "resources for non-sidecar init containers are immutable";
        return At::top("spec", at.value).forbidden(errors, detail);
    }
    for list in ["requests", "limits"] {
        let new = resources.get(list);
        let mut before = old["resources"][list].as_object().into_iter().flatten();
        if before.any(|(name, _)| !new.key(name).is_set()) {
            new.forbidden(errors, &format!("resource {list} cannot be removed"));
        }
        let others = |value: &Value| {
            let entries = value.as_object().into_iter().flatten();
            let entries = entries.filter(|(name, _)| !matches!(name.as_str(), "cpu" | "memory"));
            entries
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<Vec<_>>()
        };
        if others(new.value) != others(&old["resources"][list]) {
            At::top("spec", at.value).forbidden(errors, "only cpu and memory resources are mutable");
        }
    }
}
