//! Which requests a webhook or policy is asked about.

use std::collections::HashSet;

use corten_meta::field::Error;
use corten_meta::names;

use super::super::rules::{At, ErrorList, label_selector};
use super::MATCH_POLICIES;

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const MUTATING_OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];

pub(super) fn rule(rule: &At<'_, '_>, errors: &mut ErrorList) {
    let operations = rule.get("operations");
    some_or_all(&operations, "operations", errors);
    for operation in operations.items() {
        if !OPERATIONS.contains(&operation.str()) {
            operation.not_supported(errors, OPERATIONS);
        }
    }
    some_or_all(&rule.get("apiGroups"), "API groups", errors);
    let versions = rule.get("apiVersions");
    some_or_all(&versions, "API versions", errors);
    versions.items().for_each(|version| version.nonempty(errors));
    resources(&rule.get("resources"), errors);
    rule.get("scope").one_of_if_set(errors, SCOPES);
}

fn some_or_all(list: &At<'_, '_>, what: &str, errors: &mut ErrorList) {
    list.nonempty(errors);
    if list.len() > 1 && list.items().any(|item| item.str() == "*") {
        let detail = format!("if '*' is present, must not specify other {what}");
        list.invalid(errors, &detail);
    }
}

/// `pods`, `pods/status`, `*`, `*/*`, `*/scale`, `pods/*`.
fn resources(list: &At<'_, '_>, errors: &mut ErrorList) {
    list.nonempty(errors);
    let (mut whole, mut everywhere) = (HashSet::new(), HashSet::new());
    let (mut all, mut plain) = (false, false);
    for item in list.items() {
        let text = item.str();
        all |= text == "*";
        let Some((resource, subresource)) = text.split_once('/') else {
            match text {
                "" => item.required(errors, ""),
                _ => plain = text != "*",
            }
            continue;
        };
        if whole.contains(resource) {
            let detail = format!("if '{resource}/*' is present, must not specify {text}");
            item.invalid(errors, &detail);
        }
        if everywhere.contains(subresource) {
            let detail = format!("if '*/{subresource}' is present, must not specify {text}");
            item.invalid(errors, &detail);
        }
        if subresource == "*" {
            whole.insert(resource);
        }
        if resource == "*" {
            everywhere.insert(subresource);
        }
    }
    if list.len() > 1 && list.items().any(|item| item.str() == "*/*") {
        list.invalid(errors, "if '*/*' is present, must not specify other resources");
    }
    if all && plain {
        let detail = "if '*' is present, must not specify other resources without subresources";
        list.invalid(errors, detail);
    }
}

/// `spec.matchConstraints` and `spec.matchResources`.
pub(super) fn match_resources(at: &At<'_, '_>, mutating: bool, errors: &mut ErrorList) {
    if !at.is_set() {
        return;
    }
    let policy = at.get("matchPolicy");
    match policy.is_set() {
        false => policy.required(errors, ""),
        true => policy.one_of_if_set(errors, MATCH_POLICIES),
    }
    for field in ["namespaceSelector", "objectSelector"] {
        let selector = at.get(field);
        match selector.is_set() {
            false => selector.required(errors, ""),
            true => label_selector(&selector, errors),
        }
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        for rule in at.get(field).items() {
            named(&rule, errors);
        }
    }
    if !mutating {
        return;
    }
    let rules = at.get("resourceRules");
    let operations = rules.get("operations").path();
    for rule in rules.items() {
        for operation in rule.get("operations").items() {
            if !MUTATING_OPERATIONS.contains(&operation.str()) {
                let error = Error::not_supported(&operations, operation.str(), MUTATING_OPERATIONS);
                errors.push(error);
            }
        }
    }
}

fn named(rule: &At<'_, '_>, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for name in rule.get("resourceNames").items() {
        name.invalid_each(errors, names::is_path_segment(name.str(), false));
        if !seen.insert(name.str()) {
            name.duplicate(errors);
        }
    }
    self::rule(rule, errors);
}
