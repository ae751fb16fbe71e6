//! What a controller can say of a Job (`ValidateJobUpdateStatus`). Most rules apply where something has changed, so that
//! old objects stay writable.

use corten_meta::field::Error;
use serde_json::Value;

use super::super::rules::{At, ErrorList, nonnegative_fields};
use super::policies::{intervals, invalid_alone};

/// Whether a condition of the type is true.
pub(super) fn has(status: &Value, kind: &str) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions
        .into_iter()
        .any(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn finished(status: &Value) -> bool {
    has(status, "Complete") || has(status, "Failed")
}

pub(super) fn validate_update(job: &Value, old: &Value, errors: &mut ErrorList) {
    let root = At::root(job);
    let at = root.get("status");
    let (spec, before) = (&job["spec"], &old["status"]);
    nonnegative_fields(
        &at,
        &["active", "succeeded", "failed", "ready", "terminating"],
        errors,
    );
    uncounted(&at.get("uncountedTerminatedPods"), errors);
    conditions(&at, spec, before, errors);
    times(&at, spec, before, errors);
    if finished(at.value) && (!finished(before) || at.value != before) {
        finished_job(&at, errors);
    }
    indexes(&at, spec, before, errors);
    if at.get("ready").int().unwrap_or(0) > at.get("active").int().unwrap_or(0)
        && at.value["ready"] != before["ready"]
    {
        at.get("ready")
            .invalid(errors, "cannot set more ready pods than active");
    }
    only_forward(&at, before, errors);
}

fn uncounted(at: &At<'_, '_>, errors: &mut ErrorList) {
    let mut seen: Vec<&str> = Vec::new();
    for list in ["succeeded", "failed"] {
        for uid in at.get(list).items() {
            match uid.str() {
                "" => uid.invalid(errors, "must not be empty"),
                text if seen.contains(&text) => uid.duplicate(errors),
                text => seen.push(text),
            }
        }
    }
}

fn conditions(at: &At<'_, '_>, spec: &Value, before: &Value, errors: &mut ErrorList) {
    let list = at.get("conditions");
    let is = |kind: &str| has(at.value, kind);
    let became = |kind: &str| is(kind) && !has(before, kind);
    let pairs = [
        (
            "Complete",
            "Failed",
            "cannot set Complete=True and Failed=true conditions",
        ),
        (
            "Complete",
            "FailureTarget",
            "cannot set Complete=True and FailureTarget=true conditions",
        ),
        (
            "SuccessCriteriaMet",
            "Failed",
            "cannot set SuccessCriteriaMet=True and Failed=true conditions",
        ),
        (
            "SuccessCriteriaMet",
            "FailureTarget",
            "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
        ),
    ];
    for (one, other, detail) in pairs {
        if is(one) && is(other) && (became(one) || became(other)) {
            invalid_alone(&list, detail, errors);
        }
    }
    if became("Failed") && !is("FailureTarget") {
        let detail = "cannot set Failed=True condition without the FailureTarget=true condition";
        invalid_alone(&list, detail, errors);
    }
    if became("Complete") && !is("SuccessCriteriaMet") {
        let detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
        invalid_alone(&list, detail, errors);
        if !spec["successPolicy"].is_null() {
            let detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
            invalid_alone(&list, detail, errors);
        }
    }
}

fn times(at: &At<'_, '_>, spec: &Value, before: &Value, errors: &mut ErrorList) {
    let (start, end) = (at.get("startTime"), at.get("completionTime"));
    let complete = has(at.value, "Complete");
    let changed = end.value != &before["completionTime"] || complete != has(before, "Complete");
    if changed && end.is_set() && !complete {
        end.invalid(
            errors,
            "cannot set completionTime when there is no Complete=True condition",
        );
    }
    if changed && !end.is_set() && complete {
        end.required(errors, "completionTime is required for Complete jobs");
    }
    let parsed = |at: &At<'_, '_>| corten_meta::time::parse(at.str());
    if let (Some(begun), Some(ended)) = (parsed(&start), parsed(&end))
        && ended < begun
        && (changed || start.value != &before["startTime"])
    {
        end.invalid(errors, "must be equal to or after `startTime`");
    }
    if end.is_set() && !before["completionTime"].is_null() && *end.value != before["completionTime"] {
        end.invalid(errors, "field is immutable");
    }
    let begun = &before["startTime"];
    if !begun.is_null() && start.value != begun && spec["suspend"] != true {
        start.invalid(errors, "field is immutable for unsuspended job once set");
    }
}

fn finished_job(at: &At<'_, '_>, errors: &mut ErrorList) {
    for (field, detail) in [
        ("active", "active>0 is invalid for finished job"),
        ("terminating", "terminating>0 is invalid for finished job"),
    ] {
        if at.get(field).int().unwrap_or(0) > 0 {
            at.get(field).invalid(errors, detail);
        }
    }
    if !at.get("startTime").is_set() {
        at.get("startTime")
            .required(errors, "startTime is required for finished job");
    }
    let uncounted = at.get("uncountedTerminatedPods");
    if !uncounted.get("failed").is_empty() || !uncounted.get("succeeded").is_empty() {
        uncounted.invalid(errors, "must be empty for finished job");
    }
}

fn indexes(at: &At<'_, '_>, spec: &Value, before: &Value, errors: &mut ErrorList) {
    let (completed, failed) = (at.get("completedIndexes"), at.get("failedIndexes"));
    let completions = spec["completions"].as_i64();
    let changed = |own: &At<'_, '_>, field: &str| *own.value != before[field];
    if changed(&completed, "completedIndexes") {
        if let Some(Err(problem)) = completions.map(|all| intervals(completed.str(), all)) {
            completed.invalid(errors, &format!("error parsing completedIndexes: {problem}"));
        }
        if !completed.is_empty() && spec["completionMode"] != "Indexed" {
            completed.invalid(
                errors,
                "cannot set non-empty completedIndexes when non-indexed completion mode",
            );
        }
    }
    if !changed(&failed, "failedIndexes") || !failed.is_set() {
        return;
    }
    if spec["backoffLimitPerIndex"].is_null() {
        failed.invalid(
            errors,
            "cannot set non-null failedIndexes when backoffLimitPerIndex is null",
        );
    } else if let Some(Err(problem)) = completions.map(|all| intervals(failed.str(), all)) {
        failed.invalid(errors, &format!("error parsing failedIndexes: {problem}"));
    }
    let all = completions.unwrap_or(i64::MAX);
    let done = intervals(completed.str(), all).unwrap_or_default();
    let bad = intervals(failed.str(), all).unwrap_or_default();
    let overlap = done
        .iter()
        .flat_map(|one| bad.iter().map(move |other| (one, other)));
    let overlap = overlap
        .filter(|(one, other)| one.0 <= other.1 && other.0 <= one.1)
        .map(|(one, other)| one.0.max(other.0));
    if let Some(index) = overlap.min() {
        failed.invalid(
            errors,
            &format!("failedIndexes and completedIndexes overlap at index: {index}"),
        );
    }
}

/// Ends and counters do not go back.
fn only_forward(at: &At<'_, '_>, before: &Value, errors: &mut ErrorList) {
    let list = at.get("conditions");
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if has(before, kind) && !has(at.value, kind) {
            invalid_alone(
                &list,
                &format!("cannot disable the terminal {kind}=True condition"),
                errors,
            );
        }
    }
    if has(before, "SuccessCriteriaMet") && !has(at.value, "SuccessCriteriaMet") {
        invalid_alone(
            &list,
            "cannot disable the SuccessCriteriaMet=True condition",
            errors,
        );
    }
    for counter in ["failed", "succeeded"] {
        let (now, then) = (
            at.get(counter).int().unwrap_or(0),
            before[counter].as_i64().unwrap_or(0),
        );
        if now < then {
            let detail = format!("cannot decrease the {counter} counter");
            errors.push(Error::invalid(&at.get(counter).path(), now, detail));
        }
    }
}
