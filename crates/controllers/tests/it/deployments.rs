use corten_client::fake::Fake;
use expect_test::expect;
use serde_json::json;

use crate::cluster::{start, workload};

const ROLLING: &str =
    r#"{"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}"#;

fn deployment(replicas: u32, strategy: &str) -> serde_json::Value {
    let strategy: serde_json::Value = serde_json::from_str(strategy).unwrap();
    let spec = json!({"replicas": replicas, "strategy": strategy,
        "progressDeadlineSeconds": 600, "revisionHistoryLimit": 1});
    workload("Deployment", "web", spec)
}

fn rolled(fake: &Fake, count: u64) -> bool {
    let Some(d) = fake.get("deployments", "a", "web") else {
        return false;
    };
    let s = &d["status"];
    s["observedGeneration"] == d["metadata"]["generation"]
        && ["updatedReplicas", "replicas", "availableReplicas"]
            .iter()
            .all(|f| s[f].as_u64() == Some(count))
        && fake.list("pods").len() as u64 == count
}

fn set_version(fake: &Fake, version: &str) {
    fake.edit("deployments", "a", "web", |d| {
        d["spec"]["template"]["metadata"]["annotations"] = json!({"v": version});
        let generation = d["metadata"]["generation"].as_u64().unwrap();
        d["metadata"]["generation"] = json!(generation + 1);
    });
}

