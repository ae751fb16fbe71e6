//! What is passed on to kubelets and pods: logs, streams, proxying. The backends are small servers in the test.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use corten_auth::authn::ClientCertificates;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::{ADMIN, Harness};

/// Answers with the path; where asked to switch protocols, greets with the path and echoes.
async fn backend(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.uri().path_and_query().unwrap().to_string();
    let told = request.headers().contains_key("authorization");
    if !request.headers().contains_key("upgrade") {
        return Ok(Response::new(Full::from(format!(
            "{} {target} {told}\n",
            request.method()
        ))));
    }
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgraded.await.unwrap());
        io.write_all(target.as_bytes()).await.unwrap();
        let mut four = [0; 4];
        io.read_exact(&mut four).await.unwrap();
        io.write_all(&four).await.unwrap();
    });
    let answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("upgrade", "SPDY/3.1");
    Ok(answer
        .header("connection", "Upgrade")
        .body(Full::default())
        .unwrap())
}

/// A kubelet of node `n`, which takes only the API server's certificate.
async fn kubelet(h: &Harness) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let identity = h
        .pki
        .kubelet_serving("n", &[IpAddr::V4(Ipv4Addr::LOCALHOST)])
        .unwrap();
    let clients = ClientCertificates::new(&[h.pki.authority.certificate()]).unwrap();
    let tls = TlsAcceptor::from(corten_apiserver::tls::server_config(&identity, &clients).unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(stream) = tls.accept(socket).await else {
                continue;
            };
            assert!(stream.get_ref().1.peer_certificates().is_some());
            let serve = hyper::server::conn::http1::Builder::new();
            tokio::spawn(
                serve
                    .serve_connection(TokioIo::new(stream), service_fn(backend))
                    .with_upgrades(),
            );
        }
    });
    port
}

pub async fn with_pod() -> Harness {
    let h = Harness::start().await;
    let port = kubelet(&h).await;
    h.post("/api/v1/nodes", json!({"metadata": {"name": "n"}}))
        .await
        .ok();
    let addresses = json!([{"type": "InternalIP", "address": "127.0.0.1"}]);
    let endpoint = json!({"kubeletEndpoint": {"Port": port}});
    let status = json!({"status": {"addresses": addresses, "daemonEndpoints": endpoint}});
    h.merge("/api/v1/nodes/n/status", status).await.ok();
    h.post(
        "/api/v1/namespaces/default/serviceaccounts",
        json!({"metadata": {"name": "default"}}),
    )
    .await;
    let two = json!([{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]);
    let spec = json!({"containers": two, "nodeName": "n"});
    h.post(
        "/api/v1/namespaces/default/pods",
        json!({"metadata": {"name": "p"}, "spec": spec}),
    )
    .await
    .ok();
    h
}

pub const POD: &str = "/api/v1/namespaces/default/pods/p";

#[tokio::test]
async fn logs_come_from_the_kubelet() {
    let h = with_pod().await;
    let r = h
        .get(&format!("{POD}/log?container=a&follow=true&tailLines=5"))
        .await;
    assert_eq!(
        r.text(),
        "GET /containerLogs/default/p/a?follow=true&tailLines=5 false\n"
    );
    assert_eq!(r.headers["content-type"], "text/plain");
    let r = h.get(&format!("{POD}/log")).await;
    let text = "a container name must be specified for pod p, choose one of: [a b]";
    assert_eq!((r.code, r.json()["message"].as_str()), (400, Some(text)));
    let r = h.get(&format!("{POD}/log?container=z")).await;
    assert_eq!(r.json()["message"], "container z is not valid for pod p");
}

async fn switched(h: &Harness, path: &str) -> String {
    let r = h
        .request("POST", path, ADMIN)
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1");
    let answer = h.send(r.body(Full::default()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut io = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    io.write_all(b"ping").await.unwrap();
    let mut out = String::new();
    io.read_to_string(&mut out).await.unwrap();
    out
}

#[tokio::test]
async fn streams_are_joined_with_the_kubelet() {
    let h = with_pod().await;
    let got = switched(
        &h,
        &format!("{POD}/exec?container=b&command=ls&command=-l&stdin=true&tty=true"),
    )
    .await;
    assert_eq!(got, "/exec/default/p/b?input=1&tty=1&command=ls&command=-lping");
    let got = switched(&h, &format!("{POD}/portforward?ports=80")).await;
    assert_eq!(got, "/portForward/default/p?port=80ping");
    let r = h
        .post(&format!("{POD}/exec?container=b&command=ls"), json!({}))
        .await;
    assert_eq!(
        (r.code, r.json()["message"].as_str()),
        (400, Some("Upgrade request required"))
    );
}

#[tokio::test]
async fn proxying_to_nodes_and_the_lack_of_endpoints() {
    let h = with_pod().await;
    let r = h.get("/api/v1/nodes/n/proxy/stats/summary?only=1").await;
    assert_eq!(r.text(), "GET /stats/summary?only=1 false\n");
    let r = h.get("/api/v1/nodes/n/proxy").await;
    assert_eq!(
        (r.code, r.headers["location"].to_str().unwrap()),
        (301, "/api/v1/nodes/n/proxy/")
    );
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    h.post("/api/v1/namespaces/default/services", service).await.ok();
    let missing = |name| (404, Some(format!("services \"{name}\" not found")));
    for (id, name) in [("s:80", "s"), ("none", "none")] {
        let r = h
            .get(&format!("/api/v1/namespaces/default/services/{id}/proxy/"))
            .await;
        assert_eq!(
            (r.code, r.json()["message"].as_str().map(str::to_owned)),
            missing(name)
        );
    }
    let endpoints = json!({"metadata": {"name": "s"}});
    h.post("/api/v1/namespaces/default/endpoints", endpoints)
        .await
        .ok();
    let r = h.get("/api/v1/namespaces/default/services/s:80/proxy/").await;
    assert_eq!(
        (r.code, r.json()["message"].as_str()),
        (503, Some("no endpoints available for service \"s\""))
    );
    let r = h.get(&format!("{POD}/proxy/")).await;
    assert_eq!(r.json()["message"], "address not allowed");
}

#[tokio::test]
async fn an_unreachable_kubelet_is_an_error_that_names_it() {
    let h = with_pod().await;
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let status = json!({"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": gone}}}});
    h.merge("/api/v1/nodes/n/status", status).await.ok();
    let r = h.get(&format!("{POD}/log?container=a")).await;
    let refused = format!("dial tcp 127.0.0.1:{gone}: connect: connection refused");
    let got = format!("Get \"https://127.0.0.1:{gone}/containerLogs/default/p/a\": {refused}");
    assert_eq!((r.code, r.json()["message"].as_str()), (500, Some(got.as_str())));
    let r = h.get("/api/v1/nodes/n/proxy/pods").await;
    let reached = format!("error trying to reach service: {refused}");
    assert_eq!(
        (r.code, r.json()["message"].as_str()),
        (503, Some(reached.as_str()))
    );
}

