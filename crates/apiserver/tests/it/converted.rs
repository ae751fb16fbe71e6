//! What a webhook converts: asked for once for all who watch and read, and sent as it is converted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use corten_auth::{UserInfo, groups};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::Service;

use crate::conversion::{convert, second_version};
use crate::custom::{CRDS, WIDGETS, crd, define, refused, version, widget};
use crate::harness::{ADMIN, Harness};
use crate::hook_server::{Hook, Reply};
use crate::selectable::Watch;

const SECOND: &str = "/apis/example.com/v2/namespaces/default/widgets";

async fn with_widgets(hook: &Hook) -> Harness {
    let h = Harness::start().await;
    let mut definition = crd("widgets", "Widget", vec![version("v1", true), second_version()]);
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": hook.client_config("/convert"),
    }});
    define(&h, definition).await;
    h
}

/// Names of the objects of each review.
fn reviews(hook: &Hook) -> Vec<Vec<String>> {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    let names = |review: Value| review["objects"].as_array().unwrap().iter().map(name).collect();
    hook.requests().into_iter().map(names).collect()
}

fn sent(hook: &Hook) -> usize {
    reviews(hook).iter().map(Vec::len).sum()
}

/// An answer that is made as its frames are asked for: there is no socket between.
async fn in_process(h: &Harness, request: Request<Full<Bytes>>) -> Response<corten_apiserver::Body> {
    let mut service = h.server.in_process(UserInfo::new("admin", [groups::MASTERS]));
    service.call(request).await.unwrap()
}

async fn list(h: &Harness, path: &str, accept: &str) -> Response<corten_apiserver::Body> {
    let request = Request::get(path).header("accept", accept);
    let answer = in_process(h, request.body(Full::default()).unwrap()).await;
    assert_eq!(answer.status(), 200);
    answer
}

async fn make(h: &Harness, count: usize) {
    let create = async |i: usize| {
        let object = widget(&format!("w{i:05}"), json!({"size": i % 9 + 1}));
        let request = Request::post(WIDGETS).header("content-type", "application/json");
        let request = request.body(Full::from(object.to_string())).unwrap();
        assert_eq!(in_process(h, request).await.status(), 201);
    };
    let all: Vec<usize> = (0..count).collect();
    for some in all.chunks(64) {
        futures::future::join_all(some.iter().map(|i| create(*i))).await;
    }
}

/// The stored objects as the webhook makes them.
async fn expected(h: &Harness) -> Vec<Value> {
    let mut stored = h.get(WIDGETS).await.ok();
    let Value::Array(mut items) = stored["items"].take() else {
        panic!("a list without items")
    };
    for item in &mut items {
        item["apiVersion"] = json!("example.com/v2");
        let size = item["spec"].as_object_mut().unwrap().remove("size").unwrap();
        item["spec"]["length"] = size;
    }
    items
}

#[tokio::test]
async fn forty_watchers_ask_once() {
    let hook = Hook::start(|_, asked| convert(asked)).await;
    let h = with_widgets(&hook).await;
    let mut watches = Vec::new();
    for _ in 0..40 {
        watches.push(Watch::open(&h, SECOND, "").await);
    }
    h.post(WIDGETS, widget("a", json!({"size": 3}))).await.ok();
    h.merge(&format!("{WIDGETS}/a"), json!({"spec": {"size": 4}}))
        .await
        .ok();
    let mut last = Value::Null;
    for watch in &mut watches {
        for (kind, length) in [("ADDED", 3), ("MODIFIED", 4)] {
            let (got, object) = watch.next().await;
            assert_eq!((got.as_str(), &object["spec"]["length"]), (kind, &json!(length)));
            last = object;
        }
    }
    assert_eq!(reviews(&hook), [["a"], ["a"]], "each revision once");
    assert_eq!(h.get(SECOND).await.ok()["items"], json!([last]));
    assert_eq!(h.get(&format!("{SECOND}/a")).await.ok(), last);
    h.delete(&format!("{WIDGETS}/a")).await.ok();
    for watch in &mut watches {
        let (got, object) = watch.next().await;
        assert_eq!((got.as_str(), &object["spec"]["length"]), ("DELETED", &json!(4)));
    }
    assert_eq!(reviews(&hook).len(), 2, "reads and a deletion ask nobody");
    // A definition that has changed knows nothing of what the old one made.
    h.post(WIDGETS, widget("b", json!({"size": 1}))).await.ok();
    h.get(&format!("{SECOND}/b")).await.ok();
    let changed =
        json!({"spec": {"conversion": {"webhook": {"clientConfig": hook.client_config("/other")}}}});
    h.merge(&format!("{CRDS}/widgets.example.com"), changed)
        .await
        .ok();
    while hook.paths().last().unwrap() != "/other" {
        h.get(&format!("{SECOND}/b")).await.ok();
    }
}