#[tokio::test(start_paused = true)]
async fn a_rolling_update_goes_step_by_step() {
    let cluster = start();
    cluster.fake.put("deployments", deployment(3, ROLLING));
    cluster.until("first rollout", |f| rolled(f, 3)).await;
    set_version(&cluster.fake, "2");
    cluster.until("second rollout", |f| rolled(f, 3)).await;
    cluster
        .until("condition", |f| {
            f.get("deployments", "a", "web").unwrap()["status"]["conditions"][1]["reason"]
                == "NewReplicaSetAvailable"
        })
        .await;
    expect![[r#"
        Deployment Normal ScalingReplicaSet: Scaled down replica set web-* from 1 to 0
        Deployment Normal ScalingReplicaSet: Scaled down replica set web-* from 2 to 1
        Deployment Normal ScalingReplicaSet: Scaled down replica set web-* from 3 to 2
        Deployment Normal ScalingReplicaSet: Scaled up replica set web-* from 0 to 1
        Deployment Normal ScalingReplicaSet: Scaled up replica set web-* from 0 to 3
        Deployment Normal ScalingReplicaSet: Scaled up replica set web-* from 1 to 2
        Deployment Normal ScalingReplicaSet: Scaled up replica set web-* from 2 to 3
        ReplicaSet Normal SuccessfulCreate: Created pod: web-*-*
        ReplicaSet Normal SuccessfulDelete: Deleted pod: web-*-*"#]]
    .assert_eq(&cluster.events());
    let d = cluster.fake.get("deployments", "a", "web").unwrap();
    assert_eq!(
        d["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );
    let reasons: Vec<_> = d["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["reason"])
        .collect();
    assert_eq!(reasons, ["MinimumReplicasAvailable", "NewReplicaSetAvailable"]);
    set_version(&cluster.fake, "3");
    cluster.until("third rollout", |f| rolled(f, 3)).await;
    cluster
        .until("history is cut", |f| f.list("replicasets").len() == 2)
        .await;
}

#[tokio::test(start_paused = true)]
async fn recreate_ends_all_before_it_begins() {
    let cluster = start();
    cluster
        .fake
        .put("deployments", deployment(2, r#"{"type": "Recreate"}"#));
    cluster.until("first rollout", |f| rolled(f, 2)).await;
    set_version(&cluster.fake, "2");
    cluster
        .until("second rollout", |f| {
            rolled(f, 2) && f.list("replicasets").len() == 2
        })
        .await;
    expect![[r#"
        Deployment Normal ScalingReplicaSet: Scaled down replica set web-* from 2 to 0
        Deployment Normal ScalingReplicaSet: Scaled up replica set web-* from 0 to 2
        ReplicaSet Normal SuccessfulCreate: Created pod: web-*-*
        ReplicaSet Normal SuccessfulDelete: Deleted pod: web-*-*"#]]
    .assert_eq(&cluster.events());
}

#[tokio::test(start_paused = true)]
async fn a_paused_deployment_scales_but_does_not_roll() {
    let cluster = start();
    cluster.fake.put("deployments", deployment(2, ROLLING));
    cluster.until("first rollout", |f| rolled(f, 2)).await;
    cluster.fake.edit("deployments", "a", "web", |d| {
        d["spec"]["paused"] = json!(true);
        d["spec"]["replicas"] = json!(4);
        d["spec"]["template"]["metadata"]["annotations"] = json!({"v": "2"});
        d["metadata"]["generation"] = json!(2);
    });
    cluster.until("scaled", |f| f.list("pods").len() == 4).await;
    cluster
        .until("status", |f| {
            f.get("deployments", "a", "web").unwrap()["status"]["availableReplicas"] == 4
        })
        .await;
    assert_eq!(cluster.fake.list("replicasets").len(), 1);
    let status = &cluster.fake.get("deployments", "a", "web").unwrap()["status"];
    assert!(
        status["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c["reason"] == "DeploymentPaused"),
        "{status}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_set_adopts_and_releases() {
    let cluster = start();
    let orphan = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "a", "name": "orphan", "labels": {"app": "r"}}, "spec": {"containers": []}});
    cluster.fake.put("pods", orphan);
    cluster
        .fake
        .put("replicasets", workload("ReplicaSet", "r", json!({"replicas": 2})));
    cluster
        .until("two", |f| {
            f.get("replicasets", "a", "r").unwrap()["status"]["readyReplicas"] == 2
        })
        .await;
    assert_eq!(cluster.fake.list("pods").len(), 2);
    let owners = |f: &Fake| f.get("pods", "a", "orphan").unwrap()["metadata"]["ownerReferences"].clone();
    assert_eq!(owners(&cluster.fake)[0]["kind"], "ReplicaSet");
    cluster.fake.edit("pods", "a", "orphan", |p| {
        p["metadata"]["labels"] = json!({"app": "mine"})
    });
    cluster
        .until("released and replaced", |f| {
            owners(f).is_null() && f.list("pods").len() == 3
        })
        .await;
}

/// The sets together never ask for more than the rollout may have, and no set has more pods than it can have asked for.
/// Pods of several sets together may be more for a moment, as upstream's: unready pods of an old set are given up at
/// once and count no longer, whether their deletion has succeeded or not.
fn assert_bounded(fake: &Fake, when: &str) {
    let pods = fake.list("pods");
    let mut asked = 0;
    for set in fake.list("replicasets") {
        asked += set["spec"]["replicas"].as_u64().unwrap();
        let uid = &set["metadata"]["uid"];
        let mine = pods
            .iter()
            .map(|pod| &pod["metadata"])
            .filter(|meta| meta["deletionTimestamp"].is_null() && meta["ownerReferences"][0]["uid"] == *uid);
        let (mine, name) = (mine.count(), &set["metadata"]["name"]);
        assert!(
            mine <= 5,
            "{when}: {name} has {mine} pods, never wanted more than 5"
        );
    }
    assert!(asked <= 7, "{when}: {asked} pods asked for of at most 5 + 2");
}

/// Whatever is lost, repeated or late: the cluster gets where it should, and no pod is made twice.
#[tokio::test(start_paused = true)]
async fn it_converges_through_faults() {
    for seed in 0..12_u64 {
        let mut cluster = start();
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut random = |n: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % n
        };
        cluster.fake.put("deployments", deployment(5, ROLLING));
        for step in 0..40 {
            match random(8) {
                0 => cluster.fake.break_watches(),
                1 => cluster.fake.expire_watches(),
                2 => cluster.fake.fail_writes(2),
                3 => cluster.fake.hold_events(),
                4 => cluster.restart(),
                5 => set_version(&cluster.fake, &step.to_string()),
                _ => cluster.kubelet(),
            }
            tokio::time::sleep(std::time::Duration::from_millis(random(30))).await;
            cluster.fake.release_events();
            assert_bounded(&cluster.fake, &format!("seed {seed} step {step}"));
        }
        cluster.fake.fail_writes(0);
        cluster
            .until(&format!("rollout of seed {seed}"), |f| rolled(f, 5))
            .await;
    }
}
