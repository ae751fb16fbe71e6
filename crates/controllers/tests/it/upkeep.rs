use serde_json::json;

use crate::cluster::start;

fn namespace(name: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
}

#[tokio::test(start_paused = true)]
async fn namespaces_get_an_account_and_the_root_ca() {
    let cluster = start();
    cluster.fake.put("namespaces", namespace("a"));
    cluster
        .until("account", |f| f.get("serviceaccounts", "a", "default").is_some())
        .await;
    cluster
        .until("root ca", |f| {
            f.get("configmaps", "a", "kube-root-ca.crt").is_some()
        })
        .await;
    cluster.fake.remove("serviceaccounts", "a", "default");
    cluster.fake.edit("configmaps", "a", "kube-root-ca.crt", |m| {
        m["data"]["ca.crt"] = json!("forged")
    });
    cluster
        .until("account again", |f| {
            f.get("serviceaccounts", "a", "default").is_some()
        })
        .await;
    cluster
        .until("repaired", |f| {
            f.get("configmaps", "a", "kube-root-ca.crt").unwrap()["data"]["ca.crt"] == "PEM"
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_when_it_is_empty() {
    let cluster = start();
    cluster.fake.put("namespaces", namespace("a"));
    cluster
        .until("account", |f| f.get("serviceaccounts", "a", "default").is_some())
        .await;
    cluster.fake.put(
        "configmaps",
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": "a", "name": "f", "finalizers": ["a.b/c"]}}),
    );
    cluster.fake.edit("namespaces", "", "a", |n| {
        n["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")
    });
    let condition = |f: &corten_client::fake::Fake, kind: &str| {
        let ns = f.get("namespaces", "", "a").unwrap_or_default();
        let all = ns["status"]["conditions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|c| c["type"] == kind).unwrap_or_default()
    };
    cluster
        .until("stuck", |f| {
            condition(f, "NamespaceFinalizersRemaining")["status"] == "True"
        })
        .await;
    assert_eq!(
        condition(&cluster.fake, "NamespaceFinalizersRemaining")["message"],
        "Some content in the namespace has finalizers remaining: a.b/c in 1 resource instances"
    );
    assert_eq!(
        condition(&cluster.fake, "NamespaceContentRemaining")["message"],
        "Some resources are remaining: configmaps. has 1 resource instances"
    );
    cluster.fake.remove("configmaps", "a", "f");
    cluster
        .until("gone", |f| f.get("namespaces", "", "a").is_none())
        .await;
}

#[tokio::test(start_paused = true)]
async fn token_secrets_go_with_their_account() {
    let cluster = start();
    cluster.fake.put("namespaces", namespace("a"));
    cluster
        .until("account", |f| f.get("serviceaccounts", "a", "default").is_some())
        .await;
    cluster.fake.put(
        "serviceaccounts",
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": "a", "name": "x"}}),
    );
    cluster.fake.put("secrets", json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"namespace": "a", "name": "t", "annotations": {"kubernetes.io/service-account.name": "x"}}}));
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(cluster.fake.get("secrets", "a", "t").is_some());
    cluster.fake.remove("serviceaccounts", "a", "x");
    cluster
        .until("gone", |f| f.get("secrets", "a", "t").is_none())
        .await;
}
