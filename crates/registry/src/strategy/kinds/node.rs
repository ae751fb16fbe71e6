//! Nodes.

use std::cmp::Ordering;

use corten_meta::field::Error;
use corten_meta::names;
use serde_json::Value;

use super::super::StrategyContext;
use super::super::pod::resources::resource_value;
use super::super::pod::scheduling::TAINT_EFFECTS;
use super::super::rules::{At, ErrorList, cidr, cidr_warnings, go_struct, is_dual_stack, label_name};
use super::{PLAIN, Rules};
use crate::resource::Subresource;

const FEATURE_NAME_BYTES_MAX: usize = 253;

pub(super) const RULES: Rules = Rules {
    status_on_create: true,
    prepare_update,
    body,
    change,
    status: change,
    selectable: &["spec.unschedulable"],
    absent: "false",
    warnings: |node, _| warnings(node),
    ..PLAIN
};

fn warnings(node: &Value) -> Vec<String> {
    let at = At::root(node);
    let spec = at.get("spec");
    let mut warnings = Vec::new();
    if spec.get("configSource").is_set() {
        warnings.push("spec.configSource: the feature is removed".to_owned());
    }
    if !spec.get("externalID").is_empty() {
        let text = "spec.externalID: this field is deprecated, and is unused by Kubernetes";
        warnings.push(text.to_owned());
    }
    warnings.extend(
        spec.get("podCIDRs")
            .items()
            .flat_map(|range| cidr_warnings(&range)),
    );
    warnings
}

/// The removed dynamic configuration cannot be asked for any more.
fn prepare_update(ctx: &StrategyContext<'_>, node: &mut Value, old: &Value) {
    let part = if ctx.subresource == Subresource::STATUS {
        ("status", "config")
    } else {
        ("spec", "configSource")
    };
    if old[part.0][part.1].is_null()
        && let Some(fields) = node[part.0].as_object_mut()
    {
        fields.remove(part.1);
    }
}

fn body(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (metadata, spec) = (at.get("metadata"), at.get("spec"));
    // Upstream names the field so.
    taints(&metadata.get("taints").with(spec.get("taints").value), errors);
    resources(at, errors);
    declared_features(&at.get("status").get("declaredFeatures"), errors);
    pod_cidrs(&spec.get("podCIDRs"), errors);
}

fn taints(list: &At<'_, '_>, errors: &mut ErrorList) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for taint in list.items() {
        let (key, value, effect) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        label_name(&key.with(key.value), errors);
        let messages = names::is_label_value(value.str());
        if !messages.is_empty() {
            value.invalid(errors, &messages.join(";"));
        }
        match effect.str() {
            "" => effect.required(errors, ""),
            text if TAINT_EFFECTS.contains(&text) => {}
            _ => effect.not_supported(errors, TAINT_EFFECTS),
        }
        let pair = (effect.str(), key.str());
        if seen.contains(&pair) {
            let fields = [
                ("Key", "key"),
                ("Value", "value"),
                ("Effect", "effect"),
                ("TimeAdded", "timeAdded"),
            ];
            let mut error = Error::duplicate(&taint.path(), Value::Null);
            error.detail = format!(
                "{}: taints must be unique by key and effect pair",
                go_struct(taint.value, &fields)
            );
            error.bad_value = None;
            errors.push(error);
        }
        seen.push(pair);
    }
}

fn resources(at: &At<'_, '_>, errors: &mut ErrorList) {
    let status = at.get("status");
    for list in ["capacity", "allocatable"] {
        let list = status.get(list);
        for (name, _) in list.entries() {
            resource_value(&list.get(name), name, errors);
        }
    }
}

/// Names in order, each once.
fn declared_features(list: &At<'_, '_>, errors: &mut ErrorList) {
    for (index, feature) in list.items().enumerate() {
        if let Some(problem) = feature_name_problem(feature.str()) {
            feature.invalid(errors, &problem);
        }
        let next = list.index(index + 1);
        match feature.str().cmp(next.str()) {
            _ if !next.is_set() => {}
            Ordering::Less => {}
            Ordering::Equal => next.duplicate(errors),
            Ordering::Greater => next.invalid(errors, "list must be sorted alphabetically"),
        }
    }
}

fn feature_name_problem(name: &str) -> Option<String> {
    let quoted = corten_meta::quote(name);
    if name.len() > FEATURE_NAME_BYTES_MAX {
        return Some(format!(
            "invalid feature name {quoted}: must be no more than {FEATURE_NAME_BYTES_MAX} characters"
        ));
    }
    let letters = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(|c| c.is_ascii_alphanumeric())
    };
    let good = name.starts_with(|c: char| c.is_ascii_uppercase()) && name.split('/').all(letters);
    (!good).then(|| {
        format!(
            "invalid feature name {quoted}: must start with an UpperCamelCase segment, with subsequent segments separated \
             by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
        )
    })
}

fn pod_cidrs(list: &At<'_, '_>, errors: &mut ErrorList) {
    for range in list.items() {
        cidr(&range, false, errors);
    }
    let addresses = list
        .items()
        .map(|range| range.str().split('/').next().unwrap_or_default());
    if list.len() > 2 || (list.len() == 2 && !is_dual_stack(addresses)) {
        list.invalid(errors, "may specify no more than one CIDR for each IP family");
    }
}

fn change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    resources(at, errors);
    declared_features(&at.get("status").get("declaredFeatures"), errors);
    let (spec, status) = (at.get("spec"), at.get("status"));
    let mut seen: Vec<&Value> = Vec::new();
    for address in status.get("addresses").items() {
        if seen.contains(&address.value) {
            let shown = go_struct(address.value, &[("Type", "type"), ("Address", "address")]);
            let mut error = Error::duplicate(&address.path(), Value::Null);
            (error.detail, error.bad_value) = (shown, None);
            errors.push(error);
        }
        seen.push(address.value);
    }
    for (field, named) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
        let before = &old["spec"][field];
        let empty = before.is_null() || before == "" || before.as_array().is_some_and(Vec::is_empty);
        if !empty && *spec.get(field).value != *before {
            let detail = format!("node updates may not change {named} except from \"\" to valid");
            spec.get(field).forbidden(errors, &detail);
        }
    }
    let external = spec.get("externalID");
    if external.str() != old["spec"]["externalID"].as_str().unwrap_or_default() {
        external.forbidden(errors, "may not be updated");
    }
}
