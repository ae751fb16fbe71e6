//! What a controller can say of a Job (`ValidateJobUpdateStatus`). Most rules apply where something has changed, so that
//! old objects stay writable.

use corten_meta::field::Error;
use serde_json::Value;

use super::super::rules::{At, ErrorList, nonnegative_fields};
use super::policies::{intervals, invalid_alone, overlap};

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

fn is_false(status: &Value, kind: &str) -> bool {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == kind && condition["status"] == "False")
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
    let changed = Changed {
        now: at.value,
        before,
    };
    complete_alone(&at, changed, errors);
    times(&at, changed, errors);
    announced(&at, changed, errors);
    finished_job(&at, spec, changed, errors);
    indexes(&at, spec, changed, errors);
    pods(&at, changed, errors);
    success(&at, spec, errors);
    only_forward(&at, spec, before, errors);
    start_time(&at, spec, before, errors);
    success_stays(&at, before, errors);
}

/// What an update changes of the status; absent numbers are 0 where upstream has no pointer.
#[derive(Clone, Copy)]
struct Changed<'v> {
    now: &'v Value,
    before: &'v Value,
}

impl Changed<'_> {
    fn field(self, name: &str) -> bool {
        self.now[name] != self.before[name]
    }

    fn number(self, name: &str) -> bool {
        let of = |status: &Value| status[name].as_i64().unwrap_or(0);
        of(self.now) != of(self.before)
    }

    fn text(self, name: &str) -> bool {
        let of = |status: &Value| status[name].as_str().unwrap_or_default().to_owned();
        of(self.now) != of(self.before)
    }

    fn condition(self, kind: &str) -> bool {
        has(self.now, kind) != has(self.before, kind)
    }

    fn finished(self) -> bool {
        finished(self.now) != finished(self.before)
    }

    fn uncounted(self) -> bool {
        const FIELD: &str = "uncountedTerminatedPods";
        let list = |status: &Value, kind: &str| status[FIELD][kind].as_array().cloned().unwrap_or_default();
        let differs = |kind| list(self.now, kind) != list(self.before, kind);
        self.now[FIELD].is_null() != self.before[FIELD].is_null() || differs("failed") || differs("succeeded")
    }
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

fn complete_alone(at: &At<'_, '_>, changed: Changed<'_>, errors: &mut ErrorList) {
    let list = at.get("conditions");
    if !has(at.value, "Complete") {
        return;
    }
    let became =
        |kind: &str| has(at.value, kind) && (changed.condition("Complete") || changed.condition(kind));
    if became("Failed") {
        invalid_alone(
            &list,
            "cannot set Complete=True and Failed=true conditions",
            errors,
        );
    }
    if became("FailureTarget") {
        let detail = "cannot set Complete=True and FailureTarget=true conditions";
        invalid_alone(&list, detail, errors);
    }
}

fn times(at: &At<'_, '_>, changed: Changed<'_>, errors: &mut ErrorList) {
    let (start, end) = (at.get("startTime"), at.get("completionTime"));
    let complete = has(at.value, "Complete");
    let ended_anew = changed.field("completionTime");
    if ended_anew || changed.condition("Complete") {
        if end.is_set() && !complete {
            let detail = "cannot set completionTime when there is no Complete=True condition";
            end.invalid(errors, detail);
        }
        if !end.is_set() && complete {
            end.required(errors, "completionTime is required for Complete jobs");
        }
    }
    let parsed = |at: &At<'_, '_>| corten_meta::time::parse(at.str());
    if let (Some(begun), Some(ended)) = (parsed(&start), parsed(&end))
        && ended < begun
        && (ended_anew || changed.field("startTime"))
    {
        end.invalid(errors, "must be equal to or after `startTime`");
    }
}

/// The ends of a job are announced by another condition.
fn announced(at: &At<'_, '_>, changed: Changed<'_>, errors: &mut ErrorList) {
    let list = at.get("conditions");
    let alone = |end: &str, sign: &str| has(at.value, end) && !has(at.value, sign);
    if (changed.condition("Failed") || changed.field("failedIndexes")) && alone("Failed", "FailureTarget") {
        let detail = "cannot set Failed=True condition without the FailureTarget=true condition";
        invalid_alone(&list, detail, errors);
    }
    if (changed.condition("Complete") || changed.condition("SuccessCriteriaMet"))
        && alone("Complete", "SuccessCriteriaMet")
    {
        let detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
        invalid_alone(&list, detail, errors);
    }
}

fn finished_job(at: &At<'_, '_>, spec: &Value, changed: Changed<'_>, errors: &mut ErrorList) {
    if !finished(at.value) {
        return;
    }
    let ends = changed.finished();
    let (active, start) = (at.get("active"), at.get("startTime"));
    if (ends || changed.number("active")) && active.int().unwrap_or(0) > 0 {
        active.invalid(errors, "active>0 is invalid for finished job");
    }
    // A job that nothing was asked of ends without having begun.
    let never_began = spec["suspend"] == true && spec["completions"] == 0;
    if (ends || changed.field("startTime")) && !never_began && !start.is_set() {
        start.required(errors, "startTime is required for finished job");
    }
    let uncounted = at.get("uncountedTerminatedPods");
    let counted = uncounted.get("failed").is_empty() && uncounted.get("succeeded").is_empty();
    if (ends || changed.uncounted()) && !counted {
        uncounted.invalid(errors, "must be empty for finished job");
    }
}

