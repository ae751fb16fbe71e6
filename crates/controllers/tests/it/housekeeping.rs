use std::time::Duration;

use corten_client::fake::Fake;
use expect_test::expect;
use serde_json::{Value, json};

use crate::cluster::{start, text, workload};

fn status(fake: &Fake, plural: &str, name: &str) -> Value {
    fake.get(plural, "a", name).unwrap_or_default()["status"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_budget_says_how_many_may_go() {
    let cluster = start();
    let spec = json!({"replicas": 3, "strategy": {"type": "Recreate"}});
    cluster
        .fake
        .put("deployments", workload("Deployment", "web", spec));
    cluster.fake.put(
        "poddisruptionbudgets",
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"namespace": "a", "name": "b"},
        "spec": {"maxUnavailable": "34%", "selector": {"matchLabels": {"app": "web"}}}}),
    );
    let budget = |f: &Fake| status(f, "poddisruptionbudgets", "b");
    cluster
        .until("healthy", |f| budget(f)["currentHealthy"] == 3)
        .await;
    let mut got = budget(&cluster.fake);
    got["conditions"][0]["lastTransitionTime"] = json!("t");
    expect![[r#"{"conditions":[{"lastTransitionTime":"t","message":"","observedGeneration":1,"reason":"SufficientPods","status":"True","type":"DisruptionAllowed"}],"currentHealthy":3,"desiredHealthy":1,"disruptionsAllowed":2,"expectedPods":3,"observedGeneration":1}"#]]
        .assert_eq(&got.to_string());
    // The eviction API has let one go that does not go: it counts as gone only for a while.
    let name = text(&cluster.fake.list("pods")[0]["metadata"]["name"]);
    cluster.fake.edit("poddisruptionbudgets", "a", "b", |b| {
        b["status"]["disruptedPods"] = json!({name: "2026-01-01T12:00:00Z"});
    });
    cluster
        .until("one less", |f| budget(f)["disruptionsAllowed"] == 1)
        .await;
    tokio::time::sleep(Duration::from_secs(121)).await;
    cluster
        .until("it stayed", |f| budget(f)["disruptionsAllowed"] == 2)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_cron_job_fires_and_forgets_the_oldest() {
    let cluster = start();
    let job = json!({"spec": {"managedBy": "me/x", "template": {"spec": {"restartPolicy": "Never", "containers": []}}}});
    cluster.fake.put(
        "cronjobs",
        json!({"apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"namespace": "a", "name": "cj", "creationTimestamp": "2026-01-01T12:00:00Z"},
        "spec": {"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1, "jobTemplate": job}}),
    );
    // The Jobs themselves are nobody's business here: suspended, they stay as they are.
    let finish = |f: &Fake| {
        for job in f.list("jobs") {
            f.edit("jobs", "a", &text(&job["metadata"]["name"]), |j| {
                if j["status"]["conditions"].is_null() {
                    j["status"] = json!({"startTime": j["metadata"]["creationTimestamp"].clone(),
                        "completionTime": "2026-01-01T12:01:05Z",
                        "conditions": [{"type": "Complete", "status": "True"}]});
                }
            });
        }
    };
    tokio::time::sleep(Duration::from_secs(61)).await;
    cluster.fake.until("first", |f| f.list("jobs").len() == 1).await;
    assert_eq!(
        text(&cluster.fake.list("jobs")[0]["metadata"]["name"]),
        format!("cj-{}", 1_767_268_860 / 60)
    );
    cluster
        .fake
        .until("active", |f| !status(f, "cronjobs", "cj")["active"].is_null())
        .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.fake.list("jobs").len(), 1, "Forbid");
    finish(&cluster.fake);
    tokio::time::sleep(Duration::from_secs(60)).await;
    finish(&cluster.fake);
    // What Forbid held back starts at once when it may.
    let ended = |f: &Fake| {
        f.list("jobs")
            .iter()
            .filter(|j| !j["status"]["conditions"].is_null())
            .count()
    };
    cluster.fake.until("history", |f| ended(f) == 1).await;
    cluster
        .fake
        .until("deleted", |f| {
            f.list("events").iter().any(|e| e["reason"] == "SuccessfulDelete")
        })
        .await;
    cluster
        .fake
        .until("successful", |f| {
            !status(f, "cronjobs", "cj")["lastSuccessfulTime"].is_null()
        })
        .await;
    let events = cluster.events();
    for wanted in [
        "CronJob Normal SuccessfulCreate: Created job cj-*",
        "CronJob Normal SawCompletedJob: Saw completed job: cj-* condition: Complete",
        "CronJob Normal SuccessfulDelete: Deleted job cj-*",
        "CronJob Normal JobAlreadyActive: Not starting job because prior execution is running and concurrency policy is Forbid",
    ] {
        assert!(events.contains(wanted), "{wanted}\n{events}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_counts() {
    let cluster = start();
    cluster.fake.put(
        "resourcequotas",
        json!({"apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"namespace": "a", "name": "q"},
        "spec": {"hard": {"pods": "5", "requests.cpu": "1", "count/configmaps": "5"}}}),
    );
    cluster
        .until("status", |f| {
            status(f, "resourcequotas", "q")["hard"]["pods"] == "5"
        })
        .await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "a", "name": "m"}});
    cluster.fake.put("configmaps", map);
    cluster
        .fake
        .put("replicasets", workload("ReplicaSet", "r", json!({"replicas": 2})));
    cluster.until("pods", |f| f.list("pods").len() == 2).await;
    let name = text(&cluster.fake.list("pods")[0]["metadata"]["name"]);
    cluster
        .fake
        .edit("pods", "a", &name, |p| p["status"]["phase"] = json!("Failed"));
    cluster
        .until("recounted", |f| {
            status(f, "resourcequotas", "q")["used"]["count/configmaps"] == "1"
        })
        .await;
    // What is created later is for admission to count, until the quota itself changes.
    cluster.until("replaced", |f| f.list("pods").len() == 3).await;
    cluster.fake.edit("resourcequotas", "a", "q", |q| {
        q["spec"]["hard"]["pods"] = json!("6");
    });
    cluster
        .until("pods counted", |f| {
            status(f, "resourcequotas", "q")["used"]["pods"] == "2"
        })
        .await;
}

/// Admission does not count by a limit that no status has yet.
#[tokio::test(start_paused = true)]
async fn a_quota_counts_what_came_with_it() {
    let cluster = start();
    cluster.fake.put(
        "resourcequotas",
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"namespace": "a", "name": "q"},
            "spec": {"hard": {"pods": "5"}}}),
    );
    let used = |f: &Fake| status(f, "resourcequotas", "q")["used"]["pods"].clone();
    cluster.until("status", |f| used(f) == "0").await;
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    cluster.fake.put(
        "pods",
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "p"}, "spec": spec}),
    );
    cluster.until("counted", |f| used(f) == "1").await;
}