#[tokio::test]
async fn a_long_list_is_sent_as_it_is_converted() {
    let hook = Hook::start(|_, asked| convert(asked)).await;
    let h = with_widgets(&hook).await;
    make(&h, 2300).await;
    let expected = expected(&h).await;
    assert_eq!((expected.len(), sent(&hook)), (2300, 0));
    let mut body = list(&h, SECOND, "application/json").await.into_body();
    assert_eq!(sent(&hook), 500, "one review before the answer begins");
    let (mut text, item) = (
        Vec::new(),
        "\"kind\":\"Widget\",\"apiVersion\":\"example.com/v2\"",
    );
    while let Some(frame) = body.frame().await {
        text.extend_from_slice(&frame.unwrap().into_data().unwrap());
        let items = String::from_utf8_lossy(&text).matches(item).count();
        assert!(sent(&hook) - items <= 500, "{items} of {} are sent", sent(&hook));
    }
    let whole: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(whole["kind"], "WidgetList");
    assert_eq!(whole["items"], json!(expected));
    let sizes: Vec<usize> = reviews(&hook).iter().map(Vec::len).collect();
    assert_eq!(sizes, [500, 500, 500, 500, 300]);

    // Every other form of it asks nobody.
    let over_tls = h.get(SECOND).await.ok();
    assert_eq!(over_tls["items"], whole["items"]);
    let request = h.request("GET", SECOND, ADMIN).header("accept-encoding", "gzip");
    let zipped = h.whole(request.body(Full::default()).unwrap()).await;
    assert_eq!(zipped.headers["content-encoding"], "gzip");
    let mut unzipped = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&zipped.body[..]), &mut unzipped).unwrap();
    assert!(unzipped == over_tls_text(&h).await);
    let table = h
        .get_as(SECOND, "application/json;as=Table;g=meta.k8s.io;v=v1")
        .await
        .ok();
    assert_eq!(table["rows"].as_array().unwrap().len(), 2300);
    let accept = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let partial = h.get_as(SECOND, accept).await;
    let (gvk, partial) = corten_schema::decode::protobuf(&partial.body).unwrap();
    assert_eq!(gvk.kind, "PartialObjectMetadataList");
    let names = |items: &Value| -> Vec<Value> {
        let items = items.as_array().unwrap().iter();
        items.map(|item| item["metadata"]["name"].clone()).collect()
    };
    assert_eq!(names(&partial["items"]), names(&whole["items"]));
    assert_eq!(sent(&hook), 2300);
}

async fn over_tls_text(h: &Harness) -> Bytes {
    h.get(SECOND).await.body
}

#[tokio::test]
async fn a_failure_is_an_answer_at_first_and_cuts_the_connection_later() {
    let bad = Arc::new(AtomicUsize::new(300));
    let (refuses, failed) = (bad.clone(), |asked: &Value| {
        let response =
            json!({"uid": asked["request"]["uid"], "result": {"status": "Failed", "message": "no way"}});
        Reply::Json(
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}),
        )
    });
    let hook = Hook::start(move |_, asked| {
        let name = format!("w{:05}", refuses.load(Ordering::Relaxed));
        let mut objects = asked["request"]["objects"].as_array().unwrap().iter();
        if objects.any(|object| object["metadata"]["name"] == name) {
            return failed(asked);
        }
        convert(asked)
    })
    .await;
    let h = with_widgets(&hook).await;
    make(&h, 1200).await;
    let text = "conversion webhook for example.com/v1, Kind=Widget failed: no way";
    refused(&h.get(SECOND).await, 500, text);
    bad.store(700, Ordering::Relaxed);
    for encoding in ["identity", "gzip"] {
        let request = h
            .request("GET", SECOND, ADMIN)
            .header("accept-encoding", encoding);
        let answer = h.send(request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status(), 200);
        assert!(
            answer.into_body().collect().await.is_err(),
            "{encoding}: the connection is cut"
        );
    }
    bad.store(usize::MAX, Ordering::Relaxed);
    assert_eq!(h.get(SECOND).await.ok()["items"].as_array().unwrap().len(), 1200);
}
