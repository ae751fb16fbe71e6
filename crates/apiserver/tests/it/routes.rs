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

/// One document of everything comes in each encoding under one tag, wherever among the clauses it is asked for.
#[tokio::test]
async fn discovery_in_one_document_has_every_encoding() {
    const WHOLE: &str = ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let h = Harness::start().await;
    let mut tags = Vec::new();
    for (encoding, begins) in [
        ("application/json", "{\"apiVersion\""),
        ("application/yaml", "apiVersion: apidiscovery.k8s.io/v2\n"),
        ("application/vnd.kubernetes.protobuf", "k8s\0"),
    ] {
        let (name, last) = (
            format!("{encoding}{WHOLE}"),
            format!("text/html, {encoding}{WHOLE}"),
        );
        let r = h.get_as("/apis", &last).await;
        assert_eq!(
            (r.code, r.headers["content-type"].to_str().unwrap()),
            (200, &*name)
        );
        assert_eq!(r.headers["cache-control"], "public");
        assert_eq!(r.headers["vary"], "Accept");
        assert!(r.body.starts_with(begins.as_bytes()), "{encoding}");
        tags.push(r.headers["etag"].clone());
    }
    tags.dedup();
    assert_eq!(tags.len(), 1);
    let plain_first = h
        .get_as("/apis", &format!("application/json, application/json{WHOLE}"))
        .await;
    assert_eq!(plain_first.ok()["kind"], "APIGroupDiscoveryList");
    let indented = h
        .get_as("/api", &format!("application/json{WHOLE};pretty=1"))
        .await;
    assert!(indented.text().starts_with("{\n  \""));
    // What was before version 2 is no more.
    let beta = format!("application/json{}", WHOLE.replace("v=v2", "v=v2beta1"));
    refused(&h.get_as("/apis", &beta).await, 406, ONLY);
    let plain = h.get_as("/apis", &format!("{beta}, application/json")).await;
    assert_eq!(plain.json()["kind"], "APIGroupList");
    assert!(plain.headers.get("vary").is_none());
}

#[tokio::test]
async fn documents_that_are_not_there_have_no_body() {
    let h = Harness::start().await;
    for (path, accept, code) in [
        ("/openapi/v3/", "*/*", 404),
        ("/openapi/v3/nope", "*/*", 404),
        ("/openapi/v3/api/v1", "text/plain", 406),
        ("/openapi/v2", "text/plain", 406),
    ] {
        let r = h.get_as(path, accept).await;
        assert_eq!((r.code, r.text()), (code, String::new()), "{path}");
        assert!(r.headers.get("content-type").is_none(), "{path}");
    }
    let index = h.get("/openapi/v3").await;
    assert_eq!(index.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(h.get("/index.html").await.text(), h.get("/").await.text());
}

/// Names that can be no object's are told apart from those that are nobody's.
#[tokio::test]
async fn names_that_no_path_holds() {
    let h = Harness::start().await;
    let said = |name: &str, why: &str| format!("Name parameter invalid: {name:?}: {why}");
    for (segment, message) in [
        ("%2e%2e", said("..", "may not be '..'")),
        ("%2E", said(".", "may not be '.'")),
        ("a%25b", said("a%b", "may not contain '%'")),
    ] {
        for (method, path) in [
            ("GET", format!("/api/v1/namespaces/default/configmaps/{segment}")),
            (
                "DELETE",
                format!("/api/v1/namespaces/default/configmaps/{segment}"),
            ),
            ("GET", format!("/api/v1/namespaces/default/pods/{segment}/status")),
            (
                "GET",
                format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{segment}"),
            ),
        ] {
            refused(&send(&h, method, &path).await, 400, &message);
        }
    }
}

/// What the server made itself is owned, as what clients make: who changes it later is noted then.
#[tokio::test]
async fn the_servers_own_objects_have_an_owner() {
    let h = Harness::start().await;
    for (path, manager) in [
        ("/api/v1/namespaces/default", "kube-apiserver"),
        ("/api/v1/namespaces/default/services/kubernetes", "kube-apiserver"),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/admin",
            "kube-apiserver",
        ),
        (
            "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/exempt",
            "api-priority-and-fairness-config-producer-v1",
        ),
    ] {
        let object = h.get(path).await.ok();
        let owners = object["metadata"]["managedFields"].as_array().unwrap();
        let made = owners
            .iter()
            .find(|owner| owner["subresource"].is_null())
            .unwrap();
        assert_eq!(
            (&made["manager"], &made["operation"]),
            (&manager.into(), &"Update".into())
        );
    }
    let mut service = h.get("/api/v1/namespaces/default/services/kubernetes").await.ok();
    assert_eq!(service["spec"]["ipFamilies"].take(), serde_json::json!(["IPv4"]));
    let path = "/api/v1/namespaces/default?fieldManager=me";
    let body = serde_json::json!({"metadata": {"labels": {"mine": "yes"}}});
    let patched = h.merge(path, body).await.ok();
    let owners = patched["metadata"]["managedFields"].as_array().unwrap();
    let mine = owners.iter().find(|owner| owner["manager"] == "me").unwrap();
    assert_eq!(
        mine["fieldsV1"],
        serde_json::json!({"f:metadata": {"f:labels": {"f:mine": {}}}})
    );
}

#[tokio::test]
async fn each_server_has_a_lease() {
    let h = Harness::start().await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases?labelSelector=apiserver.kubernetes.io/identity=kube-apiserver&watch=1";
    let lease = h.until(path, |lease| lease["kind"] == "Lease").await;

    let name = lease["metadata"]["name"].as_str().unwrap();
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap();
    assert!(
        name.starts_with("apiserver-") && holder.starts_with(&format!("{name}_")),
        "{lease}"
    );
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 3600);
    assert_eq!(lease["metadata"]["managedFields"][0]["manager"], "kube-apiserver");
}