#[tokio::test(start_paused = true)]
async fn a_replication_controller_replicates() {
    let cluster = start();
    cluster.fake.put(
        "replicationcontrollers",
        json!({"apiVersion": "v1", "kind": "ReplicationController",
        "metadata": {"namespace": "a", "name": "rc"}, "spec": {"replicas": 2, "selector": {"app": "rc"},
            "template": {"metadata": {"labels": {"app": "rc"}}, "spec": {"containers": []}}}}),
    );
    cluster
        .until("ready", |f| {
            status(f, "replicationcontrollers", "rc")["readyReplicas"] == 2
        })
        .await;
    let pod = &cluster.fake.list("pods")[0];
    assert_eq!(
        pod["metadata"]["ownerReferences"][0]["kind"],
        "ReplicationController"
    );
    assert!(
        cluster
            .events()
            .contains("ReplicationController Normal SuccessfulCreate: Created pod: rc-*")
    );
}

#[tokio::test(start_paused = true)]
async fn finished_jobs_go_after_their_time() {
    let cluster = start();
    cluster.fake.put("jobs", json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"namespace": "a", "name": "j"},
        "spec": {"ttlSecondsAfterFinished": 30, "template": {}},
        "status": {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T12:00:00Z"}]}}));
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert!(cluster.fake.get("jobs", "a", "j").is_some());
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster
        .fake
        .until("gone", |f| f.get("jobs", "a", "j").is_none())
        .await;
}

#[tokio::test(start_paused = true)]
async fn roles_aggregate_and_claims_are_protected() {
    let cluster = start();
    let fake = &cluster.fake;
    let role = |name: &str, extra: Value| {
        let mut role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name, "labels": {"to": "all"}}, "rules": [{"verbs": ["get"], "resources": [name]}]});
        if let (Value::Object(role), Value::Object(extra)) = (&mut role, extra) {
            role.extend(extra);
        }
        role
    };
    fake.put("clusterroles", role("pods", json!({})));
    let rule = json!({"clusterRoleSelectors": [{"matchLabels": {"to": "all"}}]});
    fake.put(
        "clusterroles",
        role("all", json!({"aggregationRule": rule, "rules": null})),
    );
    fake.until("aggregated", |f| {
        f.get("clusterroles", "", "all").unwrap()["rules"][0]["resources"][0] == "pods"
    })
    .await;
    fake.put("clusterroles", role("secrets", json!({})));
    fake.until("two", |f| {
        f.get("clusterroles", "", "all").unwrap()["rules"]
            .as_array()
            .map(Vec::len)
            == Some(2)
    })
    .await;
    fake.put(
        "persistentvolumeclaims",
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": "a", "name": "c"}, "spec": {}}),
    );
    let claim = |f: &Fake| f.get("persistentvolumeclaims", "a", "c").unwrap_or_default();
    fake.until("protected", |f| {
        claim(f)["metadata"]["finalizers"][0] == "kubernetes.io/pvc-protection"
    })
    .await;
    fake.put("pods", json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "p"},
        "spec": {"nodeName": "n", "containers": [], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}}));
    let caller: corten_client::Caller = fake.client().into();
    caller
        .delete("/api/v1/namespaces/a/persistentvolumeclaims/c", &json!({}))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!claim(fake).is_null(), "a pod uses it");
    fake.remove("pods", "a", "p");
    fake.until("gone", |f| claim(f).is_null()).await;
}
