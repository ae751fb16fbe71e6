//! What is said where no route leads, in which encoding, and what routes say before their handlers are asked.

use bytes::Bytes;
use http_body_util::Full;
use serde_json::Value;

use crate::harness::{ADMIN, Harness, Reply};

const NOT_FOUND: &str = "the server could not find the requested resource";
const NOT_ALLOWED: &str = "the server does not allow this method on the requested resource";
const ONLY: &str = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
const AVAILABLE: &str = "406: Not Acceptable\n\nAvailable representations: application/json";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";

async fn send(h: &Harness, method: &str, path: &str) -> Reply {
    let request = h
        .request(method, path, ADMIN)
        .header("accept", "application/json");
    h.whole(request.body(Full::new(Bytes::new())).unwrap()).await
}

#[track_caller]
fn refused(r: &Reply, code: u16, message: &str) {
    let said = r.json();
    assert_eq!(r.code, code, "{said}");
    assert_eq!(said["message"], message);
    assert_eq!(said["kind"], "Status");
}

#[tokio::test]
async fn what_a_router_does_not_have_is_said_as_an_object() {
    let h = Harness::start().await;
    for path in [
        "/apis/apps/v9",
        "/apis/apps/v9/deployments",
        "/api/v2",
        "/api/v2/x",
        "/version/x",
    ] {
        refused(&h.get(path).await, 404, NOT_FOUND);
    }
    for path in ["/apis/nope", "/apis/nope/v1", "/apis/nope/v1/x", "/openid/x"] {
        assert_eq!(h.get(path).await.text(), "404 page not found\n", "{path}");
    }
    for path in ["/api", "/api/v1", "/apis/apps/v1", "/version", "/openid/v1/jwks"] {
        refused(&send(&h, "POST", path).await, 405, NOT_ALLOWED);
    }
    for path in ["/", "/apis", "/apis/apps", "/healthz", "/metrics"] {
        assert_eq!(send(&h, "POST", path).await.code, 200, "{path}");
    }
    let yaml = h.get_as("/apis/apps/v9", "application/yaml").await;
    assert!(
        yaml.text().contains("message: the server could not find"),
        "{}",
        yaml.text()
    );
}

#[tokio::test]
async fn discovery_has_one_shape() {
    let h = Harness::start().await;
    for path in ["/api", "/apis", "/apis/apps", "/apis/apps/v1", "/api/v1"] {
        refused(&h.get_as(path, PARTIAL).await, 406, ONLY);
        let routed = !matches!(path, "/apis" | "/apis/apps");
        let r = h.get_as(path, "text/plain").await;
        let said = r.json()["message"].as_str().unwrap().to_owned();
        assert_eq!((r.code, said == ONLY), (406, !routed), "{path}: {said}");
        let any = h.get_as(path, "application/*").await.code;
        assert_eq!(any, if routed { 406 } else { 200 }, "{path}");
        assert_eq!(
            h.get_as(path, "text/html, application/json;q=0.5").await.code,
            200
        );
    }
    for path in ["/version", "/.well-known/openid-configuration"] {
        refused(&h.get_as(path, "text/plain").await, 406, AVAILABLE);
        assert_eq!(h.get_as(path, PARTIAL).await.code, 200);
    }
    // Said to nobody in particular: indented.
    let r = h.get_as("/api/v1/namespaces/default/configmaps/none", "a").await;
    assert!(r.text().starts_with("{\n  \"kind\": \"Status\""), "{}", r.text());
}

#[tokio::test]
async fn routes_that_are_not_there_warn_of_nothing() {
    let h = Harness::start().await;
    let warned = |r: &Reply| r.headers.contains_key("warning");
    assert!(warned(&h.get("/api/v1/componentstatuses").await));
    assert!(warned(&h.get("/api/v1/namespaces/default/endpoints/none").await));
    for (method, path) in [
        ("POST", "/api/v1/componentstatuses/x"),
        ("POST", "/api/v1/endpoints"),
        ("PUT", "/api/v1/namespaces/default/endpoints"),
        ("GET", "/api/v1/namespaces/default/endpoints/x/status"),
    ] {
        let r = send(&h, method, path).await;
        assert!(!warned(&r) && r.code >= 400, "{method} {path} {}", r.code);
    }
}

#[tokio::test]
async fn only_lists_go_over_all_namespaces() {
    let h = Harness::start().await;
    for path in [
        "/api/v1/bindings",
        "/apis/authorization.k8s.io/v1/localsubjectaccessreviews",
    ] {
        refused(&send(&h, "POST", path).await, 404, NOT_FOUND);
    }
    refused(&send(&h, "POST", "/api/v1/pods").await, 405, NOT_ALLOWED);
}

#[tokio::test]
async fn what_is_passed_on_cannot_be_tried() {
    let h = Harness::start().await;
    for path in [
        "/api/v1/namespaces/default/pods/none/exec?command=x&dryRun=All",
        "/api/v1/namespaces/default/pods/none/portforward?dryRun=All",
        "/api/v1/namespaces/default/services/none/proxy?dryRun=All",
        "/api/v1/nodes/none/proxy/x?dryRun=All",
    ] {
        refused(&send(&h, "POST", path).await, 400, "dryRun is not supported");
    }
    let traced = send(&h, "TRACE", "/api/v1/nodes/none/proxy?dryRun=All").await;
    let said: Value = traced.json();
    assert_eq!((traced.code, said["message"].as_str()), (405, Some(NOT_ALLOWED)));
}
