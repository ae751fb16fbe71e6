//! What becomes of a pod before it is checked.

use std::collections::BTreeMap;

use corten_meta::object;
use serde_json::{Value, json};

use super::super::{StrategyContext, generic};
use super::annotations::{APP_ARMOR, APP_ARMOR_DETAIL, app_armor_field};
use super::containers;

/// A gated pod says from the start why it is not scheduled.
pub(super) fn scheduling_gated(pod: &mut Value, now: &str) {
    if pod["spec"]["schedulingGates"]
        .as_array()
        .is_none_or(Vec::is_empty)
    {
        return;
    }
    pod["status"]["conditions"] = json!([{
        "type": "PodScheduled",
        "status": "False",
        "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
        "lastProbeTime": null,
        "lastTransitionTime": now,
    }]);
}

/// AppArmor profiles of annotations become fields where a container has none, and the pod's is another; who still notes them
/// is told (`applyAppArmorVersionSkew`). Windows has no AppArmor.
pub(super) fn app_armor_fields(ctx: &StrategyContext<'_>, pod: &mut Value) {
    if pod["spec"]["os"]["name"] == "windows" {
        return;
    }
    let annotations = pod["metadata"]["annotations"].as_object();
    let noted: BTreeMap<String, String> = annotations
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with(APP_ARMOR))
        .filter_map(|(key, profile)| Some((key.clone(), profile.as_str()?.to_owned())))
        .collect();
    if noted.is_empty() {
        return;
    }
    let of_pod = pod["spec"]["securityContext"]["appArmorProfile"].clone();
    for kind in containers::LISTS {
        let list = pod["spec"].get_mut(kind).and_then(Value::as_array_mut);
        for container in list.into_iter().flatten() {
            let key = format!("{APP_ARMOR}{}", object::str_at(container, &["name"]));
            let Some(noted) = noted.get(&key) else { continue };
            let own = &container["securityContext"]["appArmorProfile"];
            let Some(wanted) = app_armor_field(noted, own, &of_pod) else {
                continue;
            };
            if let Some(profile) = wanted {
                container["securityContext"]["appArmorProfile"] = profile;
            }
            ctx.write
                .warn(format!("metadata.annotations[{key}]: {APP_ARMOR_DETAIL}"));
        }
    }
}

/// `matchLabelKeys` and `mismatchLabelKeys` become requirements on the values this pod has.
pub(super) fn merge_label_keys(pod: &mut Value) {
    let labels = pod["metadata"]["labels"].clone();
    let spec = &mut pod["spec"];
    for kind in ["podAffinity", "podAntiAffinity"] {
        for list in [
            "preferredDuringSchedulingIgnoredDuringExecution",
            "requiredDuringSchedulingIgnoredDuringExecution",
        ] {
            let terms = spec
                .pointer_mut(&format!("/affinity/{kind}/{list}"))
                .and_then(Value::as_array_mut);
            for term in terms.into_iter().flatten() {
                match term.get_mut("podAffinityTerm") {
                    Some(weighted) => merge_into(weighted, &labels),
                    None => merge_into(term, &labels),
                }
            }
        }
    }
    let constraints = spec
        .get_mut("topologySpreadConstraints")
        .and_then(Value::as_array_mut);
    constraints
        .into_iter()
        .flatten()
        .for_each(|constraint| merge_into(constraint, &labels));
}

fn merge_into(term: &mut Value, labels: &Value) {
    let mut added = Vec::new();
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in term[field]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if let Some(value) = labels.get(key) {
                added.push(json!({"key": key, "operator": operator, "values": [value]}));
            }
        }
    }
    let selector = term
        .get_mut("labelSelector")
        .filter(|selector| selector.is_object());
    let Some(selector) = selector.filter(|_| !added.is_empty()) else {
        return;
    };
    if !selector["matchExpressions"].is_array() {
        selector["matchExpressions"] = json!([]);
    }
    if let Some(expressions) = selector["matchExpressions"].as_array_mut() {
        expressions.append(&mut added);
    }
}

