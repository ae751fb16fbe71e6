//! What a ReplicaSet does about its pods, and its status. Upstream: pkg/controller/replicaset.

use std::collections::HashMap;
use std::sync::Arc;

use corten_client::Pod;
use corten_client::object::{MetaExt, controller_ref};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};

use super::rank::by_deletion_order;
use crate::core::context::time;
use crate::core::{Action, Note, Write, pod};

/// Pods created or deleted in one go; the rest follows when these are seen.
pub const BURST: usize = 500;

/// What a plan is made from.
pub struct View<'a> {
    pub set: &'a ReplicaSet,
    /// Active pods that are its own, adoptees included.
    pub active: Vec<Arc<Pod>>,
    /// Its own pods that are going away.
    pub terminating: usize,
    /// Active pods of all sets that share this one's controller, by node: where pods are crowded.
    pub crowd: HashMap<String, usize>,
}

/// Replicas the spec asks for; defaulting makes it 1.
#[must_use]
pub fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

/// Creations or deletions that bring the number of pods to what the spec asks for.
#[must_use]
pub fn manage(view: &View<'_>, now: Timestamp) -> Vec<Action> {
    let wanted = usize::try_from(wanted(view.set)).unwrap_or(0);
    if view.active.len() < wanted {
        create(view.set, (wanted - view.active.len()).min(BURST))
    } else if view.active.len() > wanted {
        delete(view, (view.active.len() - wanted).min(BURST), now)
    } else {
        Vec::new()
    }
}

fn create(set: &ReplicaSet, count: usize) -> Vec<Action> {
    let Some(template) = set.spec.as_ref().and_then(|s| s.template.as_ref()) else {
        return Vec::new();
    };
    let made = pod::from_template(template, set.metadata.ns(), controller_ref(set));
    let write = Write::create(&made)
        .ok(Note::normal(set, "SuccessfulCreate", "Created pod: {name}"))
        .err(Note::warning(set, "FailedCreate", "Error creating: {error}"));
    vec![Action::SlowStart(vec![write; count])]
}

fn delete(view: &View<'_>, count: usize, now: Timestamp) -> Vec<Action> {
    let mut pods = view.active.clone();
    by_deletion_order(&mut pods, &view.crowd, now);
    let writes = pods.iter().take(count).map(|pod| {
        Write::delete(&**pod)
            .ok(Note::normal(
                view.set,
                "SuccessfulDelete",
                format!("Deleted pod: {}", pod.metadata.name()),
            ))
            .err(Note::warning(view.set, "FailedDelete", "Error deleting: {error}"))
    });
    vec![Action::Together(writes.collect())]
}

/// The status that describes the pods, and the error that managing them ended with.
#[must_use]
pub fn status(view: &View<'_>, error: Option<&str>, now: Timestamp) -> ReplicaSetStatus {
    let set = view.set;
    let spec = set.spec.clone().unwrap_or_default();
    let template = spec
        .template
        .as_ref()
        .and_then(|t| t.metadata.as_ref()?.labels.clone())
        .unwrap_or_default();
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let count = |f: &dyn Fn(&Pod) -> bool| {
        Some(number(view.active.iter().filter(|p| f(p)).count())).filter(|n| *n > 0)
    };
    let labeled = |pod: &Pod| template.iter().all(|(k, v)| pod.metadata.label(k) == Some(v));
    let old = set.status.clone().unwrap_or_default();
    ReplicaSetStatus {
        replicas: number(view.active.len()),
        fully_labeled_replicas: count(&labeled),
        ready_replicas: count(&pod::is_ready),
        available_replicas: count(&|p| pod::is_available(p, min_ready, now)),
        terminating_replicas: Some(number(view.terminating)),
        observed_generation: set.metadata.generation.max(old.observed_generation),
        conditions: conditions(view, old.conditions, error, now),
    }
}

fn conditions(
    view: &View<'_>,
    old: Option<Vec<ReplicaSetCondition>>,
    error: Option<&str>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = old.unwrap_or_default();
    let failed = conditions.iter().any(|c| c.type_ == "ReplicaFailure");
    match error {
        Some(error) if !failed => {
            let short = number(view.active.len()) < wanted(view.set);
            conditions.push(ReplicaSetCondition {
                type_: "ReplicaFailure".into(),
                status: "True".into(),
                reason: Some(if short { "FailedCreate" } else { "FailedDelete" }.into()),
                message: Some(error.into()),
                last_transition_time: Some(time(now)),
            });
        }
        None => conditions.retain(|c| c.type_ != "ReplicaFailure"),
        Some(_) => {}
    }
    Some(conditions).filter(|c| !c.is_empty())
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
