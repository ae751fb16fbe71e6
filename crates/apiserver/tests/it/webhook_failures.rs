//! Admission webhooks that cannot be reached, answer late, or answer nonsense.

use serde_json::{Value, json};

use crate::harness::Harness;
use crate::hook_server::{Hook, Reply, allow};
use crate::webhooks::{configure, map};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const V: &str = "ValidatingWebhookConfiguration";
const M: &str = "MutatingWebhookConfiguration";

fn failing(reason: &str) -> String {
    format!("Internal error occurred: failed calling webhook \"x.example.com\": {reason}")
}

/// What the client gets for a webhook that answers so.
async fn outcome(kind: &str, answer: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> (u16, String) {
    let h = Harness::start().await;
    let hook = Hook::start(move |_, asked| answer(asked)).await;
    configure(&h, kind, "x", json!([hook.webhook("x")])).await;
    let reply = h.post(MAPS, map("one")).await;
    let port = hook.address.port().to_string();
    let text = reply.json()["message"].as_str().unwrap_or_default().to_owned();
    (reply.code, text.replace(&port, "PORT"))
}

fn echoing(asked: &Value, mut response: Value) -> Reply {
    response["uid"] = asked["request"]["uid"].clone();
    Reply::Json(json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response}))
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_answers() {
    let invalid = |text: &str| {
        (
            500,
            failing(&format!("received invalid webhook response: {text}")),
        )
    };
    let got = outcome(V, |_| {
        Reply::Json(json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}))
    })
    .await;
    assert_eq!(got, invalid("webhook response was absent"));
    let got = outcome(V, |asked| {
        let uid = asked["request"]["uid"].clone();
        Reply::Json(json!({"response": {"uid": uid, "allowed": true}}))
    })
    .await;
    let wanted = "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=";
    assert_eq!(got, invalid(wanted));
    let got = outcome(V, |asked| {
        echoing(asked, json!({"allowed": true, "patch": "W10="}))
    })
    .await;
    assert_eq!(got, invalid("validating webhook may not return response.patch"));
    let got = outcome(M, |asked| {
        echoing(asked, json!({"allowed": true, "patch": "W10="}))
    })
    .await;
    assert_eq!(
        got,
        invalid("webhook returned response.patch but not response.patchType")
    );
    let got = outcome(M, |asked| {
        echoing(asked, json!({"allowed": true, "patchType": "JSONPatch"}))
    })
    .await;
    assert_eq!(
        got,
        invalid("webhook returned response.patchType but not response.patch")
    );
    let (code, text) = outcome(V, |_| {
        Reply::Json(json!({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": {"uid": "other", "allowed": true},
        }))
    })
    .await;
    assert_eq!(code, 500);
    assert!(
        text.starts_with(&failing(
            "received invalid webhook response: expected response.uid=\""
        )),
        "{text}"
    );
    assert!(text.ends_with("\", got \"other\""), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_failures() {
    let got = outcome(V, |_| Reply::Text(500, "boom")).await;
    let wanted =
        "failed to call webhook: an error on the server (\"boom\") has prevented the request from succeeding";
    assert_eq!(got, (500, failing(wanted)));
    let got = outcome(M, |_| Reply::Text(404, "nothing here")).await;
    let wanted = "failed to call webhook: the server could not find the requested resource";
    assert_eq!(got, (500, failing(wanted)));
    let (code, text) = outcome(M, |_| Reply::Text(200, "not json")).await;
    assert_eq!(code, 500);
    let wanted = failing("failed to call webhook: couldn't get version/kind; json parse error: ");
    assert!(text.starts_with(&wanted), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn late_unreachable_and_untrusted() {
    let h = Harness::start().await;
    let hook = Hook::start(|path, asked| {
        if path.starts_with("/late") {
            return Reply::Never;
        }
        allow(asked)
    })
    .await;
    let mut late = hook.webhook("late");
    late["timeoutSeconds"] = json!(1);
    late["name"] = json!("x.example.com");
    configure(&h, V, "x", json!([late])).await;
    let reply = h.post(MAPS, map("one")).await;
    let url = |path: &str, seconds: u32| format!("https://{}/{path}?timeout={seconds}s", hook.address);
    let post = |url: String, why: &str| failing(&format!("failed to call webhook: Post {url:?}: {why}"));
    assert_eq!(
        reply.json()["message"],
        post(url("late", 1), "context deadline exceeded")
    );
    let at = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/x";
    let mut refused = hook.webhook("x");
    refused["clientConfig"]["url"] = json!("https://127.0.0.1:1/x");
    h.merge(at, json!({"webhooks": [refused]})).await.ok();
    h.get(at).await.ok();
    let reply = h.post(MAPS, map("one")).await;
    assert_eq!(
        reply.json()["message"],
        post(
            "https://127.0.0.1:1/x?timeout=10s".to_owned(),
            "dial tcp 127.0.0.1:1: connect: connection refused"
        )
    );
    let stranger = Hook::start(|_, asked| allow(asked)).await;
    let mut untrusted = hook.webhook("x");
    untrusted["clientConfig"]["caBundle"] = json!(stranger.ca);
    h.merge(at, json!({"webhooks": [untrusted]})).await.ok();
    h.get(at).await.ok();
    let reply = h.post(MAPS, map("one")).await;
    let why = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert_eq!(reply.json()["message"], post(url("x", 10), why));
    // All of it is forgiven where the configuration says so.
    untrusted["failurePolicy"] = json!("Ignore");
    h.merge(at, json!({"webhooks": [untrusted]})).await.ok();
    h.get(at).await.ok();
    h.post(MAPS, map("one")).await.ok();
    assert!(hook.paths().iter().all(|path| path == "/late"));
}

#[tokio::test(flavor = "multi_thread")]
async fn mutating_failures_are_forgiven_one_by_one() {
    let h = Harness::start().await;
    let hook = Hook::start(|path, asked| match path {
        path if path.starts_with("/bad") => Reply::Text(503, ""),
        _ => crate::hook_server::patch(asked, &json!([{"op": "add", "path": "/data/b", "value": "2"}])),
    })
    .await;
    let mut bad = hook.webhook("bad");
    bad["failurePolicy"] = json!("Ignore");
    configure(&h, M, "m", json!([bad, hook.webhook("good")])).await;
    let made = h.post(MAPS, map("one")).await.ok();
    assert_eq!(made["data"], json!({"a": "1", "b": "2"}));
}
