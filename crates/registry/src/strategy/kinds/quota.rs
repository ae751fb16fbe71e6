//! ResourceQuotas.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::pod::resources::{is_huge_page_quota, resource_name, resource_value};
use super::super::rules::{At, ErrorList};
use super::{PLAIN, Rules};

pub(super) const RULES: Rules = Rules {
    body,
    change,
    status,
    metadata_whole: false,
    ..PLAIN
};

/// Resources a quota counts by itself; others are counted as `count/…` or by extended names.
pub(super) const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
const POD_SCOPES: [&str; 5] = [
    "Terminating",
    "NotTerminating",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
];
const POD_COMPUTE: [&str; 7] = [
    "pods",
    "cpu",
    "memory",
    "limits.cpu",
    "limits.memory",
    "requests.cpu",
    "requests.memory",
];
const EXISTS_ONLY: [&str; 5] = [
    "BestEffort",
    "NotBestEffort",
    "Terminating",
    "NotTerminating",
    "CrossNamespacePodAffinity",
];

fn body(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    amounts(&spec.get("hard"), errors);
    scopes(&spec, errors);
    if spec.get("scopeSelector").is_set() {
        selector(&spec, errors);
    }
}

fn amounts(list: &At<'_, '_>, errors: &mut ErrorList) {
    for (name, _) in list.entries() {
        let at = list.key(name);
        resource_name(&at, name, errors);
        if !name.contains('/') && !is_standard(name) {
            at.invalid_as(errors, name, "must be a standard resource for quota");
        }
        resource_value(&at, name, errors);
    }
}

fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name) || is_huge_page_quota(name)
}

fn is_scope(scope: &str) -> bool {
    POD_SCOPES.contains(&scope) || matches!(scope, "BestEffort" | "VolumeAttributesClass")
}

fn scope_fits(scope: &str, resource: &str) -> bool {
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        scope if POD_SCOPES.contains(&scope) => POD_COMPUTE.contains(&resource),
        _ => true,
    }
}

/// Limited resources that the scope has no meaning for.
fn misfits(spec: &At<'_, '_>, scope: &str) -> usize {
    let hard = spec.get("hard");
    hard.entries()
        .filter(|(name, _)| is_standard(name) && !scope_fits(scope, name))
        .count()
}

fn scopes(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let list = spec.get("scopes");
    let mut seen = BTreeSet::new();
    for scope in list.items() {
        if !is_scope(scope.str()) {
            list.invalid(errors, "unsupported scope");
        }
        for _ in 0..misfits(spec, scope.str()) {
            list.invalid(errors, "unsupported scope applied to resource");
        }
        seen.insert(scope.str());
    }
    conflicts(&list, list.value, &seen, errors);
}

fn conflicts(at: &At<'_, '_>, shown: &Value, seen: &BTreeSet<&str>, errors: &mut ErrorList) {
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if seen.contains(one) && seen.contains(other) {
            at.invalid_as(errors, shown.clone(), "conflicting scopes");
        }
    }
}

fn selector(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let selector = spec.get("scopeSelector");
    let list = selector.get("matchExpressions");
    let mut seen = BTreeSet::new();
    for requirement in list.items() {
        let scope = requirement.get("scopeName").str();
        if !is_scope(scope) {
            list.get("scopeName")
                .invalid_as(errors, scope, "unsupported scope");
        }
        for _ in 0..misfits(spec, scope) {
            let shown =
                super::super::rules::go_struct(selector.value, &[("MatchExpressions", "matchExpressions")]);
            list.invalid_raw(errors, &shown, "unsupported scope applied to resource");
        }
        expression(&list, &requirement, errors);
        seen.insert(scope);
    }
    conflicts(&list, spec.get("scopes").value, &seen, errors);
}

fn expression(list: &At<'_, '_>, requirement: &At<'_, '_>, errors: &mut ErrorList) {
    let operator = requirement.get("operator").str();
    if EXISTS_ONLY.contains(&requirement.get("scopeName").str()) && operator != "Exists" {
        let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
        list.get("operator").invalid_as(errors, operator, detail);
    }
    let values = requirement.get("values");
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            list.get("values").required(errors, detail);
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            list.get("values")
                .invalid_as(errors, values.value.clone(), detail);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => list
            .get("operator")
            .invalid_as(errors, operator, "not a valid selector operator"),
    }
}

fn change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let scopes = spec.get("scopes");
    let set = |list: &Value| -> BTreeSet<String> {
        let items = list.as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    if set(scopes.value) != set(&old["spec"]["scopes"]) {
        scopes.invalid(errors, "field is immutable");
    }
}

fn status(at: &At<'_, '_>, _: &Value, errors: &mut ErrorList) {
    let status = at.get("status");
    amounts(&status.get("hard"), errors);
    amounts(&status.get("used"), errors);
}