/// A status update changes neither spec nor owners; generations once seen stay seen.
pub(super) fn status_update(pod: &mut Value, old: &Value) {
    generic::keep_all_but_status(pod, old);
    let owners = old["metadata"]["ownerReferences"].clone();
    if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
        match owners.is_null() {
            true => drop(metadata.remove("ownerReferences")),
            false => drop(metadata.insert("ownerReferences".to_owned(), owners)),
        }
    }
    keep(&mut pod["status"], &old["status"], "qosClass");
    keep(&mut pod["status"], &old["status"], "observedGeneration");
    let mut before: Vec<&Value> = old["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let conditions = pod["status"].get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        if let Some(index) = before.iter().position(|old| old["type"] == condition["type"]) {
            keep(condition, before.remove(index), "observedGeneration");
        }
    }
}

/// What is not given stays.
fn keep(new: &mut Value, old: &Value, field: &str) {
    let given = new
        .get(field)
        .is_some_and(|value| !value.is_null() && *value != "" && *value != 0);
    if let Some(before) = old.get(field).filter(|_| !given) {
        if new.is_null() {
            *new = json!({});
        }
        new[field] = before.clone();
    }
}

/// Only the list of ephemeral containers comes from the client.
pub(super) fn ephemeral_update(ctx: &StrategyContext<'_>, pod: &mut Value, old: &Value) {
    let wanted = pod["spec"]["ephemeralContainers"].take();
    keep_all(pod, old);
    match wanted {
        Value::Null => drop(
            pod["spec"]
                .as_object_mut()
                .and_then(|spec| spec.remove("ephemeralContainers")),
        ),
        wanted => pod["spec"]["ephemeralContainers"] = wanted,
    }
    generic::bump_generation(ctx.resource, pod, old);
}

/// Only resources and resize policies of containers come from the client, and the pod's own resources. Where containers came
/// or went the pod stays as it was sent: it is refused in validation.
pub(super) fn resize_update(ctx: &StrategyContext<'_>, pod: &mut Value, old: &Value) {
    const LISTS: [&str; 2] = ["containers", "initContainers"];
    let count = |pod: &Value, kind: &str| pod["spec"][kind].as_array().map_or(0, Vec::len);
    if LISTS.iter().any(|kind| count(pod, kind) != count(old, kind)) {
        return;
    }
    let wanted = pod["spec"].take();
    keep_all(pod, old);
    for kind in LISTS {
        resize_containers(&mut pod["spec"], &wanted, kind);
    }
    generic::copy_field(&mut pod["spec"], &wanted, "resources");
    generic::bump_generation(ctx.resource, pod, old);
}

/// With another name or order the list stays as it was sent, to be refused.
fn resize_containers(spec: &mut Value, wanted: &Value, kind: &str) {
    let Some(containers) = spec.get_mut(kind).and_then(Value::as_array_mut) else {
        return;
    };
    let wanted = wanted[kind].as_array().map(Vec::as_slice).unwrap_or_default();
    let same_name = |(old, new): (&Value, &Value)| old["name"] == new["name"];
    if !containers.iter().zip(wanted).all(same_name) {
        wanted.clone_into(containers);
        return;
    }
    for (container, wanted) in containers.iter_mut().zip(wanted) {
        for field in ["resources", "resizePolicy"] {
            generic::copy_field(container, wanted, field);
        }
    }
}

/// Spec, status, and the metadata that says what the object is.
fn keep_all(pod: &mut Value, old: &Value) {
    pod["spec"] = old["spec"].clone();
    pod["status"] = old["status"].clone();
    for field in ["labels", "annotations", "ownerReferences", "finalizers"] {
        generic::copy_field(&mut pod["metadata"], &old["metadata"], field);
    }
    let version = object::resource_version(old).to_owned();
    if object::resource_version(pod).is_empty() {
        object::set_resource_version(pod, &version);
    }
}
