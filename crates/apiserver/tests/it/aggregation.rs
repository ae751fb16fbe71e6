//! An extension API server behind a Service, and authenticating proxies in front of the server.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use base64::Engine as _;
use bytes::Bytes;
use corten_auth::authn::ClientCertificates;
use corten_auth::pki::{Authority, ServingNames, Subject};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::{ADMIN, Harness};

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const WATCH: &str =
    "/apis/apiregistration.k8s.io/v1/apiservices?watch=1&fieldSelector=metadata.name%3Dv1.ext.example.com";

fn reply(code: StatusCode, content_type: &str, body: &Value) -> Response<Full<Bytes>> {
    Response::builder()
        .status(code)
        .header("content-type", content_type)
        .body(Full::from(body.to_string()))
        .unwrap()
}

/// Discovery, OpenAPI, and for the rest what it was told of the request.
async fn extension(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path_and_query().unwrap().to_string();
    if request.headers().contains_key("upgrade") {
        let upgraded = hyper::upgrade::on(&mut request);
        let user = request.headers()["x-remote-user"].to_str().unwrap().to_owned();
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgraded.await.unwrap());
            io.write_all(user.as_bytes()).await.unwrap();
            io.shutdown().await.unwrap();
        });
        let answer = Response::builder().status(101).header("upgrade", "test");
        return Ok(answer
            .header("connection", "Upgrade")
            .body(Full::default())
            .unwrap());
    }
    let resource = json!({"resource": "foos", "responseKind": {"group": "ext.example.com", "version": "v1", "kind": "Foo"},
        "scope": "Namespaced", "singularResource": "foo", "verbs": ["get", "list"], "categories": null});
    let versions = json!([{"version": "v1", "freshness": "Current", "resources": [resource]}]);
    let items = json!([{"metadata": {"name": "ext.example.com"}, "versions": versions}]);
    let json_type = "application/json";
    Ok(match path.as_str() {
        "/apis" => reply(
            StatusCode::OK,
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            &json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": items}),
        ),
        "/apis/ext.example.com/v1" => reply(StatusCode::OK, json_type, &json!({"kind": "APIResourceList"})),
        "/openapi/v3" => reply(
            StatusCode::OK,
            json_type,
            &json!({"paths": {"apis/ext.example.com/v1": {"serverRelativeURL": "/openapi/v3/apis/ext.example.com/v1?hash=1"}}}),
        ),
        "/openapi/v2" => reply(
            StatusCode::OK,
            json_type,
            &json!({"paths": {"/apis/ext.example.com/v1/foos": {"get": {"operationId": "listFoo"}}}, "definitions": {}}),
        ),
        _ => {
            let all = |name: &str| -> Vec<String> {
                let values = request.headers().get_all(name).iter();
                values.map(|v| v.to_str().unwrap().to_owned()).collect()
            };
            let told = json!({
                "path": path, "method": request.method().as_str(), "user": all("x-remote-user"),
                "groups": all("x-remote-group"), "authorization": all("authorization"), "audit": all("audit-id").len(),
            });
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let told = json!({"told": told, "body": String::from_utf8_lossy(&body)});
            reply(StatusCode::CREATED, json_type, &told)
        }
    })
}

/// Serves [`extension`] to holders of the front-proxy certificate; gives the port and the CA that signed its certificate.
async fn start_extension(h: &Harness) -> (u16, Authority) {
    let authority = Authority::generate("ext").unwrap();
    let names = ServingNames {
        dns: vec!["ext.default.svc".to_owned()],
        ips: Vec::new(),
    };
    let identity = authority.issue(&Subject::server("ext", &names)).unwrap();
    let front = ClientCertificates::new(&[h.pki.front_proxy_authority.certificate()]).unwrap();
    let tls = TlsAcceptor::from(corten_apiserver::tls::server_config(&identity, &front).unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (tls, front) = (tls.clone(), front.clone());
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(socket).await else {
                    return;
                };
                let chain = stream
                    .get_ref()
                    .1
                    .peer_certificates()
                    .unwrap_or_default()
                    .to_vec();
                let now = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap();
                let user = front
                    .user(&chain, now.as_secs().try_into().unwrap())
                    .unwrap()
                    .unwrap();
                assert_eq!(user.username, "front-proxy-client");
                let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let served = http.serve_connection_with_upgrades(TokioIo::new(stream), service_fn(extension));
                served.await.ok();
            });
        }
    });
    (port, authority)
}

