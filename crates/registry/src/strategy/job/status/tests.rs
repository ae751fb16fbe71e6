//! Transitions of a Job's status, with the texts of upstream's server.

use serde_json::json;

use super::*;

const BEGUN: &str = "2026-01-01T00:00:00Z";
const LATER: &str = "2026-01-01T00:01:00Z";

fn conditions(list: &[(&str, &str)]) -> Value {
    let one = |(kind, status): &(&str, &str)| json!({"type": kind, "status": status});
    list.iter().map(one).collect()
}

#[allow(clippy::needless_pass_by_value)]
fn said(spec: Value, before: Value, now: Value) -> Vec<String> {
    let mut errors = ErrorList::new();
    let old = json!({"spec": spec, "status": before});
    validate_update(&json!({"spec": spec, "status": now}), &old, &mut errors);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_job_that_resumes_begins_anew() {
    let held = json!({"startTime": BEGUN, "conditions": conditions(&[("Suspended", "True")])});
    let goes_on = conditions(&[("Suspended", "False")]);
    let spec = json!({"suspend": false});
    let again = json!({"startTime": LATER, "conditions": goes_on});
    assert!(said(spec.clone(), held.clone(), again).is_empty());
    assert!(said(spec.clone(), held.clone(), json!({"conditions": goes_on})).is_empty());
    let refused = ["status.startTime: Required value: startTime cannot be removed for unsuspended job"];
    assert_eq!(
        said(
            spec.clone(),
            held,
            json!({"conditions": conditions(&[("Suspended", "True")])})
        ),
        refused
    );
    let started = json!({"startTime": BEGUN});
    assert_eq!(said(spec, started, json!({"startTime": LATER})), refused);
}

#[test]
fn a_suspended_job_without_completions_ends_without_having_begun() {
    let ended = json!({
        "completionTime": LATER,
        "conditions": conditions(&[("SuccessCriteriaMet", "True"), ("Complete", "True")]),
    });
    let none = json!({"suspend": true, "completions": 0});
    assert!(said(none, json!({}), ended.clone()).is_empty());
    assert_eq!(
        said(json!({"completions": 0}), json!({}), ended),
        ["status.startTime: Required value: startTime is required for finished job"]
    );
}

#[test]
fn a_complete_job_keeps_what_announced_it() {
    let spec = json!({"successPolicy": {}});
    let complete = |list: &[(&str, &str)]| json!({"startTime": BEGUN, "completionTime": LATER, "conditions": conditions(list)});
    let both = complete(&[("SuccessCriteriaMet", "True"), ("Complete", "True")]);
    let one = complete(&[("Complete", "True")]);
    let text = |detail: &str| format!("status.conditions: Invalid value: {detail}");
    let policy = text("cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True");
    assert_eq!(
        said(spec.clone(), both.clone(), one.clone()),
        [
            text("cannot set Complete=True condition without the SuccessCriteriaMet=true condition"),
            policy.clone(),
            text("cannot disable the SuccessCriteriaMet=True condition"),
        ]
    );
    assert_eq!(said(spec, one.clone(), one.clone()), [policy]);
    assert_eq!(
        said(json!({}), one, both),
        [text(
            "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        )]
    );
}

#[test]
fn failure_is_announced_and_is_no_success() {
    let failed = json!({"startTime": BEGUN, "conditions": conditions(&[("Failed", "True")])});
    let mut indexed = failed.clone();
    indexed["failedIndexes"] = json!("");
    let text = |detail: &str| format!("status.conditions: Invalid value: {detail}");
    let unannounced = text("cannot set Failed=True condition without the FailureTarget=true condition");
    let spec = json!({"completions": 2, "backoffLimitPerIndex": 1});
    let of_indexes = said(spec, failed, indexed);
    assert_eq!(of_indexes.join("\n"), unannounced);
    let list = conditions(&[("Failed", "True"), ("SuccessCriteriaMet", "True")]);
    let now = json!({"startTime": BEGUN, "conditions": list});
    let met = text("cannot set SuccessCriteriaMet=True and Failed=true conditions");
    assert_eq!(
        said(json!({}), json!({}), now.clone()),
        [unannounced, met.clone()]
    );
    assert_eq!(said(json!({}), now.clone(), now), [met]);
}

#[test]
fn indexes_overlap_only_where_there_are_completions() {
    let spec =
        |all: Value| json!({"completionMode": "Indexed", "backoffLimitPerIndex": 1, "completions": all});
    let now = json!({"completedIndexes": "1,3-4", "failedIndexes": "0,4"});
    assert!(said(spec(Value::Null), json!({}), now.clone()).is_empty());
    let overlap = "status.failedIndexes: Invalid value: \"0,4\": failedIndexes and completedIndexes overlap at index: 4";
    assert_eq!(said(spec(json!(5)), json!({}), now.clone()), [overlap]);
    let before = json!({"failedIndexes": "0,4"});
    assert_eq!(said(spec(json!(5)), before, now), [overlap]);
}

#[test]
fn ready_pods_are_counted_where_they_are_said() {
    let active = "status.active: Invalid value: -1: must be greater than or equal to 0";
    assert_eq!(said(json!({}), json!({}), json!({"active": -1})), [active]);
    let ready = "status.ready: Invalid value: 2: cannot set more ready pods than active";
    let before = json!({"active": 2, "ready": 2});
    assert_eq!(
        said(json!({}), before.clone(), json!({"active": 1, "ready": 2})),
        [ready]
    );
    assert!(said(json!({}), before.clone(), before).is_empty());
}

#[test]
fn an_elastic_job_can_have_succeeded_less() {
    let spec =
        |parallelism: i64| json!({"completionMode": "Indexed", "completions": 1, "parallelism": parallelism});
    let (before, now) = (json!({"succeeded": 2}), json!({"succeeded": 1}));
    assert!(said(spec(1), before.clone(), now.clone()).is_empty());
    assert_eq!(
        said(spec(2), before, now),
        ["status.succeeded: Invalid value: 1: cannot decrease the succeeded counter"]
    );
}
