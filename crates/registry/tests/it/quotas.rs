//! What a namespace's quotas and limit ranges make of its pods, in upstream's words.

use corten_registry::Subresource;
use serde_json::{Value, json};

use crate::fixture::Fixture;

fn pod(name: &str, resources: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

async fn refused(f: &Fixture, pod: Value) -> String {
    f.create("", "pods", "default", pod).await.unwrap_err().message
}

#[tokio::test]
async fn a_quota_counts_and_refuses() {
    let f = Fixture::open().await;
    let hard = json!({"pods": "2", "requests.cpu": "1", "count/configmaps": "1"});
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    f.create("", "resourcequotas", "default", quota).await.unwrap();
    let used = json!({"pods": "0", "requests.cpu": "0", "count/configmaps": "0"});
    let status = json!({"hard": hard, "used": used});
    let set = |quota: &mut Value| quota["status"] = status.clone();
    f.update_sub(("", "resourcequotas"), "q", Subresource::STATUS, set)
        .await
        .unwrap();
    assert_eq!(
        refused(&f, pod("a", json!({}))).await,
        "pods \"a\" is forbidden: failed quota: q: must specify requests.cpu for: c"
    );
    let cpu = json!({"requests": {"cpu": "600m"}});
    f.create("", "pods", "default", pod("b", cpu.clone()))
        .await
        .unwrap();
    assert_eq!(
        refused(&f, pod("c", cpu)).await,
        "pods \"c\" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"
    );
    f.config_map("one").await;
    let two = crate::fixture::config_map("two");
    let status = f.create("", "configmaps", "default", two).await.unwrap_err();
    assert_eq!(
        status.message,
        "configmaps \"two\" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1"
    );
    let resource = f.resource("", "resourcequotas");
    let quota = f
        .registry
        .get(&resource, "default", "q", "")
        .await
        .unwrap()
        .value()
        .unwrap();
    let counted = json!({"pods": "1", "requests.cpu": "600m", "count/configmaps": "1"});
    assert_eq!(quota["status"]["used"], counted);
}

#[tokio::test]
async fn a_limit_range_fills_in_and_refuses() {
    let f = Fixture::open().await;
    let limit = json!({"type": "Container", "default": {"cpu": "200m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}});
    let range = json!({"metadata": {"name": "l"}, "spec": {"limits": [limit]}});
    f.create("", "limitranges", "default", range).await.unwrap();
    let made = f
        .create("", "pods", "default", pod("a", json!({})))
        .await
        .unwrap()
        .value()
        .unwrap();
    let resources = &made["spec"]["containers"][0]["resources"];
    assert_eq!(
        resources,
        &json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}})
    );
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    assert_eq!(
        refused(&f, pod("b", json!({"limits": {"cpu": "2"}}))).await,
        "pods \"b\" is forbidden: maximum cpu usage per Container is 1, but limit is 2"
    );
}
