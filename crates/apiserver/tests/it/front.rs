//! Filters, health, discovery, reviews.

use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::{Harness, NOBODY, Reply};

fn oracle(name: &str) -> Value {
    let shared = std::env::var_os("CORTEN_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared").into());
    let text = std::fs::read_to_string(shared.join("kubernetes/oracle").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn identities_and_their_refusals() {
    let h = Harness::start().await;
    let anonymous = |path: &str| h.request("GET", path, "").body(Full::default()).unwrap();
    assert_eq!(h.whole(anonymous("/readyz")).await.text(), "ok");
    assert_eq!(h.whole(anonymous("/version")).await.ok()["minor"], "36");
    let r = h.whole(anonymous("/api/v1/pods")).await;
    assert_eq!(r.code, 403);
    let text = "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" at the cluster scope";
    assert_eq!(r.json()["message"], text);
    let r = h
        .whole(
            h.request("GET", "/api/v1/pods", "wrong")
                .body(Full::default())
                .unwrap(),
        )
        .await;
    assert_eq!(
        (r.code, r.json()["message"].as_str()),
        (401, Some("Unauthorized"))
    );
    let r = h
        .whole(
            h.request("GET", "/api/v1/nodes/n", NOBODY)
                .body(Full::default())
                .unwrap(),
        )
        .await;
    assert_eq!(r.code, 403);
    assert!(r.headers.contains_key("audit-id"));
    assert_eq!(r.headers["cache-control"], "no-cache, private");
}

#[tokio::test]
async fn health_says_what_it_checked() {
    let h = Harness::start().await;
    assert!(h.get("/readyz?verbose").await.text().contains("[+]ping ok\n"));
    assert_eq!(h.get("/livez/ping").await.text(), "ok");
    assert_eq!(h.get("/nowhere").await.text(), "404 page not found\n");
    assert!(h.get("/metrics").await.text().contains("apiserver_request_total"));
    assert!(
        h.get("/").await.ok()["paths"]
            .as_array()
            .unwrap()
            .contains(&json!("/apis/apps/v1"))
    );
}

#[tokio::test]
async fn discovery_is_upstreams() {
    let h = Harness::start().await;
    let want = oracle("discovery.json");
    for (path, document) in want["legacy"].as_object().unwrap() {
        let mut got = h.get(path).await.ok();
        if path == "/api" {
            got["serverAddressByClientCIDRs"] = document["serverAddressByClientCIDRs"].clone();
        }
        assert_eq!(&got, document, "{path}");
    }
    for (path, document) in want["aggregated"].as_object().unwrap() {
        let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        let r = h.get_as(path, accept).await;
        assert_eq!(
            r.headers["content-type"],
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        );
        assert_eq!(&r.ok(), document, "{path}");
        let tag = r.headers["etag"].clone();
        let again = h
            .request("GET", path, crate::harness::ADMIN)
            .header("accept", accept)
            .header("if-none-match", tag);
        assert_eq!(h.whole(again.body(Full::default()).unwrap()).await.code, 304);
    }
}

#[tokio::test]
async fn who_may_do_what() {
    let h = Harness::start().await;
    let review = h
        .post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({}))
        .await
        .ok();
    assert_eq!(review["status"]["userInfo"]["username"], "admin");
    let spec = json!({"spec": {"user": "nobody", "resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let r = h
        .post("/apis/authorization.k8s.io/v1/subjectaccessreviews", spec)
        .await
        .ok();
    assert_eq!(r["status"]["allowed"], false);
    let r = h
        .post(
            "/apis/authentication.k8s.io/v1/tokenreviews",
            json!({"spec": {"token": "nope"}}),
        )
        .await
        .ok();
    assert_eq!(r["status"], json!({"error": "invalid bearer token", "user": {}}));
}

#[tokio::test]
async fn a_body_too_long_is_refused() {
    let h = Harness::start().await;
    let long = Bytes::from(vec![b' '; 3 * 1024 * 1024 + 1]);
    let r = h
        .body(
            "POST",
            "/api/v1/namespaces/default/configmaps",
            "application/json",
            long,
        )
        .await;
    assert_eq!(r.code, 413);
    assert_eq!(r.json()["reason"], "RequestEntityTooLarge");
}

#[tokio::test]
async fn tokens_of_service_accounts_are_made_and_taken() {
    let h = Harness::start().await;
    let account = json!({"metadata": {"name": "robot"}});
    h.post("/api/v1/namespaces/default/serviceaccounts", account)
        .await
        .ok();
    let path = "/api/v1/namespaces/default/serviceaccounts/robot/token";
    let r = h.post(path, json!({"spec": {"expirationSeconds": 60}})).await;
    assert_eq!(r.code, 422);
    let token = h.post(path, json!({"spec": {}})).await.ok()["status"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let mine = h.request(
        "POST",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        &token,
    );
    let r = h.whole(mine.body(Full::from("{}")).unwrap()).await.ok();
    assert_eq!(
        r["status"]["userInfo"]["username"],
        "system:serviceaccount:default:robot"
    );
    h.delete("/api/v1/namespaces/default/serviceaccounts/robot")
        .await
        .ok();
    let mine = h.request("GET", "/api/v1/namespaces/default", &token);
    assert_eq!(h.whole(mine.body(Full::default()).unwrap()).await.code, 401);
}

/// Version 3 comes in both forms under one hash, and says for how long it may be kept when it is asked for by that.
#[tokio::test]
async fn openapi_v3_is_json_or_protobuf() {
    const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";
    let h = Harness::start().await;
    let index = h.get("/openapi/v3").await.ok();
    let named = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let json = h.get(&named).await;
    let header = |reply: &Reply, name: &str| reply.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header(&json, "content-type"), "application/json");
    assert_eq!(header(&json, "cache-control"), "public, immutable");
    assert!(header(&json, "expires").ends_with("UTC"));
    for asked in [
        PROTOBUF,
        "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
    ] {
        let protobuf = h.get_as(&named, asked).await;
        assert_eq!(header(&protobuf, "content-type"), PROTOBUF);
        assert_eq!(header(&protobuf, "etag"), header(&json, "etag"));
        // Document.openapi
        assert!(protobuf.body.starts_with(b"\x0a\x053.0.0"));
    }
    assert_eq!(h.get_as(&named, "application/yaml").await.code, 406);
    let elsewhere = h.get("/openapi/v3/apis/apps/v1?hash=0").await;
    assert_eq!((elsewhere.code, header(&elsewhere, "location")), (301, named));
}
