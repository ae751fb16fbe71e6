//! The status of a StatefulSet.

use corten_client::Pod;
use corten_client::object::MetaExt;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};

use super::identity::REVISION_LABEL;
use super::plan::Scene;
use crate::core::{Action, Write, pod};

/// The write of the status, if it changes.
pub(super) fn write(scene: &Scene<'_>) -> Option<Action> {
    let set = scene.view.set;
    let status = calculate(scene);
    if set.status.as_ref() == Some(&status) {
        return None;
    }
    Some(
        Write::status(&StatefulSet {
            status: Some(status),
            ..set.clone()
        })
        .into(),
    )
}

fn calculate(scene: &Scene<'_>) -> StatefulSetStatus {
    let set = scene.view.set;
    let old = set.status.clone().unwrap_or_default();
    let update = scene.view.update.metadata.name();
    let current = scene.current.metadata.name();
    let count = |f: &dyn Fn(&Pod) -> bool| {
        i32::try_from(scene.view.pods.iter().filter(|p| f(p)).count()).unwrap_or(i32::MAX)
    };
    // Pods that go no longer belong to a revision.
    let of = |revision: &str| {
        count(&|p| !p.metadata.terminating() && p.metadata.label(REVISION_LABEL) == Some(revision))
    };
    let created = |p: &Pod| !pod::phase(p).is_empty();
    let ready = count(&|p| pod::phase(p) == "Running" && pod::is_ready(p));
    let mut status = StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas: count(&created),
        ready_replicas: some(ready),
        available_replicas: Some(count(&|p| scene.is_available(p))),
        current_replicas: some((of(current) - if current == update { 0 } else { scene.updating }).max(0)),
        updated_replicas: some(of(update)),
        current_revision: Some(current.to_owned()),
        update_revision: Some(update.to_owned()),
        collision_count: Some(old.collision_count.unwrap_or(0)),
        conditions: old.conditions,
    };
    let updated = status.updated_replicas.unwrap_or(0);
    if scene.partition() == 0 && updated == status.replicas && ready == status.replicas && current != update {
        status.current_replicas = status.updated_replicas;
        status.current_revision = Some(update.to_owned());
    }
    status
}

fn some(count: i32) -> Option<i32> {
    Some(count).filter(|n| *n != 0)
}
