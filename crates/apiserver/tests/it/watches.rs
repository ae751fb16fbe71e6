//! Watch streams.

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Harness};

const MAPS: &str = "/api/v1/namespaces/kube-public/configmaps";

/// Lines of a JSON watch.
struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    async fn open(h: &Harness, query: &str) -> Self {
        let r = h
            .request("GET", &format!("{MAPS}?watch=1&{query}"), ADMIN)
            .body(Full::default())
            .unwrap();
        let answer = h.send(r).await;
        assert_eq!(answer.status(), 200);
        Self {
            body: answer.into_body(),
            buffer: Vec::new(),
        }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.extend_from_slice(frame.data_ref()?);
        }
    }

    async fn take(&mut self, n: usize) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for _ in 0..n {
            let e = self.next().await.unwrap();
            let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
            out.push((text(&e["type"]), text(&e["object"]["metadata"]["name"])));
        }
        out
    }
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[tokio::test]
async fn events_follow_the_list() {
    let h = Harness::start().await;
    h.post(MAPS, json!({"metadata": {"name": "a"}})).await.ok();
    let version = h.get(MAPS).await.ok()["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut w = Lines::open(&h, &format!("resourceVersion={version}")).await;
    h.post(
        MAPS,
        json!({"metadata": {"name": "b"}, "data": {"big": "x".repeat(10_000)}}),
    )
    .await
    .ok();
    h.merge(&format!("{MAPS}/a"), json!({"data": {"k": "v"}}))
        .await
        .ok();
    h.delete(&format!("{MAPS}/b")).await.ok();
    assert_eq!(
        w.take(3).await,
        pairs(&[("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")])
    );
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let h = Harness::start().await;
    h.post(MAPS, json!({"metadata": {"name": "a"}})).await.ok();
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut w = Lines::open(&h, query).await;
    assert_eq!(w.next().await.unwrap()["object"]["metadata"]["name"], "a");
    let mark = w.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(
        mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(mark["object"]["kind"], "ConfigMap");
}

#[tokio::test]
async fn a_watch_ends_at_its_time() {
    let h = Harness::start().await;
    let mut w = Lines::open(&h, "timeoutSeconds=1").await;
    assert!(w.next().await.is_none());
}

#[tokio::test]
async fn protobuf_frames() {
    let h = Harness::start().await;
    h.post(MAPS, json!({"metadata": {"name": "a"}})).await.ok();
    let r = h.request("GET", &format!("{MAPS}?watch=1&timeoutSeconds=1"), ADMIN);
    let r = r
        .header("accept", "application/vnd.kubernetes.protobuf")
        .body(Full::default())
        .unwrap();
    let reply = h.whole(r).await;
    assert_eq!(
        reply.headers["content-type"],
        "application/vnd.kubernetes.protobuf;stream=watch"
    );
    let len = u32::from_be_bytes(reply.body[..4].try_into().unwrap()) as usize;
    assert_eq!(
        (&reply.body[4..11], len),
        (&b"\x0a\x05ADDED"[..], reply.body.len() - 4)
    );
    assert!(reply.body.windows(4).any(|w| w == b"k8s\0"));
}
