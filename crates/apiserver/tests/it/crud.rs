//! Writes: create, update, patches, delete, and what goes wrong.

use serde_json::json;

use crate::harness::Harness;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn a_config_maps_life() {
    let h = Harness::start().await;
    let r = h
        .post(MAPS, json!({"metadata": {"name": "a"}, "data": {"k": "v"}}))
        .await;
    assert_eq!(r.code, 201);
    let made = r.json();
    assert_eq!(
        (&made["kind"], &made["apiVersion"]),
        (&json!("ConfigMap"), &json!("v1"))
    );
    let path = format!("{MAPS}/a");
    assert_eq!(h.get(&path).await.ok(), made);
    let again = h.post(MAPS, json!({"metadata": {"name": "a"}})).await;
    assert_eq!(
        (again.code, again.json()["message"].as_str()),
        (409, Some("configmaps \"a\" already exists"))
    );
    // The Python client's tests compare the body as text.
    assert_eq!(
        again.text(),
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\
         \"message\":\"configmaps \\\"a\\\" already exists\",\"reason\":\"AlreadyExists\",\
         \"details\":{\"name\":\"a\",\"kind\":\"configmaps\"},\"code\":409}\n"
    );
    let mut next = made.clone();
    next["data"]["k"] = json!("w");
    let put = h.put(&path, next.clone()).await.ok();
    assert_ne!(
        put["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
    next["data"]["k"] = json!("x");
    let stale = h.put(&path, next).await;
    assert_eq!(
        (stale.code, stale.json()["reason"].as_str()),
        (409, Some("Conflict"))
    );
    assert_eq!(
        h.merge(&path, json!({"data": {"k": null, "n": "1"}})).await.ok()["data"],
        json!({"n": "1"})
    );
    let ops = json!([{"op": "add", "path": "/data/o", "value": "2"}]).to_string();
    let patched = h
        .body("PATCH", &path, "application/json-patch+json", ops)
        .await
        .ok();
    assert_eq!(patched["data"], json!({"n": "1", "o": "2"}));
    let deleted = h.delete(&path).await;
    let begin = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Success\",\"details\":{\"name\":\"a\",\"kind\"";
    assert!(deleted.text().starts_with(begin), "{}", deleted.text());
    let gone = deleted.ok();
    assert_eq!(
        (&gone["status"], &gone["details"]["uid"]),
        (&json!("Success"), &made["metadata"]["uid"])
    );
    assert_eq!(h.get(&path).await.json()["message"], "configmaps \"a\" not found");
}

#[tokio::test]
async fn dry_run_leaves_nothing() {
    let h = Harness::start().await;
    h.post(&format!("{MAPS}?dryRun=All"), json!({"metadata": {"name": "a"}}))
        .await
        .ok();
    assert_eq!(h.get(&format!("{MAPS}/a")).await.code, 404);
}

#[tokio::test]
async fn unknown_fields_warn_or_fail() {
    let h = Harness::start().await;
    let body = json!({"metadata": {"name": "a"}, "spec": 1});
    let r = h.post(&format!("{MAPS}?dryRun=All"), body.clone()).await;
    assert_eq!(r.headers["warning"], "299 - \"unknown field \\\"spec\\\"\"");
    let r = h
        .post(&format!("{MAPS}?dryRun=All&fieldValidation=Strict"), body.clone())
        .await;
    let text = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"spec\"";
    assert_eq!((r.code, r.json()["message"].as_str()), (400, Some(text)));
    let r = h
        .post(&format!("{MAPS}?dryRun=All&fieldValidation=Ignore"), body)
        .await;
    assert!(!r.headers.contains_key("warning"));
}

#[tokio::test]
async fn scale_counts_replicas() {
    let h = Harness::start().await;
    let all = "/apis/apps/v1/namespaces/default/deployments";
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let spec = json!({"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    h.post(all, json!({"metadata": {"name": "d"}, "spec": spec}))
        .await
        .ok();
    let scale = h.get(&format!("{all}/d/scale")).await.ok();
    assert_eq!(
        (&scale["kind"], &scale["status"]["selector"]),
        (&json!("Scale"), &json!("a=b"))
    );
    let put = h
        .put(
            &format!("{all}/d/scale"),
            json!({"metadata": {"name": "d"}, "spec": {"replicas": 2}}),
        )
        .await
        .ok();
    assert_eq!(put["spec"]["replicas"], 2);
    let d = h
        .merge(&format!("{all}/d/scale"), json!({"spec": {"replicas": 3}}))
        .await
        .ok();
    assert_eq!(d["spec"]["replicas"], 3);
    assert_eq!(h.get(&format!("{all}/d")).await.ok()["spec"]["replicas"], 3);
    let bad = h
        .merge(&format!("{all}/d/scale"), json!({"spec": {"replicas": -1}}))
        .await;
    assert_eq!(bad.code, 422);
}

/// A Scale is of the object of the path, whatever writes it.
#[tokio::test]
async fn a_scale_is_of_its_object() {
    let h = Harness::start().await;
    let all = "/apis/apps/v1/namespaces/default/deployments";
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let made = h.post(all, json!({"metadata": {"name": "d"}, "spec": spec}));
    let uid = made.await.ok()["metadata"]["uid"].as_str().unwrap().to_owned();
    let path = format!("{all}/d/scale");
    let precondition = format!("Precondition failed: UID in precondition: x, UID in object meta: {uid}");
    let other = "the name of the object (other) does not match the name on the URL (d)";
    let elsewhere = "the namespace of the provided object does not match the namespace sent on the request";
    for (metadata, code, message) in [
        (json!({"name": "other"}), 400, other.to_owned()),
        (json!({"namespace": "other"}), 400, elsewhere.to_owned()),
        (
            json!({"uid": "x"}),
            409,
            format!("Operation cannot be fulfilled on deployments/scale.apps \"d\": {precondition}"),
        ),
    ] {
        let refused = h.merge(&path, json!({"metadata": metadata})).await;
        assert_eq!(
            (refused.code, refused.json()["message"].as_str()),
            (code, Some(message.as_str()))
        );
    }
    let nameless = h.put(&path, json!({})).await;
    let text = "the name of the object (d based on URL) was undeterminable: name must be provided";
    assert_eq!(
        (nameless.code, nameless.json()["message"].as_str()),
        (400, Some(text))
    );
    let stranger = h.put(&path, json!({"metadata": {"name": "d", "uid": "x"}})).await;
    assert_eq!(stranger.code, 409);
    let text = stranger.json()["message"].as_str().unwrap().to_owned();
    assert!(text.ends_with(&precondition), "{text}");
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let h = Harness::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let spec = json!({"containers": [{"name": "c", "image": "x"}]});
    h.post(
        "/api/v1/namespaces/default/serviceaccounts",
        json!({"metadata": {"name": "default"}}),
    )
    .await;
    h.post(pods, json!({"metadata": {"name": "p"}, "spec": spec}))
        .await
        .ok();
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    let r = h.post(&format!("{pods}/p/binding"), binding.clone()).await;
    assert_eq!((r.code, r.json()["status"].as_str()), (201, Some("Success")));
    let pod = h.get(&format!("{pods}/p")).await.ok();
    assert_eq!(pod["spec"]["nodeName"], "n1");
    assert_eq!(pod["status"]["conditions"][0]["type"], "PodScheduled");
    let r = h.post(&format!("{pods}/p/binding"), binding).await;
    let text =
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\"";
    assert_eq!((r.code, r.json()["message"].as_str()), (409, Some(text)));
}

#[tokio::test]
async fn namespaces_end_through_finalize() {
    let h = Harness::start().await;
    h.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}}))
        .await
        .ok();
    let going = h.delete("/api/v1/namespaces/n").await.ok();
    assert_eq!(going["status"]["phase"], "Terminating");
    let mut last = h.get("/api/v1/namespaces/n").await.ok();
    last["spec"] = json!({"finalizers": []});
    h.put("/api/v1/namespaces/n/finalize", last).await.ok();
    assert_eq!(h.get("/api/v1/namespaces/n").await.code, 404);
}