#[tokio::test]
async fn pods_are_evicted_as_budgets_allow() {
    let h = with_pod().await;
    let labels = json!({"metadata": {"labels": {"app": "x"}}});
    h.merge(POD, labels).await.ok();
    let ready = json!([{"type": "Ready", "status": "True"}]);
    h.merge(
        &format!("{POD}/status"),
        json!({"status": {"phase": "Running", "conditions": ready}}),
    )
    .await
    .ok();
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}});
    h.post(budgets, json!({"metadata": {"name": "b"}, "spec": spec}))
        .await
        .ok();
    let status = |allowed: i64| {
        json!({"status": {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 1,
            "desiredHealthy": 1, "expectedPods": 1}})
    };
    h.merge(&format!("{budgets}/b/status"), status(0)).await.ok();
    let eviction = json!({"metadata": {"name": "p", "namespace": "default"}});
    let r = h.post(&format!("{POD}/eviction"), eviction.clone()).await;
    let cause = "The disruption budget b needs 1 healthy pods and has 1 currently";
    assert_eq!(
        (r.code, r.json()["details"]["causes"][0]["message"].as_str()),
        (429, Some(cause))
    );
    h.merge(&format!("{budgets}/b/status"), status(1)).await.ok();
    let r = h.post(&format!("{POD}/eviction"), eviction).await;
    assert_eq!(
        (r.code, r.json()["status"].as_str()),
        (201, Some("Success")),
        "{}",
        r.text()
    );
    let pod = h.get(POD).await.ok();
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
    assert!(
        pod["status"]["conditions"]
            .to_string()
            .contains("EvictionByEvictionAPI")
    );
    let budget = h.get(&format!("{budgets}/b")).await.ok();
    assert_eq!(budget["status"]["disruptionsAllowed"], 0);
    assert!(budget["status"]["disruptedPods"]["p"].is_string());
    let condition = &budget["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["status"], &condition["reason"]),
        (
            &json!("DisruptionAllowed"),
            &json!("False"),
            &json!("InsufficientPods")
        )
    );
    let owners = budget["metadata"]["managedFields"].to_string();
    assert!(owners.contains("\"manager\":\"kube-apiserver\""), "{owners}");
}