/// A HEAD has the head of the answer alone, over both versions of HTTP: over the second nobody else takes the body off.
#[tokio::test]
async fn heads_have_no_body() {
    let h = Harness::start().await;
    for path in ["/healthz", "/nope", "/api/v1/namespaces/default"] {
        let full = send(&h, "POST", path).await;
        let request = |uri: &str| {
            let request = h.request("HEAD", uri, ADMIN);
            request.body(Full::new(Bytes::new())).unwrap()
        };
        let one = h.whole(request(path)).await;
        let two = h.whole_over_2(request(&format!("https://localhost{path}"))).await;
        for head in [one, two] {
            assert_eq!((head.code, head.body.len()), (full.code, 0), "{path}");
            assert!(head.headers.contains_key("content-length"), "{path}");
        }
    }
}

/// Selectors and tokens may be long.
#[tokio::test]
async fn heads_of_requests_may_be_long() {
    let h = Harness::start().await;
    let long = "a".repeat(500_000);
    let request = |uri: &str| {
        let request = h.request("GET", uri, ADMIN).header("x-long", &*long);
        request.body(Full::new(Bytes::new())).unwrap()
    };
    assert_eq!(h.whole(request("/api/v1")).await.code, 200);
    assert_eq!(
        h.whole_over_2(request("https://localhost/api/v1")).await.code,
        200
    );
}

/// Whoever may not is answered without leave to guess at what that is; a client that puts two spaces is told so.
#[tokio::test]
async fn refusals_are_plain() {
    let h = Harness::start().await;
    let as_whom = async |headers: &[(&str, &str)]| {
        let mut request = h.request("GET", "/api/v1/namespaces", "");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        h.whole(request.body(Full::new(Bytes::new())).unwrap()).await
    };
    let anonymous = as_whom(&[]).await;
    assert_eq!(
        (
            anonymous.code,
            anonymous.headers["x-content-type-options"].to_str().unwrap()
        ),
        (403, "nosniff")
    );
    let spaced = as_whom(&[("authorization", "Bearer  x")]).await;
    let warned = "299 - \"the provided Authorization header contains extra space before the bearer token, and is ignored\"";
    assert_eq!(
        (spaced.code, spaced.headers["warning"].to_str().unwrap()),
        (403, warned)
    );
    let admin = ("authorization", &*format!("Bearer {ADMIN}"));
    let asked = [
        ("impersonate-group", "g"),
        ("impersonate-extra-k", "v"),
        ("impersonate-uid", "7"),
    ];
    let nobody = as_whom(&[&[admin], &asked[..]].concat()).await;
    let version = "authentication.k8s.io/v1";
    let why = format!(
        "requested [{{Group  g    }} {{UserExtra  v  {version}  k}} {{UID  7  {version}  }}] without impersonating a user"
    );
    refused(&nobody, 400, &why);
    let followed = as_whom(&[("authorization", &*format!("Bearer {ADMIN} more"))]).await;
    assert_eq!(followed.code, 200);
}

/// Whoever speaks HTTP to the port of HTTPS is told what is wrong, as Go's server tells it.
#[tokio::test]
async fn http_in_the_clear_is_told() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let h = Harness::start().await;
    let mut socket = tokio::net::TcpStream::connect(h.address).await.unwrap();
    socket
        .write_all(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut said = String::new();
    socket.read_to_string(&mut said).await.unwrap();
    let why = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    assert_eq!(said, why);
    assert_eq!(h.get("/version").await.code, 200);
}

/// What dashboards of API servers read has upstream's names and labels, each declared once by the name of its samples.
#[tokio::test]
async fn figures_have_upstreams_names() {
    let h = Harness::start().await;
    h.get("/api/v1/namespaces/default/configmaps").await.ok();
    h.get("/api/v1/namespaces/default").await.ok();
    h.get("/api/v1/componentstatuses").await.ok();
    let page = h.get("/metrics").await.text();
    let own = "component=\"apiserver\"";
    for sample in [
        "apiserver_request_total{verb=\"LIST\"",
        "apiserver_request_sli_duration_seconds_bucket{le=\"0.05\",verb=\"GET\"",
        "apiserver_response_sizes_sum{verb=\"LIST\",group=\"\",version=\"v1\",resource=\"configmaps\"",
        "apiserver_response_sizes_count{verb=\"GET\"",
        "apiserver_requested_deprecated_apis{group=\"\",version=\"v1\",resource=\"componentstatuses\",subresource=\"\",removed_release=\"\"} 1",
        "apiserver_resource_objects{group=\"\",resource=\"namespaces\"} 4",
        "apiserver_storage_objects{resource=\"flowschemas.flowcontrol.apiserver.k8s.io\"} 1",
        "authentication_attempts{result=\"success\"}",
        "kubernetes_build_info{build_date=",
        "process_max_fds ",
    ] {
        assert!(
            page.lines().any(|line| line.starts_with(sample)),
            "{sample}\n{page}"
        );
    }
    assert!(page.contains(own));
    let declared: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    for one in &declared {
        let (name, kind) = one.split_once(' ').unwrap();
        let twice = declared
            .iter()
            .filter(|other| other.split_once(' ').unwrap().0 == name);
        assert_eq!(twice.count(), 1, "{name}");
        assert!(!page.contains(&format!("\n{name}_total")), "{name} {kind}");
    }
}
