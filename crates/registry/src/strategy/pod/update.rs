//! What of a pod can change (`ValidatePodUpdate`, `ValidatePodEphemeralContainersUpdate`).

use serde_json::Value;

use super::super::rules::{At, ErrorList};
use super::annotations::APP_ARMOR;
use super::{MIRROR, NOWHERE, annotations, scheduling, spec_only_update};

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                         `spec.tolerations` (only additions to existing tolerations),\
                         `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn validate(pod: &Value, old: &Value) -> ErrorList {
    let mut errors = spec_only_update(pod);
    annotation_changes(pod, old, &mut errors);
    let root = At::root(pod);
    let spec = root.get("spec");
    for kind in ["containers", "initContainers"] {
        if !same_containers(&spec.get(kind), &old["spec"][kind], &mut errors) {
            return errors;
        }
    }
    if !deadline(
        &spec.get("activeDeadlineSeconds"),
        &old["spec"]["activeDeadlineSeconds"],
        &mut errors,
    ) {
        return errors;
    }
    tolerations(&spec.get("tolerations"), &old["spec"]["tolerations"], &mut errors);
    gates(
        &spec.get("schedulingGates"),
        &old["spec"]["schedulingGates"],
        &mut errors,
    );
    if pod["spec"] != old["spec"] {
        rest(&spec, &old["spec"], &mut errors);
    }
    errors
}

/// Annotations that say how a pod came about cannot come, go or change.
pub(super) fn annotation_changes(pod: &Value, old: &Value, errors: &mut ErrorList) {
    let root = At::root(pod);
    let metadata = root.get("metadata");
    let at = metadata.get("annotations");
    let before = &old["metadata"]["annotations"];
    for (key, value) in before.as_object().into_iter().flatten() {
        if at.value.get(key) != Some(value) {
            guarded(&at, key, "may not remove or update", errors);
        }
    }
    for (key, _) in at.entries().filter(|(key, _)| before.get(*key).is_none()) {
        guarded(&at, key, "may not add", errors);
    }
    annotations::validate(&at, &root.get("spec"), errors);
}

fn guarded(at: &At<'_, '_>, key: &str, what: &str, errors: &mut ErrorList) {
    if key.starts_with(APP_ARMOR) {
        at.key(key)
            .forbidden(errors, &format!("{what} AppArmor annotations"));
    }
    if key == MIRROR {
        at.key(key)
            .forbidden(errors, &format!("{what} mirror pod annotation"));
    }
}

/// False if checking ends here.
fn same_containers(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) -> bool {
    if at.len() != old.as_array().map_or(0, Vec::len) {
        at.forbidden(errors, "pod updates may not add or remove containers");
        return false;
    }
    for container in at.items() {
        let image = container.get("image");
        image.nonempty(errors);
        super::containers::only_for_pods(&container, errors);
    }
    true
}

fn deadline(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) -> bool {
    match (at.int(), old.as_i64()) {
        (None, Some(_)) => at.invalid(errors, "must not update from a positive integer to nil value"),
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            at.within(errors, 0, i64::from(i32::MAX));
            return false;
        }
        (Some(new), Some(old)) if old < new => {
            at.invalid(errors, "must be less than or equal to previous value");
            return false;
        }
        _ => {}
    }
    true
}

/// Tolerations can be added, and their seconds changed.
fn tolerations(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let without_seconds = |toleration: &Value| {
        let mut toleration = toleration.clone();
        if let Some(map) = toleration.as_object_mut() {
            map.remove("tolerationSeconds");
        }
        toleration
    };
    for toleration in old.as_array().into_iter().flatten().map(without_seconds) {
        if !at.items().any(|new| without_seconds(new.value) == toleration) {
            let detail = "existing toleration can not be modified except its tolerationSeconds";
            return at.forbidden(errors, detail);
        }
    }
    scheduling::tolerations(at, errors);
}

fn gates(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    for gate in at.items() {
        let name = gate.get("name");
        let known = old
            .as_array()
            .into_iter()
            .flatten()
            .any(|old| old["name"] == *name.value);
        if !known {
            let detail = format!(
                "only deletion is allowed, but found new scheduling gate '{}'",
                name.str()
            );
            name.forbidden(errors, &detail);
        }
    }
}

/// Everything else is as it was.
fn rest(spec: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let mut munged = spec.value.clone();
    for kind in ["containers", "initContainers"] {
        for (index, container) in munged
            .get_mut(kind)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .enumerate()
        {
            put(container, "image", &old[kind][index]["image"]);
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        put(&mut munged, field, &old[field]);
    }
    let grace = "terminationGracePeriodSeconds";
    if old[grace].as_i64().is_some_and(|seconds| seconds < 0) && munged[grace] == 1 {
        put(&mut munged, grace, &old[grace]);
    }
    if old["schedulingGates"]
        .as_array()
        .is_some_and(|gates| !gates.is_empty())
    {
        gated(spec, &mut munged, old, errors);
    }
    if munged != *old {
        let changed = changes(&munged, old);
        let detail = format!("pod updates may not change fields other than {UPDATABLE}\n{changed}");
        spec.forbidden(errors, &detail);
    }
}

/// A gated pod's choice of nodes can be narrowed.
fn gated(spec: &At<'_, '_>, munged: &mut Value, old: &Value, errors: &mut ErrorList) {
    let selector = spec.get("nodeSelector");
    let kept = |(key, value): (&String, &Value)| selector.value.get(key) == Some(value);
    if !old["nodeSelector"].as_object().into_iter().flatten().all(kept) {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        selector.invalid(errors, detail);
    }
    put(munged, "nodeSelector", &old["nodeSelector"]);
    let affinity = spec.get("affinity");
    node_affinity(
        &affinity.get("nodeAffinity"),
        &old["affinity"]["nodeAffinity"],
        errors,
    );
    let before = &old["affinity"]["nodeAffinity"];
    if munged["affinity"]["nodeAffinity"] != *before {
        if munged["affinity"].is_null() {
            munged["affinity"] = serde_json::json!({});
        }
        put(&mut munged["affinity"], "nodeAffinity", before);
    }
    if old["affinity"].is_null()
        && munged["affinity"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty)
    {
        put(munged, "affinity", &Value::Null);
    }
}

fn node_affinity(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let Some(before) = old[REQUIRED]["nodeSelectorTerms"].as_array() else {
        return;
    };
    let required = at.get(REQUIRED);
    let terms = required.get("nodeSelectorTerms");
    if !before.is_empty() && before.len() != terms.len() {
        return terms.invalid(
            errors,
            "no additions/deletions to non-empty NodeSelectorTerms list are allowed",
        );
    }
    for (index, old) in before.iter().enumerate() {
        let new = terms.index(index);
        let empty = |list: &str| old[list].as_array().is_none_or(Vec::is_empty);
        let grows = |list: &str| {
            let (old, new) = (old[list].as_array(), new.value[list].as_array());
            let old = old.map(Vec::as_slice).unwrap_or_default();
            new.map(Vec::as_slice).unwrap_or_default().starts_with(old)
        };
        let lists = ["matchExpressions", "matchFields"];
        let was_empty = lists.iter().all(|list| empty(list));
        let good = if was_empty {
            new.value == old
        } else {
            lists.iter().all(|list| grows(list))
        };
        if !good {
            new.invalid(errors, "only additions are allowed (no mutations or deletions)");
        }
    }
}

/// Sets a field, or takes it out.
fn put(target: &mut Value, field: &str, value: &Value) {
    let Some(target) = target.as_object_mut() else {
        return;
    };
    match value {
        Value::Null => drop(target.remove(field)),
        value => drop(target.insert(field.to_owned(), value.clone())),
    }
}

/// The fields that differ, for people to read.
fn changes(new: &Value, old: &Value) -> String {
    let fields = new
        .as_object()
        .into_iter()
        .flatten()
        .chain(old.as_object().into_iter().flatten());
    let mut names: Vec<&String> = fields
        .map(|(name, _)| name)
        .filter(|name| new.get(name) != old.get(name))
        .collect();
    names.sort();
    names.dedup();
    let lines = names.iter().map(|name| {
        let show = |value: &Value| {
            value
                .get(name)
                .map_or_else(|| "<unset>".to_owned(), Value::to_string)
        };
        format!("  {name}: {} -> {}", show(old), show(new))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Ephemeral containers are only ever added.
pub(super) fn validate_ephemeral(pod: &Value, old: &Value) -> ErrorList {
    if old["metadata"]["annotations"].get(MIRROR).is_some() {
        let mut errors = ErrorList::new();
        let detail = "static pods do not support ephemeral containers";
        At::top(NOWHERE, &Value::Null).forbidden(&mut errors, detail);
        return errors;
    }
    let mut errors = spec_only_update(pod);
    annotation_changes(pod, old, &mut errors);
    let root = At::root(pod);
    let spec = root.get("spec");
    let at = spec.get("ephemeralContainers");
    for before in old["spec"]["ephemeralContainers"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let name = corten_meta::quote(before["name"].as_str().unwrap_or_default());
        match at.items().find(|new| new.value["name"] == before["name"]) {
            None => at.forbidden(
                &mut errors,
                &format!("existing ephemeral containers {name} may not be removed\n"),
            ),
            Some(new) if new.value != before => {
                let changed = changes(new.value, before);
                let detail = format!("existing ephemeral containers {name} may not be changed\n{changed}");
                at.forbidden(&mut errors, &detail);
            }
            Some(_) => {}
        }
    }
    errors
}
