//! Admission policies in CEL and their bindings.

use std::collections::HashSet;

use corten_meta::names;
use corten_meta::object;

use super::super::kinds::{PLAIN, Rules};
use super::super::rules::{At, ErrorList, conditions, label_selector, qualified};
use super::expressions::{Compiler, Wanted};
use super::rules::match_resources;
use super::{FAILURE_POLICIES, REINVOCATION_POLICIES, match_conditions, param_kind, static_suffix_warnings};

const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];
const AUDIT_ANNOTATIONS_MAX: usize = 20;
const AUDIT_EXPRESSION_MAX: usize = 5 * 1024;

pub(in crate::strategy) const VALIDATING_POLICY: Rules = Rules {
    body: validating_policy,
    status: |at, _, errors| {
        type_checking(at, errors);
        conditions(&at.get("status").get("conditions"), errors);
    },
    warnings: static_suffix_warnings,
    metadata_twice: false,
    unconditional_update: false,
    kube_finalizers: false,
    ..PLAIN
};
pub(in crate::strategy) const MUTATING_POLICY: Rules = Rules {
    body: mutating_policy,
    warnings: static_suffix_warnings,
    metadata_twice: false,
    unconditional_update: false,
    kube_finalizers: false,
    ..PLAIN
};
pub(in crate::strategy) const VALIDATING_BINDING: Rules = Rules {
    body: |at, errors| {
        binding(at, false, errors);
        actions(&at.get("spec").get("validationActions"), errors);
    },
    warnings: static_suffix_warnings,
    metadata_twice: false,
    unconditional_update: false,
    kube_finalizers: false,
    ..PLAIN
};
pub(in crate::strategy) const MUTATING_BINDING: Rules = Rules {
    body: |at, errors| binding(at, true, errors),
    warnings: static_suffix_warnings,
    metadata_twice: false,
    unconditional_update: false,
    kube_finalizers: false,
    ..PLAIN
};

/// What both kinds of policy have; gives the compiler that knows the policy's variables.
fn policy(spec: &At<'_, '_>, mutating: bool, errors: &mut ErrorList) -> Compiler {
    let failure = spec.get("failurePolicy");
    match failure.is_set() {
        false => failure.required(errors, ""),
        true => failure.one_of_if_set(errors, FAILURE_POLICIES),
    }
    param_kind(&spec.get("paramKind"), errors);
    let constraints = spec.get("matchConstraints");
    if constraints.is_set() {
        match_resources(&constraints, mutating, errors);
        constraints.get("resourceRules").nonempty(errors);
    } else {
        constraints.required(errors, "");
    }
    let params = spec.get("paramKind").is_set();
    match_conditions(&spec.get("matchConditions"), params, errors);
    let variables = spec.get("variables");
    let mut compiler = match mutating || !variables.is_empty() {
        true => Compiler::with_variables(params),
        false => Compiler::plain(params),
    };
    for variable in variables.items() {
        let name = variable.get("name");
        if name.str().trim().is_empty() {
            name.required(errors, "name is not specified");
        } else if !corten_cel::is_identifier(name.str()) {
            name.invalid(errors, "must be a valid CEL identifier");
        }
        let expression = variable.get("expression");
        match expression.str().trim() {
            "" => expression.required(errors, "expression is not specified"),
            _ => compiler.variable(name.str(), &expression, errors),
        }
    }
    compiler
}

