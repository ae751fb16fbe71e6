//! batch/v1.

use serde_json::Value;

use super::{Entry, Members, child, is_unset, set, set_absent, set_empty};

const BATCH: &str = "api/batch/v1";

pub(super) const HOOKS: &[Entry] = &[
    (BATCH, "Job", job),
    (BATCH, "CronJob", cron_job),
    (BATCH, "PodFailurePolicyOnPodConditionsPattern", condition_pattern),
];

fn job(obj: &mut Members) {
    let spec = child(obj, "spec");
    if is_unset(spec, "completions") && is_unset(spec, "parallelism") {
        set(spec, "completions", 1);
    }
    set_absent(spec, "parallelism", 1);
    let per_index = !is_unset(spec, "backoffLimitPerIndex");
    set_absent(spec, "backoffLimit", if per_index { i32::MAX } else { 6 });
    set_absent(spec, "completionMode", "NonIndexed");
    set_absent(spec, "suspend", false);
    let by_policy = !is_unset(spec, "podFailurePolicy");
    set_absent(
        spec,
        "podReplacementPolicy",
        if by_policy {
            "Failed"
        } else {
            "TerminatingOrFailed"
        },
    );
    set_absent(spec, "manualSelector", false);
    labels_from_template(obj);
}

/// An object without labels takes those of its pods.
pub(super) fn labels_from_template(obj: &mut Members) {
    let labels = obj
        .get("spec")
        .and_then(|s| s.get("template")?.get("metadata")?.get("labels"))
        .cloned();
    let Some(labels @ Value::Object(_)) = labels else {
        return;
    };
    let meta = child(obj, "metadata");
    if meta
        .get("labels")
        .and_then(Value::as_object)
        .is_none_or(|l| l.is_empty())
    {
        set(meta, "labels", labels);
    }
}

fn cron_job(obj: &mut Members) {
    let spec = child(obj, "spec");
    set_absent(spec, "concurrencyPolicy", "Allow");
    set_absent(spec, "suspend", false);
    set_absent(spec, "successfulJobsHistoryLimit", 3);
    set_absent(spec, "failedJobsHistoryLimit", 1);
}

fn condition_pattern(pattern: &mut Members) {
    set_empty(pattern, "status", "True");
}
