//! admissionregistration.k8s.io/v1, apiextensions.k8s.io/v1 and apiregistration.k8s.io/v1.

use serde_json::{Map, Value, json};

use super::{Entry, Members, child, is_unset, list_is_empty, set, set_absent, text};

const ADMISSION: &str = "api/admissionregistration/v1";
const CRD: &str = "apiextensions-apiserver/pkg/apis/apiextensions/v1";
const REGISTRATION: &str = "kube-aggregator/pkg/apis/apiregistration/v1";

pub(super) const HOOKS: &[Entry] = &[
    (ADMISSION, "ValidatingWebhook", webhook),
    (ADMISSION, "MutatingWebhook", mutating_webhook),
    (ADMISSION, "RuleWithOperations", rule),
    (ADMISSION, "NamedRuleWithOperations", rule),
    (ADMISSION, "ServiceReference", service_reference),
    (ADMISSION, "ValidatingAdmissionPolicySpec", policy_spec),
    (ADMISSION, "MutatingAdmissionPolicySpec", policy_spec),
    (ADMISSION, "MatchResources", match_resources),
    (CRD, "CustomResourceDefinition", definition),
    (CRD, "ServiceReference", service_reference),
    (REGISTRATION, "ServiceReference", service_reference),
];

fn match_resources(rules: &mut Members) {
    set_absent(rules, "matchPolicy", "Equivalent");
    for selector in ["namespaceSelector", "objectSelector"] {
        set_absent(rules, selector, Value::Object(Map::new()));
    }
}

fn webhook(webhook: &mut Members) {
    set_absent(webhook, "failurePolicy", "Fail");
    match_resources(webhook);
    set_absent(webhook, "timeoutSeconds", 10);
}

fn mutating_webhook(hook: &mut Members) {
    webhook(hook);
    set_absent(hook, "reinvocationPolicy", "Never");
}

fn rule(rule: &mut Members) {
    set_absent(rule, "scope", "*");
}

fn service_reference(service: &mut Members) {
    set_absent(service, "port", 443);
}

fn policy_spec(spec: &mut Members) {
    set_absent(spec, "failurePolicy", "Fail");
}

fn definition(obj: &mut Members) {
    let spec = child(obj, "spec");
    let names = child(spec, "names");
    let kind = text(names, "kind").to_owned();
    if !kind.is_empty() {
        set_absent(names, "singular", kind.to_lowercase());
        set_absent(names, "listKind", format!("{kind}List"));
    }
    set_absent(spec, "conversion", json!({"strategy": "None"}));
    let versions = spec
        .get("versions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let stored = versions
        .into_iter()
        .find(|v| v["storage"] == true)
        .map(|v| v["name"].clone());
    let status = child(obj, "status");
    if let Some(stored) = stored
        && (is_unset(status, "storedVersions") || list_is_empty(status, "storedVersions"))
    {
        set(status, "storedVersions", json!([stored]));
    }
}
