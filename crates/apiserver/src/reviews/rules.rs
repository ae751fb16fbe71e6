//! SelfSubjectRulesReview: everything the caller may do in a namespace (`kubectl auth can-i --list`).

use corten_auth::rbac::PolicyRule;
use corten_meta::Status;
use corten_meta::object::str_at;
use serde_json::{Value, json};

use crate::call::Call;

/// The answer: only `status` carries anything, as upstream.
///
/// # Errors
/// 400 without a namespace.
pub fn review(call: &Call, review: &Value) -> Result<Value, Status> {
    let namespace = str_at(review, &["spec", "namespace"]);
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    // Membership of system:masters shows as the default binding of cluster-admin.
    let (rules, errors) = call.server.rbac.rules_for(&call.user, namespace);
    let (mut resource_rules, mut non_resource_rules) = (Vec::new(), Vec::new());
    for rule in &rules {
        if !rule.resources.is_empty() {
            resource_rules.push(resource_rule(rule));
        }
        if !rule.non_resource_urls.is_empty() {
            non_resource_rules.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
    }
    let mut status = json!({
        "resourceRules": resource_rules, "nonResourceRules": non_resource_rules, "incomplete": !errors.is_empty(),
    });
    if !errors.is_empty() {
        status["evaluationError"] = json!(errors.join(", "));
    }
    Ok(json!({
        "kind": "SelfSubjectRulesReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": {},
        "status": status,
    }))
}

fn resource_rule(rule: &PolicyRule) -> Value {
    let mut out = json!({"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources});
    if !rule.resource_names.is_empty() {
        out["resourceNames"] = json!(rule.resource_names);
    }
    out
}
