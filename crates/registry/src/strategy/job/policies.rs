//! What counts as failure and as success of a Job.

use corten_meta::field::Error;
use serde_json::Value;

use super::super::rules::{At, ErrorList, qualified};

const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
const STATUSES: &[&str] = &["False", "True", "Unknown"];
const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const INDEXES_LENGTH_MAX: usize = 64 * 1024;

pub(super) fn failure(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let policy = spec.get("podFailurePolicy");
    let rules = policy.get("rules");
    if rules.len() > RULES_MAX {
        rules.too_many(errors, RULES_MAX as i64);
    }
    let template = spec.get("template");
    let pods = template.get("spec");
    let names = |kind: &str| -> Vec<String> {
        pods.get(kind)
            .items()
            .map(|container| container.get("name").value.to_string())
            .collect()
    };
    let containers = [names("containers"), names("initContainers")].concat();
    for rule in rules.items() {
        failure_rule(spec, &rule, &containers, errors);
    }
}

fn failure_rule(spec: &At<'_, '_>, rule: &At<'_, '_>, containers: &[String], errors: &mut ErrorList) {
    let action = rule.get("action");
    match action.str() {
        "" => action.required(errors, &valid_values(ACTIONS)),
        "FailIndex" if !spec.get("backoffLimitPerIndex").is_set() => {
            action.invalid(errors, "requires the backoffLimitPerIndex to be set");
        }
        text if ACTIONS.contains(&text) => {}
        _ => action.not_supported(errors, ACTIONS),
    }
    let (codes, conditions) = (rule.get("onExitCodes"), rule.get("onPodConditions"));
    if codes.is_set() {
        exit_codes(&codes, containers, errors);
    }
    if conditions.len() > RULES_MAX {
        conditions.too_many(errors, RULES_MAX as i64);
    }
    for pattern in conditions.items() {
        qualified(&pattern.get("type"), errors);
        let status = pattern.get("status");
        match status.str() {
            "" => status.required(errors, &valid_values(STATUSES)),
            text if STATUSES.contains(&text) => {}
            _ => status.not_supported(errors, STATUSES),
        }
    }
    match (codes.is_set(), !conditions.is_empty()) {
        (true, true) => {
            invalid_alone(
                rule,
                "specifying both OnExitCodes and OnPodConditions is not supported",
                errors,
            );
        }
        (false, false) => {
            invalid_alone(
                rule,
                "specifying one of OnExitCodes and OnPodConditions is required",
                errors,
            );
        }
        _ => {}
    }
}

/// Go's `%q` of a list.
fn valid_values(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| corten_meta::quote(value)).collect();
    format!("valid values: [{}]", quoted.join(" "))
}

/// Without showing the value.
pub(super) fn invalid_alone(at: &At<'_, '_>, detail: &str, errors: &mut ErrorList) {
    let mut error = Error::invalid(&at.path(), Value::Null, detail);
    error.bad_value = None;
    errors.push(error);
}

fn exit_codes(at: &At<'_, '_>, containers: &[String], errors: &mut ErrorList) {
    let (operator, container, values) = (at.get("operator"), at.get("containerName"), at.get("values"));
    match operator.str() {
        "" => operator.required(errors, &valid_values(&["In", "NotIn"])),
        "In" | "NotIn" => {}
        _ => operator.not_supported(errors, &["In", "NotIn"]),
    }
    if container.is_set() && !containers.contains(&container.value.to_string()) {
        let detail = "must be one of the container or initContainer names in the pod template";
        container.invalid(errors, detail);
    }
    if values.is_empty() {
        values.invalid(errors, "at least one value is required");
    } else if values.len() > EXIT_CODES_MAX {
        values.too_many(errors, EXIT_CODES_MAX as i64);
    }
    let codes: Vec<i64> = values.items().map(|code| code.int().unwrap_or(0)).collect();
    for (index, code) in values.items().enumerate() {
        let number = codes[index];
        if operator.str() == "In" && number == 0 {
            code.invalid(errors, "must not be 0 for the In operator");
        }
        if codes[..index].contains(&number) {
            code.duplicate(errors);
        }
    }
    if !codes.is_sorted() {
        values.invalid(errors, "must be ordered");
    }
}

pub(super) fn success(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let policy = spec.get("successPolicy");
    let rules = policy.get("rules");
    if rules.is_empty() {
        rules.required(
            errors,
            "at least one rules must be specified when the successPolicy is specified",
        );
    }
    if rules.len() > RULES_MAX {
        rules.too_many(errors, RULES_MAX as i64);
    }
    let completions = spec.get("completions").int().unwrap_or(0);
    for rule in rules.items() {
        success_rule(&rule, completions, errors);
    }
}

