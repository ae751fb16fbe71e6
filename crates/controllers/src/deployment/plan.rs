//! What a Deployment does about its replica sets. Upstream: pkg/controller/deployment/sync.go.

use std::sync::Arc;
use std::time::Duration;

use corten_client::object::MetaExt;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::revision::{DESIRED_REPLICAS, equal_ignoring_hash};
use super::sets::Sets;
use super::{conditions, rollout, status};
use crate::core::{Action, Note, Write};

/// What a plan is made from.
pub struct View<'a> {
    pub deployment: &'a Deployment,
    /// Its own sets.
    pub sets: Vec<Arc<ReplicaSet>>,
    /// Uids of the sets that still have pods which are not finished.
    pub old_pods_running: Vec<String>,
}

/// Steps to take, and when to look again although nothing changes.
#[derive(Debug, Default)]
pub struct Plan {
    pub actions: Vec<Action>,
    pub requeue: Option<Duration>,
}

/// Decides the next steps; many calls, each after the effects of the last are seen, make a rollout.
#[must_use]
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan {
    let mut sets = Sets::new(view, now);
    let before = view.deployment.status.clone().unwrap_or_default();
    if view.deployment.metadata.terminating() {
        let (new, olds) = sets.split();
        let status = status::calculate(&sets, new, &olds, now);
        return finish(sets, before, status, None);
    }
    conditions::pause(&mut sets.deployment, now);
    let spec = spec(view.deployment);
    if spec.paused == Some(true) || is_scaling(&sets) {
        let (new, olds) = sets.sync_revision(false);
        rollout::scale(&mut sets, new, &olds);
        if spec.paused == Some(true) {
            rollout::clean_up(&mut sets, &olds);
        }
        let status = status::calculate(&sets, new, &olds, now);
        return finish(sets, before, status, None);
    }
    let (new, olds) = if is_recreate(view.deployment) {
        rollout::recreate(&mut sets, &view.old_pods_running)
    } else {
        rollout::rolling(&mut sets)
    };
    let status = status::rollout(&sets, new, &olds, now);
    let requeue = status::next_check(&sets.deployment, &status, now);
    finish(sets, before, status, requeue)
}

fn finish(sets: Sets, before: DeploymentStatus, status: DeploymentStatus, requeue: Option<Duration>) -> Plan {
    let (mut actions, mut deployment) = sets.into_actions();
    if before != status {
        deployment.status = Some(status);
        actions.push(Write::status(&deployment).into());
        return Plan {
            actions,
            requeue: None,
        };
    }
    Plan { actions, requeue }
}

/// Whether replicas changed since the sets were last sized.
fn is_scaling(sets: &Sets) -> bool {
    let wanted = replicas(&sets.deployment);
    let active = sets.sets.iter().filter(|s| size(s) > 0);
    active
        .filter_map(|s| s.metadata.annotation(DESIRED_REPLICAS)?.parse::<i32>().ok())
        .any(|n| n != wanted)
}

/// A selector that selects everything is refused: the steps are then to say so.
#[must_use]
pub fn selects_all(deployment: &Deployment) -> Option<Vec<Action>> {
    if spec(deployment).selector != LabelSelector::default() {
        return None;
    }
    let message = "This deployment is selecting all pods. A non-empty selector is required.";
    let mut actions = vec![Note::warning(deployment, "SelectingAll", message).into()];
    let status = deployment.status.clone().unwrap_or_default();
    if status.observed_generation < deployment.metadata.generation {
        let observed_generation = deployment.metadata.generation;
        let status = Some(DeploymentStatus {
            observed_generation,
            ..status
        });
        actions.push(
            Write::status(&Deployment {
                status,
                ..deployment.clone()
            })
            .into(),
        );
    }
    Some(actions)
}

/// The name of a new set is taken. If by our own set, there is nothing to do; else another hash is needed.
#[must_use]
pub fn collide(deployment: &Deployment, taken: &ReplicaSet) -> Option<Action> {
    let same = match (
        &spec(deployment).template,
        taken.spec.as_ref().and_then(|s| s.template.as_ref()),
    ) {
        (wanted, Some(found)) => equal_ignoring_hash(wanted, found),
        _ => false,
    };
    if same && taken.metadata.controlled_by(deployment.metadata.uid()) {
        return None;
    }
    let mut status = deployment.status.clone().unwrap_or_default();
    status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
    Some(
        Write::status(&Deployment {
            status: Some(status),
            ..deployment.clone()
        })
        .into(),
    )
}

pub(super) fn spec(deployment: &Deployment) -> DeploymentSpec {
    deployment.spec.clone().unwrap_or_default()
}

/// Replicas the spec asks for; defaulting makes it 1.
pub(super) fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

/// Replicas a set is told to have.
pub(super) fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

#[must_use]
pub fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|s| s.strategy.as_ref());
    strategy.and_then(|s| s.type_.as_deref()) == Some("Recreate")
}

/// maxSurge and maxUnavailable in pods. Both being zero would never move, so one may then be unavailable.
pub(super) fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    if is_recreate(deployment) {
        return (0, 0);
    }
    let wanted = replicas(deployment);
    let rolling = deployment
        .spec
        .as_ref()
        .and_then(|s| s.strategy.as_ref()?.rolling_update.clone());
    let rolling = rolling.unwrap_or_default();
    let surge = rolling.max_surge.as_ref().map_or(0, |v| scaled(v, wanted, true));
    let unavailable = rolling
        .max_unavailable
        .as_ref()
        .map_or(0, |v| scaled(v, wanted, false));
    let unavailable = if surge == 0 && unavailable == 0 {
        1
    } else {
        unavailable
    };
    (surge, unavailable.min(wanted))
}

/// A number, or a percentage of `total`.
#[must_use]
pub fn scaled(value: &IntOrString, total: i32, up: bool) -> i32 {
    match value {
        IntOrString::Int(n) => *n,
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let product = percent * i64::from(total);
            let whole = if up {
                (product + 99).div_euclid(100)
            } else {
                product.div_euclid(100)
            };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    }
}
