//! How requests end: deadlines, the server going down; and watches over WebSocket.

use bytes::Bytes;
use futures::StreamExt;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::harness::{ADMIN, Harness};
use crate::tunnels::{POD, with_pod};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The head of a create whose body of `length` bytes is still to come.
fn head(query: &str, length: usize) -> String {
    format!(
        "POST {MAPS}{query} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_504() {
    let h = Harness::start().await;
    let mut slow = h.connect().await;
    slow.write_all(head("?timeout=50ms", 10).as_bytes())
        .await
        .unwrap();
    let mut bytes = vec![0; 4096];
    let n = slow.read(&mut bytes).await.unwrap();
    let text = String::from_utf8_lossy(&bytes[..n]);
    assert!(text.starts_with("HTTP/1.1 504 "), "{text}");
    let message = "Timeout: request did not complete within requested timeout - context deadline exceeded";
    assert!(
        text.contains(message) && text.contains("\"reason\":\"Timeout\""),
        "{text}"
    );
    let wrong = h.get(&format!("{MAPS}?timeout=soon")).await;
    let message = "invalid timeout specified in the request URL - time: invalid duration \"soon\"";
    assert_eq!(
        (wrong.code, wrong.json()["message"].as_str()),
        (400, Some(message))
    );
}

#[tokio::test]
async fn going_down_ends_what_has_no_end_and_finishes_the_rest() {
    let h = with_pod().await;
    let watch = h.request("GET", &format!("{MAPS}?watch=1"), ADMIN);
    let watch = h.send(watch.body(Full::default()).unwrap()).await;
    assert_eq!(watch.status(), 200);
    let forward = h
        .request("POST", &format!("{POD}/portforward?ports=80"), ADMIN)
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1");
    let forward = h.send(forward.body(Full::default()).unwrap()).await;
    assert_eq!(forward.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut forward = TokioIo::new(hyper::upgrade::on(forward).await.unwrap());
    let mut slow = h.connect().await;
    let body = json!({"metadata": {"name": "late"}}).to_string();
    slow.write_all(head("", body.len()).as_bytes()).await.unwrap();
    // The request is under way once it has seats.
    let waiting = "apiserver_current_inflight_requests{request_kind=\"mutating\"} 1";
    while !h.get("/metrics").await.text().contains(waiting) {
        tokio::task::yield_now().await;
    }

    h.server.stop();
    watch.into_body().collect().await.unwrap();
    let mut rest = Vec::new();
    forward.read_to_end(&mut rest).await.ok();
    let ready = h.get("/readyz").await;
    assert!(
        ready.code == 500 && ready.text().contains("[-]shutdown failed"),
        "{}",
        ready.text()
    );
    assert_eq!(h.get("/livez").await.code, 200);
    slow.write_all(body.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).await.ok();
    assert!(
        answer.starts_with(b"HTTP/1.1 201 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

async fn socket(h: &Harness, accept: &str) -> WebSocketStream<TokioIo<hyper::upgrade::Upgraded>> {
    let request = h
        .request("GET", &format!("{MAPS}?watch=1"), ADMIN)
        .header("accept", accept)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let answer = h.send(request.body(Full::<Bytes>::default()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    // The example of RFC 6455, section 1.3.
    assert_eq!(
        answer.headers()["sec-websocket-accept"],
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    let io = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    WebSocketStream::from_raw_socket(io, Role::Client, None).await
}

#[tokio::test]
async fn a_watch_speaks_websocket() {
    let h = Harness::start().await;
    let mut text = socket(&h, "application/json").await;
    let mut binary = socket(&h, "application/vnd.kubernetes.protobuf").await;
    h.post(MAPS, json!({"metadata": {"name": "a"}})).await.ok();
    let Some(Ok(Message::Text(event))) = text.next().await else {
        panic!("no text message")
    };
    let event: Value = serde_json::from_str(&event).unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["metadata"]["name"]),
        (&json!("ADDED"), &json!("a"))
    );
    let Some(Ok(Message::Binary(event))) = binary.next().await else {
        panic!("no binary message")
    };
    // `WatchEvent{type = 1}`.
    assert_eq!(&event[..7], b"\x0a\x05ADDED");
    h.server.stop();
    assert!(matches!(text.next().await, Some(Ok(Message::Close(_))) | None));
}
