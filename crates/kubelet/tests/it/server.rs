//! The kubelet's own server, over TLS.

use crate::cluster::Cluster;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

async fn connect(c: &Cluster) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(c.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(c.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap()
}

async fn get(c: &Cluster, path: &str, token: &str) -> (StatusCode, hyper::body::Incoming) {
    let stream = connect(c).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut request = Request::get(path).header("host", "localhost");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let response = sender
        .send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap())
        .await
        .unwrap();
    (response.status(), response.into_body())
}

async fn read(c: &Cluster, path: &str, token: &str) -> (u16, String) {
    let (status, body) = get(c, path, token).await;
    let body = body.collect().await.unwrap().to_bytes();
    (status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn nobody_gets_in_unasked() {
    let c = Cluster::start().await;
    assert_eq!(read(&c, "/healthz", "").await, (401, "Unauthorized".into()));
    let (status, text) = read(&c, "/pods", "guest").await;
    let expected = "Forbidden (user=guest, verb=get, resource=nodes, subresource(s)=[pods proxy])";
    assert_eq!((status, text.as_str()), (403, expected));
    assert_eq!(read(&c, "/healthz", "admin").await, (200, "ok".into()));
    assert_eq!(read(&c, "/nope", "admin").await.0, 404);
}

#[tokio::test]
async fn logs_from_the_end_and_as_they_come() {
    let c = Cluster::start().await;
    c.create("web", json!({"containers": [{"name": "main"}]}));
    c.until("web runs", |c| c.ready("web")).await;
    let pod = c.pod("web").unwrap();
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let path = c.dir.path().join(format!("logs/default_web_{uid}/main/0.log"));
    let add = |text: &str| {
        let mut f = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        writeln!(f, "2026-01-01T00:00:01Z stdout F {text}").unwrap();
    };
    add("one");
    add("two");
    assert_eq!(
        read(&c, "/containerLogs/default/web/main", "admin").await,
        (200, "one\ntwo\n".into())
    );
    let tail = "/containerLogs/default/web/main?tailLines=1&timestamps=true";
    assert_eq!(read(&c, tail, "admin").await.1, "2026-01-01T00:00:01Z two\n");
    let previous = read(&c, "/containerLogs/default/web/main?previous=true", "admin").await;
    assert_eq!(
        previous,
        (
            400,
            "previous terminated container \"main\" in pod \"web\" not found".into()
        )
    );
    assert_eq!(read(&c, "/containerLogs/default/none/main", "admin").await.0, 404);
    assert_eq!(read(&c, "/containerLogs/default/web/none", "admin").await.0, 404);
    let (_, mut body) = get(
        &c,
        "/containerLogs/default/web/main?follow=true&tailLines=1",
        "admin",
    )
    .await;
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(&frame[..], b"two\n");
    add("three");
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(&frame[..], b"three\n");
    c.runtime.exit("main", 0);
    assert!(body.frame().await.is_none(), "the log ends with its container");
}

#[tokio::test]
async fn pods_and_numbers() {
    let c = Cluster::start().await;
    c.create("web", json!({"containers": [{"name": "main"}]}));
    c.until("web runs", |c| c.ready("web")).await;
    let list: Value = serde_json::from_str(&read(&c, "/pods", "admin").await.1).unwrap();
    assert_eq!(list["items"][0]["status"]["phase"], "Running");
    let summary: Value = serde_json::from_str(&read(&c, "/stats/summary", "admin").await.1).unwrap();
    assert_eq!(summary["pods"][0]["podRef"]["name"], "web");
    let metrics = read(&c, "/metrics", "admin").await.1;
    assert!(metrics.contains("kubelet_running_pods 1\n"), "{metrics}");
    assert!(
        read(&c, "/metrics/resource", "admin")
            .await
            .1
            .contains("resource_scrape_error 0")
    );
}

#[tokio::test]
async fn what_a_client_sent_before_it_went_reaches_the_process() {
    let c = Cluster::start().await;
    c.create("web", json!({"containers": [{"name": "main"}]}));
    c.until("web runs", |c| c.ready("web")).await;
    let mut client = connect(&c).await;
    let head = "POST /exec/default/web/main?command=tar&input=1 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer admin\r\n\
        connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
        sec-websocket-protocol: v5.channel.k8s.io\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    // One binary message, masked with zeros: channel 0, then a thousand bytes.
    let text = "x".repeat(1000);
    let mut message = vec![0x82, 0x80 | 126, 0x03, 0xe9, 0, 0, 0, 0, 0];
    message.extend(text.as_bytes());
    client.write_all(&message).await.unwrap();
    client.shutdown().await.unwrap();
    drop(client);
    let got = format!("stdin {text}");
    c.until("all input arrives", |c| c.runtime.calls().contains(&got))
        .await;
}
