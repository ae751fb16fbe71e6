//! apps/v1.

use serde_json::json;

use super::{Entry, Members, child, is_unset, items, set, set_absent, text};

const APPS: &str = "api/apps/v1";

pub(super) const HOOKS: &[Entry] = &[
    (APPS, "Deployment", deployment),
    (APPS, "DaemonSet", daemon_set),
    (APPS, "StatefulSet", stateful_set),
    (APPS, "ReplicaSet", replica_set),
];

pub(super) const CANONICAL: &[Entry] = &[(APPS, "StatefulSetSpec", claim_templates)];

const HISTORY: i32 = 10;

fn deployment(obj: &mut Members) {
    let spec = child(obj, "spec");
    set_absent(spec, "replicas", 1);
    let strategy = child(spec, "strategy");
    set_absent(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = child(strategy, "rollingUpdate");
        set_absent(rolling, "maxUnavailable", "25%");
        set_absent(rolling, "maxSurge", "25%");
    }
    set_absent(spec, "revisionHistoryLimit", HISTORY);
    set_absent(spec, "progressDeadlineSeconds", 600);
}

fn daemon_set(obj: &mut Members) {
    let spec = child(obj, "spec");
    let strategy = child(spec, "updateStrategy");
    set_absent(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = child(strategy, "rollingUpdate");
        set_absent(rolling, "maxUnavailable", 1);
        set_absent(rolling, "maxSurge", 0);
    }
    set_absent(spec, "revisionHistoryLimit", HISTORY);
}

fn stateful_set(obj: &mut Members) {
    let spec = child(obj, "spec");
    set_absent(spec, "podManagementPolicy", "OrderedReady");
    let strategy = child(spec, "updateStrategy");
    if is_unset(strategy, "type") {
        set(strategy, "type", "RollingUpdate");
        child(strategy, "rollingUpdate");
    }
    if text(strategy, "type") == "RollingUpdate"
        && let Some(rolling) = strategy.get_mut("rollingUpdate").and_then(|r| r.as_object_mut())
    {
        set_absent(rolling, "partition", 0);
    }
    let retention = child(spec, "persistentVolumeClaimRetentionPolicy");
    set_absent(retention, "whenDeleted", "Retain");
    set_absent(retention, "whenScaled", "Retain");
    set_absent(spec, "replicas", 1);
    set_absent(spec, "revisionHistoryLimit", HISTORY);
}

fn replica_set(obj: &mut Members) {
    set_absent(child(obj, "spec"), "replicas", 1);
}

/// Claim templates say what they are: upstream keeps that from before 1.17.
fn claim_templates(spec: &mut Members) {
    for template in items(spec, "volumeClaimTemplates") {
        set(template, "apiVersion", json!("v1"));
        set(template, "kind", json!("PersistentVolumeClaim"));
    }
}
