//! Webhooks and policies of admission (`pkg/apis/admissionregistration/validation`).

mod expressions;
mod policies;
mod rules;
mod webhooks;

pub(super) use policies::{MUTATING_BINDING, MUTATING_POLICY, VALIDATING_BINDING, VALIDATING_POLICY};
pub(super) use webhooks::{MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS};

use std::collections::HashSet;

use corten_meta::{names, object};
use serde_json::Value;

use super::rules::{At, ErrorList, qualified};
use expressions::{Compiler, Wanted};

const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
const CONDITIONS_MAX: usize = 64;
const STATIC_SUFFIX: &str = ".static.k8s.io";

/// Names with this ending are for configuration in files.
fn static_suffix_warnings(object: &Value, _old: Option<&Value>) -> Vec<String> {
    if !object::name(object).ends_with(STATIC_SUFFIX) {
        return Vec::new();
    }
    vec![format!(
        "metadata.name: names ending with \"{STATIC_SUFFIX}\" are reserved for static manifest-based configurations \
         and cannot be managed via the API"
    )]
}

/// `params` says whether the conditions see the parameters of a policy.
fn match_conditions(list: &At<'_, '_>, params: bool, errors: &mut ErrorList) {
    let compiler = Compiler::plain(params);
    if list.len() > CONDITIONS_MAX {
        list.too_many(errors, CONDITIONS_MAX as i64);
    }
    let mut seen = HashSet::new();
    for condition in list.items() {
        let expression = condition.get("expression");
        match expression.str().trim() {
            "" => expression.required(errors, ""),
            source => {
                compiler.check(&expression, source, Wanted::Bool, errors);
            }
        }
        let name = condition.get("name");
        if name.is_empty() {
            name.required(errors, "");
            continue;
        }
        qualified(&name, errors);
        if !seen.insert(name.str()) {
            name.duplicate(errors);
        }
    }
}

/// `example.com/v1` and a kind.
fn param_kind(at: &At<'_, '_>, errors: &mut ErrorList) {
    if !at.is_set() {
        return;
    }
    let (version, kind) = (at.get("apiVersion"), at.get("kind"));
    match version.str().matches('/').count() {
        _ if version.is_empty() => version.required(errors, ""),
        0 | 1 => {
            let (group, text) = version.str().split_once('/').unwrap_or(("", version.str()));
            let messages = names::is_dns1123_subdomain(group);
            if !group.is_empty() && !messages.is_empty() {
                version.invalid_as(errors, group, &messages.join(","));
            }
            let messages = names::is_dns1035_label(text);
            if text.is_empty() {
                version.invalid(errors, "version must be specified");
            } else if !messages.is_empty() {
                version.invalid_as(errors, text, &messages.join(","));
            }
        }
        _ => version.invalid(
            errors,
            &format!("unexpected GroupVersion string: {}", version.str()),
        ),
    }
    let messages = names::is_dns1035_label(&kind.str().to_lowercase());
    if kind.is_empty() {
        kind.required(errors, "");
    } else if !messages.is_empty() {
        let detail = format!(
            "may have mixed case, but should otherwise match: {}",
            messages.join(",")
        );
        kind.invalid(errors, &detail);
    }
}
