#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::core::transcript;

const NOW: &str = "2026-01-01T00:00:30Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn migration(name: &str, made: &str, holding: &[&str]) -> Arc<StorageVersionMigration> {
    let conditions: Vec<Value> = holding
        .iter()
        .map(|kind| json!({"type": kind, "status": "True", "reason": "R", "message": "", "lastTransitionTime": NOW}))
        .collect();
    let object = json!({"metadata": {"name": name, "creationTimestamp": made},
        "spec": {"resource": {"group": "example.com", "resource": "foos"}}, "status": {"conditions": conditions}});
    Arc::new(serde_json::from_value(object).unwrap())
}

fn told(all: &[Arc<StorageVersionMigration>]) -> Vec<String> {
    let name = |m: &Arc<StorageVersionMigration>| m.metadata.name().to_owned();
    let say = |turn| match turn {
        Turn::Ended(m) => format!("ended {}", name(&m)),
        Turn::Begins(m) => format!("begins {}", name(&m)),
        Turn::Runs(m) => format!("runs {}", name(&m)),
    };
    turns(all).into_iter().map(say).collect()
}

#[test]
fn one_runs_at_a_time_and_the_oldest_is_next() {
    let at = |second: u8| format!("2026-01-01T00:00:0{second}Z");
    let new = [
        migration("c", &at(2), &[]),
        migration("b", &at(1), &[]),
        migration("a", &at(2), &[]),
    ];
    assert_eq!(told(&new), ["begins b"]);
    assert_eq!(told(&[new[0].clone(), new[2].clone()]), ["begins a"]);
    let running = migration("r", &at(3), &["Running"]);
    assert_eq!(told(&[new[0].clone(), running.clone()]), ["runs r"]);
    let over = migration("o", &at(3), &["Running", "Succeeded"]);
    assert_eq!(told(&[new[0].clone(), over.clone()]), ["ended o", "begins c"]);
    assert_eq!(told(&[over.clone(), running]), ["ended o", "runs r"]);
    assert!(told(&[migration("x", &at(1), &["Failed"])]).is_empty());
    let ended = turns::no_more_running(&over, now());
    assert!(!holds(&ended, "Running") && holds(&ended, "Succeeded"));
    assert_eq!(conditions(&ended).next().unwrap().reason, "MigrationCompleted");
}

#[test]
fn conditions_are_set_once() {
    let running = with_condition(
        &migration("m", NOW, &[]),
        "Running",
        "MigrationRunning",
        "x",
        now(),
    );
    assert!(holds(&running, "Running"));
    let ended = turns::no_more_running(&running, now());
    assert_eq!(
        with_condition(&ended, "Running", "MigrationRunning", "x", now()),
        ended
    );
}

fn definition(generation: i64, observed: Option<i64>) -> Value {
    let conditions =
        observed.map(|observed| json!([{"type": "StorageMigrating", "observedGeneration": observed}]));
    json!({"metadata": {"name": "foos.example.com", "uid": "u", "generation": generation, "resourceVersion": "9"},
        "spec": {"versions": [{"name": "v1", "storage": false}, {"name": "v2", "storage": true}]},
        "status": {"conditions": conditions, "storedVersions": ["v1", "v2"]}})
}

#[test]
fn definitions_are_told() {
    let said = |write: Write| {
        let condition = &write.body["status"]["conditions"][0];
        let text = |field: &str| condition[field].as_str().unwrap_or_default();
        let (status, reason, message) = (text("status"), text("reason"), text("message"));
        format!(
            "{status} {reason}: {message} {}",
            write.body["status"]["storedVersions"]
        )
    };
    let write = begun(&definition(3, None), "m", now());
    assert_eq!(
        write.path,
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/foos.example.com/status?fieldManager=migration-runner-controller&force=true"
    );
    assert_eq!(
        transcript(&[write.into()]),
        "patch customresourcedefinitions foos.example.com {\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\
         \"CustomResourceDefinition\",\"metadata\":{\"name\":\"foos.example.com\",\"resourceVersion\":\"9\"},\"status\":\
         {\"conditions\":[{\"lastTransitionTime\":\"2026-01-01T00:00:30Z\",\"message\":\"Migration m is running\",\
         \"observedGeneration\":3,\"reason\":\"MigrationRunning\",\"status\":\"True\",\"type\":\"StorageMigrating\"}]}}\n"
    );
    let success = "False MigrationSucceeded: The migration has succeeded";
    assert_eq!(
        said(ended(&definition(3, Some(3)), true, now())),
        format!("{success} and the stored versions have been updated [\"v2\"]")
    );
    for other in [definition(4, Some(3)), definition(3, None)] {
        assert_eq!(
            said(ended(&other, true, now())),
            format!(
                "{success} but the stored versions have not been updated due to a generation mismatch null"
            )
        );
    }
    assert_eq!(
        said(ended(&definition(3, Some(3)), false, now())),
        "False MigrationFailed: The migration has failed null"
    );
}

#[test]
fn hashes_are_upstream_s() {
    let stored = |served: bool| {
        json!({"spec": {"group": "apps", "names": {"kind": "Deployment"},
            "versions": [{"name": "v2", "storage": false}, {"name": "v1", "storage": true, "served": served}]}})
    };
    // As upstream's discovery shows it.
    assert_eq!(definition::storage_version_hash(&stored(true)), "8aSe+NMegvE=");
    assert_eq!(definition::storage_version_hash(&stored(false)), "");
}

#[test]
fn what_cannot_be_migrated_is_said() {
    let served = |verbs: &[&str]| Served {
        group: "example.com".into(),
        version: "v2".into(),
        plural: "foos".into(),
        kind: "Foo".into(),
        namespaced: true,
        verbs: verbs.iter().map(|v| (*v).to_owned()).collect::<BTreeSet<_>>(),
    };
    let new = migration("m", "2026-01-01T00:00:27Z", &["Running"]);
    let old = migration("m", "2025-12-31T23:59:28Z", &["Running"]);
    assert_eq!(obstacle(&new, None, now()), Some(Ok(LOOK_AGAIN)));
    assert_eq!(
        obstacle(&migration("m", "2025-12-31T23:59:32Z", &[]), None, now()),
        Some(Ok(Duration::from_secs(2)))
    );
    let missing = "resource does not exist in discovery";
    assert_eq!(obstacle(&old, None, now()), Some(Err(missing.into())));
    assert_eq!(
        obstacle(&new, Some(&served(&["list", "patch", "update"])), now()),
        None
    );
    let cannot = "resource \"example.com/v2, Resource=foos\" does not support discovery operations: [update patch list]";
    assert_eq!(
        obstacle(&new, Some(&served(&["list"])), now()),
        Some(Err(cannot.into()))
    );
}
