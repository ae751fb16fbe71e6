//! Webhook configurations.

use std::collections::HashSet;

use corten_meta::{names, webhook};
use serde_json::Value;

use super::super::kinds::{PLAIN, Rules};
use super::super::rules::{At, ErrorList, label_selector};
use super::{
    FAILURE_POLICIES, MATCH_POLICIES, REINVOCATION_POLICIES, match_conditions, rules, static_suffix_warnings,
};

const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const NO_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];

pub(in crate::strategy) const VALIDATING_WEBHOOKS: Rules = Rules {
    create: |at, errors| webhooks(at, None, errors),
    change: |at, old, errors| webhooks(at, Some(old), errors),
    warnings: static_suffix_warnings,
    metadata_twice: false,
    unconditional_update: false,
    kube_finalizers: false,
    ..PLAIN
};
pub(in crate::strategy) const MUTATING_WEBHOOKS: Rules = VALIDATING_WEBHOOKS;

/// What holds only if it held before.
struct Demands {
    no_side_effects: bool,
    known_version: bool,
    unique_names: bool,
}

impl Demands {
    fn after(old: Option<&Value>) -> Self {
        let hooks = || {
            old.and_then(|old| old["webhooks"].as_array())
                .into_iter()
                .flatten()
        };
        let text = |hook: &Value, field: &str| hook[field].as_str().unwrap_or_default().to_owned();
        let known = |hook: &Value| {
            let versions = hook["admissionReviewVersions"].as_array();
            versions.is_none_or(|list| list.is_empty() || list.iter().any(is_known))
        };
        let names: Vec<String> = hooks().map(|hook| text(hook, "name")).collect();
        let unique: HashSet<&String> = names.iter().collect();
        Self {
            no_side_effects: hooks()
                .all(|hook| NO_SIDE_EFFECTS.contains(&text(hook, "sideEffects").as_str())),
            known_version: hooks().all(known),
            unique_names: unique.len() == names.len(),
        }
    }
}

fn is_known(version: &Value) -> bool {
    version
        .as_str()
        .is_some_and(|version| VERSIONS.contains(&version))
}

fn webhooks(at: &At<'_, '_>, old: Option<&Value>, errors: &mut ErrorList) {
    let demands = Demands::after(old);
    let list = at.get("webhooks");
    let mut seen = HashSet::new();
    for hook in list.items() {
        webhook(&hook, &demands, errors);
        review_versions(&hook.get("admissionReviewVersions"), &demands, errors);
        let name = hook.get("name");
        if demands.unique_names && !name.is_empty() && !seen.insert(name.str()) {
            name.duplicate(errors);
        }
    }
}

fn webhook(hook: &At<'_, '_>, demands: &Demands, errors: &mut ErrorList) {
    fully_qualified(&hook.get("name"), errors);
    for rule in hook.get("rules").items() {
        rules::rule(&rule, errors);
    }
    hook.get("failurePolicy").one_of_if_set(errors, FAILURE_POLICIES);
    hook.get("matchPolicy").one_of_if_set(errors, MATCH_POLICIES);
    let allowed = if demands.no_side_effects {
        NO_SIDE_EFFECTS
    } else {
        SIDE_EFFECTS
    };
    let effects = hook.get("sideEffects");
    match effects.is_set() {
        false => effects.required(errors, &format!("must specify one of {}", allowed.join(", "))),
        true => effects.one_of_if_set(errors, allowed),
    }
    let timeout = hook.get("timeoutSeconds");
    if timeout.int().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
        timeout.invalid(errors, "the timeout value must be between 1 and 30 seconds");
    }
    label_selector(&hook.get("namespaceSelector"), errors);
    label_selector(&hook.get("objectSelector"), errors);
    hook.get("reinvocationPolicy")
        .one_of_if_set(errors, REINVOCATION_POLICIES);
    let client = hook.get("clientConfig");
    let (url, service) = (client.get("url"), client.get("service"));
    match (url.is_set(), service.is_set()) {
        (true, false) => webhook::url(url.str(), &url.path(), errors),
        (false, true) => webhook::service(service.value, &service.path(), errors),
        _ => client.required(errors, "exactly one of url or service is required"),
    }
    match_conditions(&hook.get("matchConditions"), false, errors);
}

fn fully_qualified(name: &At<'_, '_>, errors: &mut ErrorList) {
    let messages = names::is_dns1123_subdomain(name.str());
    if name.is_empty() {
        name.required(errors, "");
    } else if !messages.is_empty() {
        name.invalid(errors, &messages.join(","));
    } else if name.str().split('.').count() < 3 {
        name.invalid(
            errors,
            "should be a domain with at least three segments separated by dots",
        );
    }
}

fn review_versions(list: &At<'_, '_>, demands: &Demands, errors: &mut ErrorList) {
    if list.is_empty() {
        return list.required(errors, &format!("must specify one of {}", VERSIONS.join(", ")));
    }
    let mut seen = HashSet::new();
    for version in list.items() {
        if !seen.insert(version.str()) {
            version.invalid(errors, "duplicate version");
            continue;
        }
        version.invalid_each(errors, names::is_dns1035_label(version.str()));
    }
    if demands.known_version && !list.items().any(|version| is_known(version.value)) {
        let detail = format!("must include at least one of {}", VERSIONS.join(", "));
        list.invalid(errors, &detail);
    }
}
