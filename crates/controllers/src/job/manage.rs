//! The pods a Job should have now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use corten_client::Pod;
use corten_client::object::{MetaExt, controller_ref};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod as NewPod};

use super::FINALIZER;
use super::count::{self, ended_at};
use super::indexes::{ANNOTATION, index_of};
use crate::core::{Action, Note, Write, pod};
use crate::replicaset::by_deletion_order;

/// Pods created or deleted in one go.
pub const BURST: usize = 500;
pub const FAILURE_COUNT: &str = "batch.kubernetes.io/job-index-failure-count";
const INDEX_ENV: &str = "JOB_COMPLETION_INDEX";

/// Deletions of active pods.
#[must_use]
pub fn delete(job: &Job, pods: &[Arc<Pod>]) -> Vec<Action> {
    if pods.is_empty() {
        return Vec::new();
    }
    let writes = pods.iter().map(|p| {
        Write::delete(&**p)
            .ok(Note::normal(
                job,
                "SuccessfulDelete",
                format!("Deleted pod: {}", p.metadata.name()),
            ))
            .err(Note::warning(job, "FailedDelete", "Error deleting: {error}"))
    });
    vec![Action::Together(writes.collect())]
}

/// Active pods that are too many: doubles of an index first.
#[must_use]
pub fn surplus(job: &Job, active: &[Arc<Pod>], count: usize, now: Timestamp) -> Vec<Arc<Pod>> {
    let mut ranked = active.to_vec();
    by_deletion_order(&mut ranked, &std::collections::HashMap::new(), now);
    let spec = job.spec.clone().unwrap_or_default();
    if spec.completion_mode.as_deref() != Some("Indexed") {
        return ranked.into_iter().take(count).collect();
    }
    let completions = spec.completions.unwrap_or(0);
    let (mut seen, mut doubles, mut others) = (BTreeSet::new(), Vec::new(), Vec::new());
    for pod in ranked.into_iter().rev() {
        match index_of(&pod) {
            Some(index) if index < completions && seen.insert(index) => others.push(pod),
            _ => doubles.push(pod),
        }
    }
    let missing = count.saturating_sub(doubles.len());
    // Higher indexes go first.
    others.sort_by_key(|p| std::cmp::Reverse(index_of(p)));
    doubles
        .into_iter()
        .chain(others.into_iter().take(missing))
        .collect()
}

/// Creations of pods, one for each of `indexes` or `count` alike.
#[must_use]
pub fn create(
    job: &Job,
    indexes: Option<&[i32]>,
    count: usize,
    failures: &BTreeMap<i32, i32>,
) -> Vec<Action> {
    let spec = job.spec.clone().unwrap_or_default();
    let write = |pod: &NewPod| {
        Write::create(pod)
            .ok(Note::normal(job, "SuccessfulCreate", "Created pod: {name}"))
            .err(Note::warning(job, "FailedCreate", "Error creating: {error}"))
    };
    let mut plain = pod::from_template(&spec.template, job.metadata.ns(), controller_ref(job));
    let finalizers = plain.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|f| f == FINALIZER) {
        finalizers.push(FINALIZER.into());
    }
    let writes: Vec<Write> = match indexes {
        None => vec![write(&plain); count],
        Some(indexes) => indexes
            .iter()
            .map(|i| write(&indexed(job, &spec, plain.clone(), *i, failures.get(i))))
            .collect(),
    };
    if writes.is_empty() {
        Vec::new()
    } else {
        vec![Action::SlowStart(writes)]
    }
}

fn indexed(job: &Job, spec: &JobSpec, mut pod: NewPod, index: i32, failures: Option<&i32>) -> NewPod {
    let name = job.metadata.name();
    pod.metadata.generate_name = Some(format!("{name}-{index}-"));
    pod.metadata
        .annotations
        .get_or_insert_default()
        .insert(ANNOTATION.into(), index.to_string());
    pod.metadata
        .labels
        .get_or_insert_default()
        .insert(ANNOTATION.into(), index.to_string());
    if spec.backoff_limit_per_index.is_some() {
        let count = failures.copied().unwrap_or(0).to_string();
        pod.metadata
            .annotations
            .get_or_insert_default()
            .insert(FAILURE_COUNT.into(), count);
    }
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(format!("{name}-{index}"));
    for container in spec
        .containers
        .iter_mut()
        .chain(spec.init_containers.iter_mut().flatten())
    {
        let env = container.env.get_or_insert_default();
        if env.iter().all(|e| e.name != INDEX_ENV) {
            let field = format!("metadata.labels['{ANNOTATION}']");
            let field_ref = Some(ObjectFieldSelector {
                api_version: None,
                field_path: field,
            });
            let value_from = Some(EnvVarSource {
                field_ref,
                ..EnvVarSource::default()
            });
            env.push(EnvVar {
                name: INDEX_ENV.into(),
                value: None,
                value_from,
            });
        }
    }
    pod
}

/// With a limit per index: the failed pod of each index that is to be tried again, and its failures so far. It stays
/// until its successor, which carries the count on, is there.
#[must_use]
pub fn waiting(pods: &[Arc<Pod>], spec: &JobSpec) -> BTreeMap<i32, (Arc<Pod>, i32)> {
    let mut waiting: BTreeMap<i32, (Arc<Pod>, i32)> = BTreeMap::new();
    for pod in pods
        .iter()
        .filter(|p| count::is_tracked(p) && count::has_failed(p, spec))
    {
        let Some(index) = index_of(pod) else { continue };
        let count = failures_of(pod) + 1;
        if waiting.get(&index).is_none_or(|(_, known)| *known < count) {
            waiting.insert(index, (Arc::clone(pod), count));
        }
    }
    for pod in pods
        .iter()
        .filter(|p| pod::is_active(p) || pod::phase(p) == "Succeeded")
    {
        if let Some(index) = index_of(pod)
            && waiting
                .get(&index)
                .is_some_and(|(_, count)| failures_of(pod) >= *count)
        {
            waiting.remove(&index);
        }
    }
    waiting
}

fn failures_of(pod: &Pod) -> i32 {
    pod.metadata
        .annotation(FAILURE_COUNT)
        .and_then(|c| c.parse().ok())
        .unwrap_or(0)
}

/// Of the indexes to try, those whose delay is over; and how long until the next is.
#[must_use]
pub fn due(
    indexes: Vec<i32>,
    waiting: &BTreeMap<i32, (Arc<Pod>, i32)>,
    now: Timestamp,
) -> (Vec<i32>, Option<Duration>) {
    let (mut due, mut soonest) = (Vec::new(), None::<Duration>);
    for index in indexes {
        let left = waiting.get(&index).map_or(Duration::ZERO, |(pod, failures)| {
            let failures = usize::try_from(*failures).unwrap_or(0);
            ended_at(pod).map_or(Duration::ZERO, |at| count::remaining(failures, at, now))
        });
        if left.is_zero() {
            due.push(index);
        } else {
            soonest = Some(soonest.map_or(left, |s| s.min(left)));
        }
    }
    (due, soonest)
}