fn indexes(at: &At<'_, '_>, spec: &Value, changed: Changed<'_>, errors: &mut ErrorList) {
    let (completed, failed) = (at.get("completedIndexes"), at.get("failedIndexes"));
    let completions = spec["completions"].as_i64();
    let per_index = !spec["backoffLimitPerIndex"].is_null();
    let (completed_new, failed_new) = (
        changed.text("completedIndexes"),
        changed.field("failedIndexes") && failed.is_set(),
    );
    for (list, field, asked) in [
        (&completed, "completedIndexes", completed_new),
        (&failed, "failedIndexes", failed_new && per_index),
    ] {
        let found = completions
            .filter(|_| asked)
            .map(|all| intervals(list.str(), all));
        if let Some(Err(problem)) = found {
            list.invalid(errors, &format!("error parsing {field}: {problem}"));
        }
    }
    if completed_new && !completed.is_empty() && spec["completionMode"] != "Indexed" {
        let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
        completed.invalid(errors, detail);
    }
    if failed_new && !per_index {
        let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        failed.invalid(errors, detail);
    }
    let overlap = completions.and_then(|all| overlap(completed.str(), failed.str(), all));
    if let Some(index) = overlap.filter(|_| completed_new || failed_new) {
        let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
        failed.invalid(errors, &detail);
    }
}

fn pods(at: &At<'_, '_>, changed: Changed<'_>, errors: &mut ErrorList) {
    let (terminating, ready) = (at.get("terminating"), at.get("ready"));
    if finished(at.value)
        && (changed.finished() || changed.field("terminating"))
        && terminating.int().unwrap_or(0) > 0
    {
        terminating.invalid(errors, "terminating>0 is invalid for finished job");
    }
    let active = at.get("active").int().unwrap_or(0);
    if (changed.field("ready") || changed.number("active")) && ready.int().is_some_and(|ready| ready > active)
    {
        ready.invalid(errors, "cannot set more ready pods than active");
    }
}

/// What holds of success whatever has changed.
fn success(at: &At<'_, '_>, spec: &Value, errors: &mut ErrorList) {
    let list = at.get("conditions");
    let met = has(at.value, "SuccessCriteriaMet");
    if met && has(at.value, "Failed") {
        let detail = "cannot set SuccessCriteriaMet=True and Failed=true conditions";
        invalid_alone(&list, detail, errors);
    }
    if met && has(at.value, "FailureTarget") {
        let detail = "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions";
        invalid_alone(&list, detail, errors);
    }
    if !spec["successPolicy"].is_null() && !met && has(at.value, "Complete") {
        let detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
        invalid_alone(&list, detail, errors);
    }
}

/// Ends and counters do not go back.
fn only_forward(at: &At<'_, '_>, spec: &Value, before: &Value, errors: &mut ErrorList) {
    let list = at.get("conditions");
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if has(before, kind) && !has(at.value, kind) {
            let detail = format!("cannot disable the terminal {kind}=True condition");
            invalid_alone(&list, &detail, errors);
        }
    }
    // Such a job can be made smaller, and what has succeeded with it.
    let elastic = spec["completionMode"] == "Indexed" && spec["completions"] == spec["parallelism"];
    for counter in ["failed", "succeeded"] {
        let (now, then) = (
            at.get(counter).int().unwrap_or(0),
            before[counter].as_i64().unwrap_or(0),
        );
        if now < then && !(counter == "succeeded" && elastic) {
            let detail = format!("cannot decrease the {counter} counter");
            errors.push(Error::invalid(&at.get(counter).path(), now, detail));
        }
    }
    let end = at.get("completionTime");
    if end.is_set() && !before["completionTime"].is_null() && *end.value != before["completionTime"] {
        end.invalid(errors, "field is immutable");
    }
}

/// A job begins anew only when it is, or has just been, suspended.
fn start_time(at: &At<'_, '_>, spec: &Value, before: &Value, errors: &mut ErrorList) {
    let start = at.get("startTime");
    let begun = &before["startTime"];
    let resumes = has(before, "Suspended") && is_false(at.value, "Suspended");
    if !begun.is_null() && start.value != begun && spec["suspend"] != true && !resumes {
        start.required(errors, "startTime cannot be removed for unsuspended job");
    }
}

fn success_stays(at: &At<'_, '_>, before: &Value, errors: &mut ErrorList) {
    let list = at.get("conditions");
    let (now, then) = (
        has(at.value, "SuccessCriteriaMet"),
        has(before, "SuccessCriteriaMet"),
    );
    if then && !now {
        let detail = "cannot disable the SuccessCriteriaMet=True condition";
        invalid_alone(&list, detail, errors);
    }
    if has(before, "Complete") && !then && now {
        let detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
        invalid_alone(&list, detail, errors);
    }
}

#[cfg(test)]
mod tests;
