//! Smaller promises of the API: what is refused, what is counted, what changes with a type.

use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::harness::{ADMIN, Harness};

const HERE: &str = "/api/v1/namespaces/default";

async fn with_account() -> Harness {
    let h = Harness::start().await;
    // The controller that makes it does not run here.
    let account = json!({"metadata": {"name": "default"}});
    h.post(&format!("{HERE}/serviceaccounts"), account).await.ok();
    h
}

#[tokio::test]
async fn keys_are_not_empty() {
    let h = Harness::start().await;
    for (plural, value) in [("configmaps", "v"), ("secrets", "dg==")] {
        let body = json!({"metadata": {"name": "a"}, "data": {"": value}});
        let answer = h.post(&format!("{HERE}/{plural}"), body).await;
        let cause = answer.json()["details"]["causes"][0].clone();
        assert_eq!((answer.code, &cause["field"]), (422, &json!("data[]")), "{cause}");
    }
}

#[tokio::test]
async fn what_is_immutable_stays_until_it_is_deleted() {
    let h = Harness::start().await;
    for (plural, one, two) in [("configmaps", "1", "2"), ("secrets", "MQ==", "Mg==")] {
        let body = json!({"metadata": {"name": "a"}, "data": {"k": one}});
        let path = format!("{HERE}/{plural}/a");
        h.post(&format!("{HERE}/{plural}"), body).await.ok();
        h.merge(&path, json!({"data": {"k": two}})).await.ok();
        h.merge(&path, json!({"immutable": true})).await.ok();
        for change in [
            json!({"data": {"k": one}}),
            json!({"immutable": false}),
            json!({"immutable": null}),
        ] {
            let answer = h.merge(&path, change.clone()).await;
            assert_eq!(answer.code, 422, "{plural} {change}: {}", answer.text());
        }
        h.merge(&path, json!({"metadata": {"labels": {"a": "b"}}}))
            .await
            .ok();
        h.delete(&path).await.ok();
    }
}

