//! The audit log, as a file and as a webhook.

use std::path::Path;
use std::time::Duration;

use corten_apiserver::audit::{AuditOptions, LogOptions, Policy, WebhookOptions};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::harness::{Harness, NOBODY};
use crate::policies::{bind, policy, with};

const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: RequestResponse
  resources: [{group: '', resources: [configmaps]}]
- level: Metadata
  users: [nobody, '']
- level: Metadata
  verbs: [watch]
- level: None
";

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn options(log: Option<LogOptions>, webhook: Option<WebhookOptions>) -> Option<AuditOptions> {
    let policy = Policy::parse(POLICY.as_bytes()).unwrap();
    Some(AuditOptions { policy, log, webhook })
}

/// Reads the log until it has that many lines.
pub async fn lines(path: &Path, n: usize) -> Vec<Value> {
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.matches('\n').count() >= n {
            return text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_log_has_what_the_policy_wants() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let h = Harness::audited(options(Some(LogOptions::new(&path)), None)).await;
    let made = h
        .post(MAPS, json!({"metadata": {"name": "a"}, "data": {"k": "v"}}))
        .await;
    let event = lines(&path, 1).await.remove(0);
    assert_eq!(
        (&event["kind"], &event["apiVersion"]),
        (&json!("Event"), &json!("audit.k8s.io/v1"))
    );
    assert_eq!(
        (&event["level"], &event["stage"]),
        (&json!("RequestResponse"), &json!("ResponseComplete"))
    );
    assert_eq!(event["auditID"], made.headers["audit-id"].to_str().unwrap());
    assert_eq!(
        (&event["verb"], &event["requestURI"]),
        (&json!("create"), &json!(MAPS))
    );
    assert_eq!(event["user"]["username"], "admin");
    assert_eq!(event["sourceIPs"], json!(["127.0.0.1"]));
    let reference =
        json!({"resource": "configmaps", "namespace": "default", "name": "a", "apiVersion": "v1"});
    assert_eq!(event["objectRef"], reference);
    assert_eq!(event["responseStatus"], json!({"metadata": {}, "code": 201}));
    assert_eq!(event["requestObject"]["data"]["k"], "v");
    assert_eq!(
        event["responseObject"]["metadata"]["uid"],
        made.json()["metadata"]["uid"]
    );
    assert!(event["responseObject"]["metadata"].get("managedFields").is_none());
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "allow");
}

#[tokio::test(flavor = "multi_thread")]
async fn admission_annotates() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let h = Harness::audited(options(Some(LogOptions::new(&path)), None)).await;
    let spec = json!({
        "validations": [{"expression": "object.metadata.name != 'b'", "message": "no b"}],
        "auditAnnotations": [{"key": "size", "valueExpression": "string(object.data.size())"}],
    });
    policy(&h, "p", spec).await;
    bind(
        &h,
        "p",
        json!({"policyName": "p", "validationActions": ["Audit"]}),
    )
    .await;
    h.post(MAPS, with("a", json!({"k": "v", "l": "w"}))).await.ok();
    h.post(MAPS, with("b", json!({"k": "v"}))).await.ok();
    let events = lines(&path, 2).await;
    assert_eq!(events[0]["annotations"]["p/size"], "2");
    assert_eq!(events[1]["annotations"]["p/size"], "1");
    let key = "validation.policy.admission.k8s.io/validation_failure";
    assert!(events[0]["annotations"].get(key).is_none());
    let failures: Value = serde_json::from_str(events[1]["annotations"][key].as_str().unwrap()).unwrap();
    let wanted = json!([{"message": "no b", "policy": "p", "binding": "p", "expressionIndex": 0,
        "validationActions": ["Audit"]}]);
    assert_eq!(failures, wanted);
}

#[tokio::test]
async fn refusals_and_watches_are_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let h = Harness::audited(options(Some(LogOptions::new(&path)), None)).await;
    h.get("/api/v1/namespaces").await.ok();
    let refused = h
        .request("GET", "/api/v1/pods", NOBODY)
        .header("user-agent", "probe/1");
    h.whole(refused.body(Full::default()).unwrap()).await;
    let event = lines(&path, 1).await.remove(0);
    assert_eq!(
        (&event["level"], &event["userAgent"]),
        (&json!("Metadata"), &json!("probe/1"))
    );
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(
        (
            &event["responseStatus"]["code"],
            &event["responseStatus"]["reason"]
        ),
        (&json!(403), &json!("Forbidden"))
    );
    assert!(event.get("responseObject").is_none());

    h.whole(
        h.request("GET", "/api/v1/pods", "wrong")
            .body(Full::default())
            .unwrap(),
    )
    .await;
    let event = lines(&path, 2).await.remove(1);
    let status = json!({"metadata": {}, "message": "Authentication failed, attempted: bearer", "code": 401});
    assert_eq!(
        (&event["responseStatus"], &event["stage"]),
        (&status, &json!("ResponseStarted"))
    );

    h.get("/api/v1/namespaces?watch=1&timeoutSeconds=1").await;
    let events = lines(&path, 4).await;
    let stages: Vec<&Value> = events[2..].iter().map(|e| &e["stage"]).collect();
    assert_eq!(stages, ["ResponseStarted", "ResponseComplete"]);
    assert!(
        h.get("/metrics")
            .await
            .text()
            .contains("apiserver_audit_event_total 4\n")
    );
}

#[tokio::test]
async fn a_webhook_gets_batches() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut got) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let sender = sender.clone();
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let sender = sender.clone();
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    sender
                        .send(serde_json::from_slice::<Value>(&body).unwrap())
                        .unwrap();
                    Ok::<_, std::convert::Infallible>(http::Response::new(Full::<bytes::Bytes>::default()))
                }
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(socket), service));
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    let cluster = json!({"name": "c", "cluster": {"server": format!("http://{address}/events")}});
    let context = json!({"name": "x", "context": {"cluster": "c", "user": "u"}});
    let text = json!({"current-context": "x", "clusters": [cluster], "contexts": [context]});
    std::fs::write(&config, text.to_string()).unwrap();
    let webhook = WebhookOptions {
        max_wait: Duration::from_millis(10),
        ..WebhookOptions::new(&config)
    };
    let h = Harness::audited(options(None, Some(webhook))).await;
    h.post(MAPS, json!({"metadata": {"name": "a"}})).await.ok();
    let list = got.recv().await.unwrap();
    assert_eq!(
        (&list["kind"], &list["items"][0]["objectRef"]["name"]),
        (&json!("EventList"), &json!("a"))
    );
}
