use serde_json::{Value, json};

use crate::cluster::{start, workload};

fn owned(name: &str, owner: &Value, block: bool) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "a", "name": name, "ownerReferences": [
        {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
         "uid": owner["metadata"]["uid"], "blockOwnerDeletion": block}]}})
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "a", "name": name}})
}

#[tokio::test(start_paused = true)]
async fn what_is_owned_goes_with_its_owner() {
    let cluster = start();
    let fake = &cluster.fake;
    let owner = fake.put("configmaps", map("owner"));
    let child = fake.put("configmaps", owned("child", &owner, true));
    fake.put("configmaps", owned("grandchild", &child, true));
    let ghost =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ghost", "uid": "no-such"}});
    fake.put("configmaps", owned("fostered", &ghost, true));
    fake.until("child of nobody goes", |f| {
        f.get("configmaps", "a", "fostered").is_none()
    })
    .await;
    fake.remove("configmaps", "a", "owner");
    fake.until("all gone", |f| f.list("configmaps").is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn foreground_deletion_goes_from_the_leaves() {
    let cluster = start();
    cluster.fake.put(
        "deployments",
        workload("Deployment", "web", json!({"replicas": 2})),
    );
    cluster
        .until("pods", |f| {
            f.list("pods")
                .iter()
                .filter(|p| p["status"]["phase"] == "Running")
                .count()
                == 2
        })
        .await;
    let options = json!({"propagationPolicy": "Foreground"});
    let caller: corten_client::Caller = cluster.fake.client().into();
    caller
        .delete("/apis/apps/v1/namespaces/a/deployments/web", &options)
        .await
        .unwrap();
    cluster
        .until("all gone", |f| {
            ["deployments", "replicasets", "pods"]
                .iter()
                .all(|k| f.list(k).is_empty())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn orphans_are_let_go_and_circles_broken() {
    let cluster = start();
    let fake = &cluster.fake;
    let owner = fake.put("configmaps", map("owner"));
    fake.put("configmaps", owned("child", &owner, true));
    let caller: corten_client::Caller = fake.client().into();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    caller
        .delete(
            "/api/v1/namespaces/a/configmaps/owner",
            &json!({"propagationPolicy": "Orphan"}),
        )
        .await
        .unwrap();
    fake.until("owner gone", |f| f.get("configmaps", "a", "owner").is_none())
        .await;
    let child = fake.get("configmaps", "a", "child").unwrap();
    assert!(child["metadata"]["ownerReferences"].is_null(), "{child}");
    // Two that own each other, deleted in the foreground.
    let first = fake.put("configmaps", map("first"));
    let second = fake.put("configmaps", owned("second", &first, true));
    fake.put("configmaps", owned("first", &second, true));
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    caller
        .delete(
            "/api/v1/namespaces/a/configmaps/first",
            &json!({"propagationPolicy": "Foreground"}),
        )
        .await
        .unwrap();
    fake.until("circle gone", |f| f.list("configmaps").len() == 1)
        .await;
}