#[tokio::test]
async fn wrong_sysctls_are_refused() {
    let h = with_account().await;
    let sysctl = |name: &str| json!({"name": name, "value": "1"});
    let sysctls = ["foo-", "kernel.shmmax", "safe-and-unsafe", "bar.."].map(sysctl);
    let spec = json!({"containers": [{"name": "c", "image": "i"}], "securityContext": {"sysctls": sysctls}});
    let answer = h
        .post(
            &format!("{HERE}/pods"),
            json!({"metadata": {"name": "p"}, "spec": spec}),
        )
        .await;
    assert_eq!(answer.code, 422);
    let fields: Vec<String> = answer.json()["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| cause["field"].as_str().unwrap().to_owned())
        .collect();
    let at = |n: usize| format!("spec.securityContext.sysctls[{n}].name");
    assert_eq!(fields, [at(0), at(3)]);
}

#[tokio::test]
async fn runtime_classes_must_be_there() {
    let h = with_account().await;
    let pod = |name: &str| json!({"metadata": {"name": name}, "spec": {"runtimeClassName": "rc", "containers": [{"name": "c", "image": "i"}]}});
    let classes = "/apis/node.k8s.io/v1/runtimeclasses";
    assert_eq!(h.post(&format!("{HERE}/pods"), pod("a")).await.code, 403);
    let class = json!({"metadata": {"name": "rc"}, "handler": "h", "overhead": {"podFixed": {"cpu": "10m"}}});
    h.post(classes, class).await.ok();
    let made = h.post(&format!("{HERE}/pods"), pod("b")).await.ok();
    assert_eq!(made["spec"]["overhead"], json!({"cpu": "10m"}));
    h.delete(&format!("{classes}/rc")).await.ok();
    assert_eq!(h.post(&format!("{HERE}/pods"), pod("c")).await.code, 403);
    h.post(classes, json!({"metadata": {"name": "rc"}, "handler": "h"}))
        .await
        .ok();
    let made = h.post(&format!("{HERE}/pods"), pod("d")).await.ok();
    assert_eq!(made["spec"].get("overhead"), None);
}

async fn changed(h: &Harness, spec: Value) -> Value {
    let path = format!("{HERE}/services/s");
    let mut service = h.get(&path).await.ok();
    service["spec"] = spec;
    h.put(&path, service).await.ok()["spec"].clone()
}

#[tokio::test]
async fn services_change_their_type() {
    let h = Harness::start().await;
    let external = json!({"type": "ExternalName", "externalName": "a.test"});
    let plain = json!({"type": "ClusterIP", "ports": [{"port": 80}]});
    let with_port = json!({"type": "NodePort", "ports": [{"port": 80}]});
    let body = json!({"metadata": {"name": "s"}, "spec": external});
    h.post(&format!("{HERE}/services"), body).await.ok();
    let spec = changed(&h, plain).await;
    assert!(
        spec["clusterIP"].as_str().unwrap().starts_with("10.96."),
        "{spec}"
    );
    let spec = changed(&h, external.clone()).await;
    assert!(
        spec.get("clusterIP").is_none() && spec["externalName"] == "a.test",
        "{spec}"
    );
    let spec = changed(&h, with_port).await;
    assert!(spec["ports"][0]["nodePort"].as_u64().unwrap() >= 30000, "{spec}");
    assert!(
        spec["clusterIP"].is_string() && spec.get("externalName").is_none(),
        "{spec}"
    );
    let spec = changed(&h, external).await;
    assert!(
        spec.get("ports").is_none() && spec.get("clusterIP").is_none(),
        "{spec}"
    );
}

#[tokio::test]
async fn quotas_count_each_kind() {
    let h = with_account().await;
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let set = json!({"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    let controller = json!({"replicas": 0, "selector": {"a": "b"}, "template": template});
    let ports = json!({"type": "NodePort", "ports": [{"port": 80}]});
    let kinds = [
        (
            "secrets",
            format!("{HERE}/secrets"),
            json!({"data": {"k": "dg=="}}),
        ),
        (
            "services.nodeports",
            format!("{HERE}/services"),
            json!({"spec": ports}),
        ),
        (
            "services",
            format!("{HERE}/services"),
            json!({"spec": {"ports": [{"port": 80}]}}),
        ),
        (
            "replicationcontrollers",
            format!("{HERE}/replicationcontrollers"),
            json!({"spec": controller}),
        ),
        (
            "count/replicasets.apps",
            "/apis/apps/v1/namespaces/default/replicasets".to_owned(),
            json!({"spec": set}),
        ),
    ];
    for (resource, path, object) in kinds {
        let quotas = format!("{HERE}/resourcequotas");
        let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {resource: "1"}}});
        h.post(&quotas, quota).await.ok();
        // The controller that writes it does not run here.
        let status = json!({"status": {"hard": {resource: "1"}, "used": {resource: "0"}}});
        h.merge(&format!("{quotas}/q/status"), status).await.ok();
        let named = |name: &str| {
            let mut object = object.clone();
            object["metadata"] = json!({"name": name});
            object
        };
        h.post(&path, named("one")).await.ok();
        let quota = h.get(&format!("{quotas}/q")).await.ok();
        assert_eq!(quota["status"]["used"][resource], "1", "{resource}");
        let refused = h.post(&path, named("two")).await;
        assert_eq!(refused.code, 403, "{resource}");
        assert!(refused.text().contains("exceeded quota: q"), "{}", refused.text());
        h.delete(&format!("{path}/one?propagationPolicy=Background"))
            .await
            .ok();
        h.delete(&format!("{quotas}/q")).await.ok();
    }
}

#[tokio::test]
async fn watches_agree_on_the_order() {
    let h = Harness::start().await;
    let maps = format!("{HERE}/configmaps");
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let request = h.request("GET", &format!("{maps}?watch=true"), ADMIN);
        bodies.push(h.send(request.body(Full::default()).unwrap()).await.into_body());
    }
    for n in 0..20 {
        let body = json!({"metadata": {"name": format!("m{}", n % 5)}});
        match h.get(&format!("{maps}/m{}", n % 5)).await.code {
            200 => h.delete(&format!("{maps}/m{}", n % 5)).await.ok(),
            _ => h.post(&maps, body).await.ok(),
        };
    }
    let mut orders: Vec<Vec<String>> = Vec::new();
    for body in &mut bodies {
        let mut text = Vec::new();
        while text.iter().filter(|b| **b == b'\n').count() < 20 {
            text.extend_from_slice(body.frame().await.unwrap().unwrap().data_ref().unwrap());
        }
        let events = String::from_utf8(text).unwrap();
        let versions = events.lines().map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            event["object"]["metadata"]["resourceVersion"].to_string()
        });
        orders.push(versions.collect());
    }
    assert_eq!(orders[0].len(), 20);
    assert!(orders.iter().all(|order| *order == orders[0]), "{orders:?}");
}