fn success_rule(rule: &At<'_, '_>, completions: i64, errors: &mut ErrorList) {
    let (count, indexes) = (rule.get("succeededCount"), rule.get("succeededIndexes"));
    if !count.is_set() && !indexes.is_set() {
        rule.required(
            errors,
            "at least one of succeededCount or succeededIndexes must be specified",
        );
    }
    if indexes.len() > INDEXES_LENGTH_MAX {
        indexes.too_long(errors, INDEXES_LENGTH_MAX as i64);
    }
    let total = match indexes_total(indexes.str(), completions) {
        Ok(total) => total,
        Err(problem) => {
            indexes.invalid(errors, &format!("error parsing succeededIndexes: {problem}"));
            0
        }
    };
    let Some(wanted) = count.int() else { return };
    count.nonnegative(errors);
    if wanted > completions {
        let detail =
            format!("must be less than or equal to {completions} (the number of specified completions)");
        count.invalid(errors, &detail);
    }
    if indexes.is_set() && wanted > total {
        let detail = format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        );
        count.invalid(errors, &detail);
    }
}

/// The intervals of `1,3-5`, each `(first, last)`; the error is upstream's text.
pub(super) fn intervals(text: &str, completions: i64) -> Result<Vec<(i64, i64)>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut found: Vec<(i64, i64)> = Vec::new();
    for part in text.split(',') {
        let (first, last) = interval(part, completions)?;
        if let Some((_, previous)) = found.last().filter(|(_, previous)| *previous >= first) {
            return Err(format!(
                "non-increasing order, previous: {previous}, current: {first}"
            ));
        }
        found.push((first, last));
    }
    Ok(found)
}

fn interval(part: &str, completions: i64) -> Result<(i64, i64), String> {
    let limits: Vec<&str> = part.split('-').collect();
    if limits.len() > 2 {
        let quoted = corten_meta::quote(part);
        return Err(format!(
            "the fragment {quoted} violates the requirement that an index interval can have at most two parts \
             separated by '-'"
        ));
    }
    let index = |text: &str| -> Result<i64, String> {
        let quoted = corten_meta::quote(text);
        let number: i64 = text
            .parse()
            .map_err(|_| format!("cannot convert string to integer for index: {quoted}"))?;
        if number >= completions {
            Err(format!("too large index: {quoted}"))
        } else {
            Ok(number)
        }
    };
    let first = index(limits[0])?;
    let Some(last) = limits.get(1) else {
        return Ok((first, first));
    };
    let last = index(last)?;
    if first >= last {
        return Err(format!(
            "non-increasing order, previous: {first}, current: {last}"
        ));
    }
    Ok((first, last))
}

/// The first index in both. Intervals that cannot be read are passed over: their error is another's.
pub(super) fn overlap(completed: &str, failed: &str, completions: i64) -> Option<i64> {
    let parsed = |text: &str| -> Vec<(i64, i64)> {
        let parts = text.split(',');
        parts
            .filter_map(|part| interval(part, completions).ok())
            .collect()
    };
    let (done, bad) = (parsed(completed), parsed(failed));
    let (mut done, mut bad) = (done.iter().peekable(), bad.iter().peekable());
    while let (Some(one), Some(other)) = (done.peek(), bad.peek()) {
        if one.0 <= other.1 && other.0 <= one.1 {
            return Some(one.0.max(other.0));
        }
        if one.0 <= other.0 {
            done.next();
        } else {
            bad.next();
        }
    }
    None
}

fn indexes_total(text: &str, completions: i64) -> Result<i64, String> {
    Ok(intervals(text, completions)?
        .iter()
        .map(|(first, last)| last - first + 1)
        .sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_read_as_upstream_reads_them() {
        assert_eq!(indexes_total("0,2-4", 5), Ok(4));
        assert_eq!(
            indexes_total("2-2", 5),
            Err("non-increasing order, previous: 2, current: 2".to_owned())
        );
        assert_eq!(
            indexes_total("3,1", 5),
            Err("non-increasing order, previous: 3, current: 1".to_owned())
        );
        assert_eq!(indexes_total("7", 5), Err("too large index: \"7\"".to_owned()));
        assert_eq!(
            indexes_total("x", 5),
            Err("cannot convert string to integer for index: \"x\"".to_owned())
        );
    }
}
