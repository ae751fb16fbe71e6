//! What the pods of a Job have come to.

use std::time::Duration;

use corten_client::Pod;
use corten_client::object::MetaExt;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobSpec;

use super::FINALIZER;
use crate::core::pod;

/// Delay before a failed pod is replaced: doubles with each failure.
pub const BACKOFF: Duration = Duration::from_secs(10);
pub const BACKOFF_MAX: Duration = Duration::from_secs(600);

/// Whether the pod has still to be counted.
#[must_use]
pub fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers().iter().any(|f| f == FINALIZER)
}

/// Whether the Job waits for pods to end before it replaces them.
#[must_use]
pub fn only_failed_replaced(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
}

/// A pod that is going away counts as failed, unless the Job waits for how it ends.
#[must_use]
pub fn has_failed(object: &Pod, spec: &JobSpec) -> bool {
    match pod::phase(object) {
        "Failed" => true,
        "Succeeded" => false,
        _ => object.metadata.terminating() && !only_failed_replaced(spec),
    }
}

/// When the pod ended, as well as can be told.
#[must_use]
pub fn ended_at(object: &Pod) -> Option<Timestamp> {
    let statuses = object
        .status
        .iter()
        .flat_map(|s| s.container_statuses.iter().flatten());
    let ends = statuses.filter_map(|c| Some(c.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0));
    let unready = pod::condition(object, "Ready").filter(|c| c.status == "False");
    let unready = unready.and_then(|c| Some(c.last_transition_time.as_ref()?.0));
    let meta = &object.metadata;
    ends.max()
        .or(unready)
        .or(meta.deletion_timestamp.as_ref().map(|t| t.0))
        .or(meta.creation_timestamp.as_ref().map(|t| t.0))
}

/// How long to wait before failed pods are replaced: by the failures since the last success.
pub fn backoff<'a>(pods: impl Iterator<Item = &'a Pod>, spec: &JobSpec, now: Timestamp) -> Duration {
    let mut ends: Vec<(Timestamp, bool)> = pods
        .filter(|p| has_failed(p, spec) || pod::phase(p) == "Succeeded")
        .filter_map(|p| Some((ended_at(p)?, has_failed(p, spec))))
        .collect();
    ends.sort();
    let failures = ends.iter().rev().take_while(|(_, failed)| *failed).count();
    let last = ends.last().filter(|(_, failed)| *failed).map(|(at, _)| *at);
    last.map_or(Duration::ZERO, |last| remaining(failures, last, now))
}

/// What is left of the delay after so many failures.
#[must_use]
pub fn remaining(failures: usize, last: Timestamp, now: Timestamp) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(failures - 1).unwrap_or(u32::MAX).min(10);
    let delay = (BACKOFF * (1 << doublings)).min(BACKOFF_MAX);
    let left = (last + delay).duration_since(now);
    if left.is_positive() {
        left.unsigned_abs()
    } else {
        Duration::ZERO
    }
}

/// Restarts within pods count against the limit when containers are restarted in place.
pub fn restarts_exceed<'a>(pods: impl Iterator<Item = &'a Pod>, spec: &JobSpec) -> bool {
    let policy = spec
        .template
        .spec
        .as_ref()
        .and_then(|s| s.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let alive = pods.filter(|p| matches!(pod::phase(p), "Running" | "Pending"));
    let restarts: i32 = alive
        .filter_map(|p| p.status.as_ref())
        .flat_map(|s| {
            s.container_statuses
                .iter()
                .flatten()
                .chain(s.init_container_statuses.iter().flatten())
        })
        .map(|c| c.restart_count)
        .sum();
    let limit = spec.backoff_limit.unwrap_or(6);
    if limit == 0 {
        restarts > 0
    } else {
        restarts >= limit
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_ten_minutes() {
        let last = Timestamp::from_second(1000).unwrap();
        let seconds = |failures| remaining(failures, last, last).as_secs();
        assert_eq!([0, 1, 2, 3, 7, 100].map(seconds), [0, 10, 20, 40, 600, 600]);
        assert!(remaining(1, last, last + Duration::from_secs(10)).is_zero());
    }
}
