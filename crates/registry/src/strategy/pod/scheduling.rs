//! Tolerations, scheduling gates, topology spread.

use corten_meta::names;

use super::super::rules::{At, ErrorList, label_name, label_selector, qualified};
use super::affinity;

pub(in crate::strategy) const TAINT_EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub(in crate::strategy) fn tolerations(list: &At<'_, '_>, errors: &mut ErrorList) {
    for toleration in list.items() {
        let (key, operator) = (toleration.get("key"), toleration.get("operator"));
        let effect = toleration.get("effect");
        if !key.is_empty() {
            label_name(&key, errors);
        } else if operator.str() != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            operator.invalid_as(errors, operator.str(), detail);
        }
        if toleration.get("tolerationSeconds").is_set() && effect.str() != "NoExecute" {
            effect.invalid_as(
                errors,
                effect.str(),
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        toleration_operator(&operator, toleration.get("value").str(), errors);
        if !effect.is_empty() && !TAINT_EFFECTS.contains(&effect.str()) {
            effect.not_supported(errors, TAINT_EFFECTS);
        }
    }
}

fn toleration_operator(operator: &At<'_, '_>, value: &str, errors: &mut ErrorList) {
    match operator.str() {
        "Equal" | "" => {
            let messages = names::is_label_value(value);
            if !messages.is_empty() {
                operator.invalid_as(errors, value, &messages.join(";"));
            }
        }
        "Exists" => {
            if !value.is_empty() {
                operator.invalid_as(errors, value, "value must be empty when `operator` is 'Exists'");
            }
        }
        "Lt" | "Gt" => operator.not_supported(errors, &["Equal", "Exists", "Lt", "Gt"]),
        _ => operator.not_supported(errors, &["Equal", "Exists"]),
    }
}

pub(super) fn gates(list: &At<'_, '_>, errors: &mut ErrorList) {
    let mut seen: Vec<&str> = Vec::new();
    for gate in list.items() {
        let name = gate.get("name");
        qualified(&gate.with(name.value), errors);
        if seen.contains(&name.str()) {
            gate.duplicate_as(errors, name.str());
        }
        seen.push(name.str());
    }
}

pub(super) fn spread(list: &At<'_, '_>, errors: &mut ErrorList) {
    let pair = |at: &At<'_, '_>| {
        let (key, action) = (at.get("topologyKey"), at.get("whenUnsatisfiable"));
        format!(
            "{{{}, {}}}",
            key.value.as_str().unwrap_or_default(),
            action.value.as_str().unwrap_or_default()
        )
    };
    for (index, constraint) in list.items().enumerate() {
        constraint.get("maxSkew").positive(errors);
        let topology = constraint.get("topologyKey");
        if topology.is_empty() {
            topology.required(errors, "can not be empty");
        }
        let action = constraint.get("whenUnsatisfiable");
        if !["DoNotSchedule", "ScheduleAnyway"].contains(&action.str()) {
            action.not_supported(errors, &["DoNotSchedule", "ScheduleAnyway"]);
        }
        let own = pair(&constraint);
        if list.items().skip(index + 1).any(|other| pair(&other) == own) {
            constraint
                .get("{topologyKey, whenUnsatisfiable}")
                .duplicate_as(errors, own);
        }
        let domains = constraint.get("minDomains");
        if domains.is_set() {
            domains.positive(errors);
            if action.str() != "DoNotSchedule" {
                let detail = format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
                    action.str()
                );
                domains.invalid(errors, &detail);
            }
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            constraint.get(policy).one_of_if_set(errors, &["Honor", "Ignore"]);
        }
        affinity::match_label_keys(&constraint, errors);
        label_selector(&constraint.get("labelSelector"), errors);
    }
}