async fn register(h: &Harness, port: u16, authority: &Authority) {
    let bundle = base64::engine::general_purpose::STANDARD.encode(authority.pem());
    let spec = json!({"group": "ext.example.com", "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 10,
        "caBundle": bundle, "service": {"namespace": "default", "name": "ext", "port": 443}});
    h.post(
        SERVICES,
        json!({"metadata": {"name": "v1.ext.example.com"}, "spec": spec}),
    )
    .await
    .ok();
    let spec = json!({"ports": [{"port": 443, "name": "https"}]});
    let service = json!({"metadata": {"name": "ext"}, "spec": spec});
    h.post("/api/v1/namespaces/default/services", service).await.ok();
    let labels = json!({"kubernetes.io/service-name": "ext"});
    let slice = json!({"metadata": {"name": "ext-1", "labels": labels}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.7"]}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]});
    h.post(
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        slice,
    )
    .await
    .ok();
}

fn condition(object: &Value) -> &Value {
    &object["status"]["conditions"][0]
}

#[tokio::test]
async fn requests_reach_the_extension_server_with_the_user() {
    let h = Harness::start().await;
    let (port, authority) = start_extension(&h).await;
    register(&h, port, &authority).await;
    let available = h.until(WATCH, |o| condition(o)["status"] == "True").await;
    assert_eq!(condition(&available)["reason"], "Passed");
    assert_eq!(condition(&available)["message"], "all checks passed");
    let path = "/apis/ext.example.com/v1/namespaces/default/foos?x=1";
    let told = h.post(path, json!({"a": 1})).await;
    assert_eq!(told.code, 201);
    let told = told.json();
    assert_eq!(told["body"], "{\"a\":1}");
    let want = json!({"path": path, "method": "POST", "user": ["admin"],
        "groups": ["system:masters", "system:authenticated"], "authorization": [], "audit": 1});
    assert_eq!(told["told"], want);
    let request = h.request("GET", "/apis/ext.example.com/v1/foos?watch=1", ADMIN);
    let request = request.header("connection", "Upgrade").header("upgrade", "test");
    let answer = h.send(request.body(Full::default()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut io = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    let mut text = String::new();
    io.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "admin");
}

#[tokio::test]
async fn discovery_and_openapi_show_the_extension() {
    let h = Harness::start().await;
    let (port, authority) = start_extension(&h).await;
    register(&h, port, &authority).await;
    h.until(WATCH, |o| condition(o)["status"] == "True").await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let group = |list: &Value, of: fn(&Value) -> &Value| -> Option<Value> {
        let all = list["items"].as_array().or(list["groups"].as_array()).unwrap();
        all.iter().find(|g| of(g) == "ext.example.com").cloned()
    };
    // The condition is written first; what the server serves is read right after it.
    let found = loop {
        let all = h.get_as("/apis", accept).await.ok();
        let found = group(&all, |g| &g["metadata"]["name"]).unwrap();
        if found["versions"][0]["freshness"] == "Current" {
            break found;
        }
        tokio::task::yield_now().await;
    };
    let foos = &found["versions"][0]["resources"][0];
    assert_eq!(foos["resource"], "foos");
    // Clients take a list or nothing.
    for key in ["categories", "subresources"] {
        assert!(foos.get(key).is_none(), "{foos}");
    }
    let all = h.get("/apis").await.ok();
    let legacy = group(&all, |g| &g["name"]).unwrap();
    assert_eq!(legacy["preferredVersion"]["groupVersion"], "ext.example.com/v1");
    let last = all["groups"].as_array().unwrap().last().unwrap();
    assert_eq!(last["name"], "ext.example.com");
    assert_eq!(h.get("/apis/ext.example.com").await.ok()["kind"], "APIGroup");
    assert_eq!(
        h.get("/apis/ext.example.com/v1").await.ok()["kind"],
        "APIResourceList"
    );
    let v2 = loop {
        let v2 = h.get("/openapi/v2").await.ok();
        if v2["paths"].get("/apis/ext.example.com/v1/foos").is_some() {
            break v2;
        }
        tokio::task::yield_now().await;
    };
    assert!(v2["definitions"].get("io.k8s.api.apps.v1.Deployment").is_some());
    custom_kinds_are_beside_it(&h).await;
    let v3 = h.get("/openapi/v3").await.ok();
    assert!(v3["paths"].get("apis/ext.example.com/v1").is_some());
    h.delete(&format!("{SERVICES}/v1.ext.example.com")).await.ok();
    h.until(WATCH.split("&field").next().unwrap(), |o| {
        o["metadata"]["name"] == "v1."
    })
    .await;
    loop {
        if group(&h.get("/apis").await.ok(), |g| &g["name"]).is_none() {
            break;
        }
        tokio::task::yield_now().await;
    }
}

/// A definition comes and goes while a remote server is there: the document has both, then the remote part again.
async fn custom_kinds_are_beside_it(h: &Harness) {
    let version = json!({"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "string"}}}}});
    let spec = json!({"group": "own.example.com", "scope": "Namespaced", "versions": [version],
        "names": {"plural": "bars", "singular": "bar", "kind": "Bar", "listKind": "BarList"}});
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    h.post(
        definitions,
        json!({"metadata": {"name": "bars.own.example.com"}, "spec": spec}),
    )
    .await
    .ok();
    let (remote, own) = (
        "/apis/ext.example.com/v1/foos",
        "/apis/own.example.com/v1/namespaces/{namespace}/bars",
    );
    let both = loop {
        let v2 = h.get("/openapi/v2").await.ok();
        if v2["paths"].get(own).is_some() {
            break v2;
        }
        tokio::task::yield_now().await;
    };
    assert!(both["paths"].get(remote).is_some());
    assert!(both["definitions"].get("com.example.own.v1.Bar").is_some());
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let body = h.get_as("/openapi/v2", protobuf).await.body;
    let has = |text: &str| body.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(has(remote) && has(own));
    h.delete(&format!("{definitions}/bars.own.example.com"))
        .await
        .ok();
    loop {
        let v2 = h.get("/openapi/v2").await.ok();
        assert!(v2["paths"].get(remote).is_some());
        if v2["paths"].get(own).is_none() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_missing_is_said_in_the_condition() {
    let h = Harness::start().await;
    let spec = json!({"group": "ext.example.com", "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 10,
        "insecureSkipTLSVerify": true, "service": {"namespace": "default", "name": "ext", "port": 443}});
    h.post(
        SERVICES,
        json!({"metadata": {"name": "v1.ext.example.com"}, "spec": spec}),
    )
    .await
    .ok();
    let missing = h
        .until(WATCH, |o| condition(o)["reason"] == "ServiceNotFound")
        .await;
    assert_eq!(
        condition(&missing)["message"],
        "service/ext in \"default\" is not present"
    );
    let answer = h.get("/apis/ext.example.com/v1/foos").await;
    assert_eq!(
        (answer.code, answer.text().as_str()),
        (503, "service unavailable\n")
    );
    let spec = json!({"ports": [{"port": 443, "name": "https"}]});
    let service = json!({"metadata": {"name": "ext"}, "spec": spec});
    h.post("/api/v1/namespaces/default/services", service).await.ok();
    h.until(WATCH, |o| condition(o)["reason"] == "EndpointsNotFound")
        .await;
}

#[tokio::test]
async fn custom_resources_get_an_api_service() {
    let h = Harness::start().await;
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    let versions = json!([{"name": "v1", "served": true, "storage": true, "schema": schema}]);
    let names = json!({"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"});
    let spec =
        json!({"group": "crd.example.com", "scope": "Namespaced", "names": names, "versions": versions});
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    h.post(
        crds,
        json!({"metadata": {"name": "foos.crd.example.com"}, "spec": spec}),
    )
    .await
    .ok();
    let watch = format!("{SERVICES}?watch=1&fieldSelector=metadata.name%3Dv1.crd.example.com");
    let made = h.until(&watch, |o| condition(o)["reason"] == "Local").await;
    assert_eq!(made["spec"]["groupPriorityMinimum"], 1000);
    assert_eq!(
        made["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"],
        "true"
    );
}

#[tokio::test]
async fn a_front_proxy_speaks_for_its_users_and_nobody_else_does() {
    let h = Harness::start().await;
    let ask = |user: &str| {
        let b = h.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "");
        let b = b
            .header("x-remote-user", user)
            .header("x-remote-group", "system:masters");
        b.header("content-type", "application/json")
            .body(Full::from("{}"))
            .unwrap()
    };
    let answer = h
        .send_over(h.with_certificate(&h.pki.front_proxy_client), ask("ann"))
        .await;
    assert_eq!(answer.status(), 201);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(review["status"]["userInfo"]["username"], "ann");
    let groups = json!(["system:masters", "system:authenticated"]);
    assert_eq!(review["status"]["userInfo"]["groups"], groups);
    let answer = h
        .send_over(h.with_certificate(&h.pki.scheduler), ask("ann"))
        .await;
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(review["status"]["userInfo"]["username"], "system:kube-scheduler");
    let answer = h
        .send_over(
            h.with_certificate(&h.pki.front_proxy_client),
            h.request("GET", "/api/v1/pods", "")
                .body(Full::default())
                .unwrap(),
        )
        .await;
    assert_eq!(answer.status(), 401);
}
