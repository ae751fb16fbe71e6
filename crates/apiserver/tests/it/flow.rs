//! API priority and fairness.

use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::harness::{ADMIN, Harness, NOBODY};

const FLOW: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";

/// A level with one seat, for the user `nobody`, who may do everything.
async fn one_seat(h: &Harness) {
    let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"});
    let role =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
    let binding = json!({"metadata": {"name": "nobody"}, "subjects": [subject], "roleRef": role});
    h.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        .await
        .ok();
    let limited = json!({"nominalConcurrencyShares": 0, "limitResponse": {"type": "Reject"}});
    let level = json!({"metadata": {"name": "tiny"}, "spec": {"type": "Limited", "limited": limited}});
    h.post(&format!("{FLOW}/prioritylevelconfigurations"), level)
        .await
        .ok();
    let rule = json!({"subjects": [{"kind": "User", "user": {"name": "nobody"}}],
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]});
    let spec =
        json!({"matchingPrecedence": 2, "priorityLevelConfiguration": {"name": "tiny"}, "rules": [rule]});
    let schema = json!({"metadata": {"name": "tiny"}, "spec": spec});
    h.post(&format!("{FLOW}/flowschemas"), schema).await.ok();
    let watch = format!("{FLOW}/flowschemas?watch=1&fieldSelector=metadata.name%3Dtiny");
    // The condition is written after the schema has been put to work.
    h.until(&watch, |o| dangling(o)["status"] == "False").await;
}

fn dangling(schema: &Value) -> &Value {
    &schema["status"]["conditions"][0]
}

async fn executing(h: &Harness) -> bool {
    let line =
        "apiserver_flowcontrol_current_executing_requests{flow_schema=\"tiny\",priority_level=\"tiny\"} 1";
    h.get("/metrics").await.text().contains(line)
}

#[tokio::test]
async fn requests_over_the_limit_are_turned_away() {
    let h = Harness::start().await;
    one_seat(&h).await;
    let mut slow = h.connect().await;
    let head = format!(
        "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {NOBODY}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    while !executing(&h).await {
        tokio::task::yield_now().await;
    }
    let ask = || h.request("GET", "/api/v1/namespaces/default", NOBODY);
    let refused = h.whole(ask().body(Full::default()).unwrap()).await;
    assert_eq!(refused.code, 429);
    assert_eq!(refused.text(), "Too many requests, please try again later.\n");
    assert_eq!(refused.headers["retry-after"], "1");
    let level = h
        .get(&format!("{FLOW}/prioritylevelconfigurations/tiny"))
        .await
        .ok();
    let uid = level["metadata"]["uid"].as_str().unwrap();
    assert_eq!(refused.headers["x-kubernetes-pf-prioritylevel-uid"], uid);
    let text = "apiserver_flowcontrol_rejected_requests_total{flow_schema=\"tiny\",priority_level=\"tiny\",\
                reason=\"concurrency-limit\"} 1";
    assert!(h.get("/metrics").await.text().contains(text));
    drop(slow);
    while executing(&h).await {
        tokio::task::yield_now().await;
    }
    assert_eq!(h.whole(ask().body(Full::default()).unwrap()).await.code, 200);
}

#[tokio::test]
async fn answers_name_their_flow_and_defaults_come_back() {
    let h = Harness::start().await;
    let exempt = h.get(&format!("{FLOW}/flowschemas/exempt")).await;
    let uid = exempt.headers["x-kubernetes-pf-flowschema-uid"].clone();
    assert_eq!(exempt.ok()["metadata"]["uid"], uid.to_str().unwrap());
    let other = h
        .request("GET", "/api/v1/pods", NOBODY)
        .body(Full::default())
        .unwrap();
    let other = h.whole(other).await;
    assert_eq!(other.code, 403);
    assert_ne!(other.headers["x-kubernetes-pf-flowschema-uid"], uid);
    let exec = "/api/v1/namespaces/default/pods/p/exec";
    let exec = h.request("POST", exec, ADMIN).body(Full::default()).unwrap();
    assert!(
        !h.whole(exec)
            .await
            .headers
            .contains_key("x-kubernetes-pf-flowschema-uid")
    );
    let before = h.get(&format!("{FLOW}/flowschemas/probes")).await.ok();
    h.delete(&format!("{FLOW}/flowschemas/probes")).await.ok();
    let watch = format!("{FLOW}/flowschemas?watch=1&fieldSelector=metadata.name%3Dprobes");
    let after = h
        .until(&watch, |o| o["metadata"]["uid"] != before["metadata"]["uid"])
        .await;
    assert_eq!(after["spec"], before["spec"]);
}

#[tokio::test]
async fn a_schema_without_its_level_says_so() {
    let h = Harness::start().await;
    let spec = json!({"matchingPrecedence": 5000, "priorityLevelConfiguration": {"name": "gone"}});
    let schema = json!({"metadata": {"name": "lost"}, "spec": spec});
    h.post(&format!("{FLOW}/flowschemas"), schema).await.ok();
    let watch = format!("{FLOW}/flowschemas?watch=1&fieldSelector=metadata.name%3Dlost");
    let lost = h.until(&watch, |o| dangling(o)["status"] == "True").await;
    let text = "This FlowSchema references the PriorityLevelConfiguration object named \"gone\" but there is no such object";
    assert_eq!(dangling(&lost)["message"], text);
    assert_eq!(dangling(&lost)["reason"], "NotFound");
}