fn validating_policy(at: &At<'_, '_>, errors: &mut ErrorList) {
    const EMPTY: &str = "validations or auditAnnotations must contain at least one item";
    let spec = at.get("spec");
    let compiler = policy(&spec, false, errors);
    let (validations, annotations) = (spec.get("validations"), spec.get("auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        validations.required(errors, EMPTY);
        return annotations.required(errors, EMPTY);
    }
    for validation in validations.items() {
        self::validation(&validation, &compiler, errors);
    }
    if annotations.len() > AUDIT_ANNOTATIONS_MAX {
        let detail = format!("must not have more than {AUDIT_ANNOTATIONS_MAX} auditAnnotations");
        annotations.invalid(errors, &detail);
    }
    let mut seen = HashSet::new();
    for annotation in annotations.items() {
        audit_annotation(object::name(at.value), &annotation, &compiler, errors);
        let key = annotation.get("key");
        if !seen.insert(key.str()) {
            key.duplicate(errors);
        }
    }
}

fn validation(at: &At<'_, '_>, compiler: &Compiler, errors: &mut ErrorList) {
    const BLANK: &str = "must be non-empty if specified";
    let expression = at.get("expression");
    match expression.str().trim() {
        "" => expression.required(errors, "expression is not specified"),
        // Not trimmed, so that errors show the column.
        _ => {
            compiler.check(&expression, expression.str(), Wanted::Bool, errors);
        }
    }
    let making = at.get("messageExpression");
    if !making.str().trim().is_empty() {
        compiler.message(&making, errors);
    } else if !making.is_empty() {
        making.invalid(errors, BLANK);
    }
    let message = at.get("message");
    if !message.is_empty() && message.str().trim().is_empty() {
        message.invalid(errors, BLANK);
    }
    if message.str().trim().contains(['\n', '\r']) {
        message.invalid(errors, "must not contain line breaks");
    }
    at.get("reason").one_of_if_set(errors, REASONS);
}

fn audit_annotation(policy: &str, at: &At<'_, '_>, compiler: &Compiler, errors: &mut ErrorList) {
    let (key, value) = (at.get("key"), at.get("valueExpression"));
    if policy.is_empty() {
        key.invalid(errors, "requires metadata.name be non-empty");
    } else {
        let name = format!("{policy}/{}", key.str()).into();
        qualified(&key.with(&name), errors);
    }
    match value.str().trim() {
        "" => value.required(errors, "valueExpression is not specified"),
        source if source.len() > AUDIT_EXPRESSION_MAX => {
            let detail = format!("must not exceed {AUDIT_EXPRESSION_MAX} bytes in length");
            value.required(errors, &detail);
        }
        source => {
            compiler.check(&value, source, Wanted::TextOrNull, errors);
        }
    }
}

fn type_checking(at: &At<'_, '_>, errors: &mut ErrorList) {
    let status = at.get("status");
    let checking = status.get("typeChecking");
    for warning in checking.get("expressionWarnings").items() {
        warning.get("warning").nonempty(errors);
        let field = warning.get("fieldRef");
        if field.str().trim().is_empty() {
            field.required(errors, "");
        }
    }
}

fn mutating_policy(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let compiler = policy(&spec, true, errors);
    let mutations = spec.get("mutations");
    if mutations.is_empty() {
        mutations.required(errors, "mutations must contain at least one item");
    }
    for mutation in mutations.items() {
        self::mutation(&mutation, &compiler, errors);
    }
    spec.get("reinvocationPolicy")
        .one_of(errors, REINVOCATION_POLICIES);
}

fn mutation(at: &At<'_, '_>, compiler: &Compiler, errors: &mut ErrorList) {
    let kind = at.get("patchType");
    let (field, other) = match kind.str() {
        "" => return kind.required(errors, ""),
        "JSONPatch" => ("jsonPatch", "applyConfiguration"),
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
        _ => return kind.not_supported(errors, &["ApplyConfiguration", "JSONPatch"]),
    };
    let (patch, extra) = (at.get(field), at.get(other));
    match patch.is_set() {
        false => patch.required(
            errors,
            &format!("must be specified when patchType is {}", kind.str()),
        ),
        true => {
            let expression = patch.get("expression");
            let wanted = if field == "jsonPatch" {
                Wanted::Patches
            } else {
                Wanted::Object
            };
            match expression.str().trim() {
                "" => expression.required(errors, ""),
                source => {
                    compiler.check(&expression, source, wanted, errors);
                }
            }
        }
    }
    if extra.is_set() {
        let detail = format!("must not be specified when patchType is {}", kind.str());
        extra.invalid_as(errors, format!("{{{other}}}"), &detail);
    }
}

fn binding(at: &At<'_, '_>, mutating: bool, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let policy = spec.get("policyName");
    match policy.is_empty() {
        true => policy.required(errors, ""),
        false => policy.invalid_each(errors, names::name_is_dns_subdomain(policy.str(), false)),
    }
    param_ref(&spec.get("paramRef"), errors);
    match_resources(&spec.get("matchResources"), mutating, errors);
}

fn param_ref(at: &At<'_, '_>, errors: &mut ErrorList) {
    const EXCLUSIVE: &str = "name and selector are mutually exclusive";
    if !at.is_set() {
        return;
    }
    let (name, selector) = (at.get("name"), at.get("selector"));
    if !name.is_empty() {
        name.invalid_each(errors, names::is_path_segment(name.str(), false));
        if selector.is_set() {
            name.forbidden(errors, EXCLUSIVE);
        }
    }
    if selector.is_set() {
        label_selector(&selector, errors);
        if !name.is_empty() {
            selector.forbidden(errors, EXCLUSIVE);
        }
    }
    if name.is_empty() && !selector.is_set() {
        at.required(errors, "one of name or selector must be specified");
    }
    at.get("parameterNotFoundAction")
        .one_of(errors, &["Deny", "Allow"]);
}

fn actions(list: &At<'_, '_>, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for action in list.items() {
        if !ACTIONS.contains(&action.str()) {
            action.not_supported(errors, ACTIONS);
        }
        if !seen.insert(action.str()) {
            action.duplicate(errors);
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the \
                      API response and headers serves no purpose)";
        list.invalid(errors, detail);
    }
    if list.is_empty() {
        list.required(errors, "at least one validation action is required");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_of_a_policy_are_whole() {
        let policy = json!({"status": {
            "typeChecking": {"expressionWarnings": [{"fieldRef": "spec"}]},
            "conditions": [{"type": "A", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }});
        let mut errors = ErrorList::new();
        (VALIDATING_POLICY.status)(&At::root(&policy), &json!({}), &mut errors);
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "status.typeChecking.expressionWarnings[0].warning: Required value",
                "status.conditions[0].reason: Required value",
            ]
        );
    }
}
