//! API priority and fairness.

use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::harness::{ADMIN, Harness, NOBODY};

const FLOW: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";

/// A level with one seat, for the user `nobody`, who may do everything.
async fn one_seat(h: &Harness) {
    one_seat_with(h, json!({"type": "Reject"})).await;
}

async fn one_seat_with(h: &Harness, response: Value) {
    let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"});
    let role =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
    let binding = json!({"metadata": {"name": "nobody"}, "subjects": [subject], "roleRef": role});
    h.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        .await
        .ok();
    let limited =
        json!({"nominalConcurrencyShares": 0, "borrowingLimitPercent": 0, "limitResponse": response});
    let level = json!({"metadata": {"name": "tiny"}, "spec": {"type": "Limited", "limited": limited}});
    h.post(&format!("{FLOW}/prioritylevelconfigurations"), level)
        .await
        .ok();
    let rule = json!({"subjects": [{"kind": "User", "user": {"name": "nobody"}}],
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]});
    let spec = json!({"matchingPrecedence": 2, "priorityLevelConfiguration": {"name": "tiny"},
        "distinguisherMethod": {"type": "ByUser"}, "rules": [rule]});
    let schema = json!({"metadata": {"name": "tiny"}, "spec": spec});
    h.post(&format!("{FLOW}/flowschemas"), schema).await.ok();
    let watch = format!("{FLOW}/flowschemas?watch=1&fieldSelector=metadata.name%3Dtiny");
    // The condition is written after the schema has been put to work.
    h.until(&watch, |o| dangling(o)["status"] == "False").await;
}

/// Begins a write whose body does not come, so that it keeps what it has.
async fn begin(h: &Harness) -> impl Sized {
    let mut slow = h.connect().await;
    let head = format!(
        "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {NOBODY}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    slow
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
    let slow = begin(&h).await;
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

/// The cells of a debug page's rows about the level, without the commas and its name.
async fn rows(h: &Harness, page: &str) -> Vec<Vec<String>> {
    let page = h.get(&format!("{DEBUG}/{page}")).await;
    assert_eq!(page.code, 200);
    assert_eq!(page.headers["content-type"], "text/plain; charset=utf-8");
    let cells = |line: &str| {
        line.split(',')
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let text = page.text();
    let rows = text.lines().map(cells).filter(|row| row[0] == "tiny");
    rows.map(|row| row[1..].to_vec()).collect()
}

/// Reads a page until it has one row about the level, and that is as wanted.
async fn row_like(h: &Harness, page: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
    loop {
        if let [row] = rows(h, page).await.as_slice()
            && wanted(row)
        {
            return row.clone();
        }
        tokio::task::yield_now().await;
    }
}

const DEBUG: &str = "/debug/api_priority_and_fairness";
const LEVELS: &str = "dump_priority_levels";
const REQUESTS: &str = "dump_requests?includeRequestDetails=1";

#[tokio::test]
async fn debug_pages_show_levels_queues_and_requests() {
    let h = Harness::start().await;
    for page in [LEVELS, "dump_queues", REQUESTS] {
        let refused = h.request("GET", &format!("{DEBUG}/{page}"), NOBODY);
        let refused = h.whole(refused.body(Full::default()).unwrap()).await;
        assert_eq!(refused.code, 403);
    }
    for path in [DEBUG, "/debug/api_priority_and_fairness/dump_queues/"] {
        assert_eq!(h.get(path).await.code, 404);
    }
    assert!(!h.get("/").await.text().contains("/debug"));
    let queuing = json!({"queues": 4, "handSize": 1, "queueLengthLimit": 5});
    one_seat_with(&h, json!({"type": "Queue", "queuing": queuing})).await;
    assert_eq!(
        rows(&h, LEVELS).await[0],
        ["0", "true", "false", "0", "0", "0", "0", "0", "0"]
    );

    // It finds its seat at once, and is listed nevertheless: somebody reads the pages.
    let first = begin(&h).await;
    row_like(&h, LEVELS, |row| row[4] == "1").await;
    let second = begin(&h).await;
    let level = row_like(&h, LEVELS, |row| row[3] == "1").await;
    assert_eq!(level, ["1", "false", "false", "1", "1", "1", "0", "0", "0"]);
    let all = rows(&h, REQUESTS).await;
    assert_eq!(all.len(), 2, "{all:?}");
    let (waiting, executing) = (&all[0], &all[1]);
    assert_eq!(
        (&*waiting[0], &*waiting[2], &*waiting[3]),
        ("tiny", "0", "nobody")
    );
    assert_eq!(waiting[5..9], ["1", "0", "0s", "0001-01-01T00:00:00Z"]);
    let path = "/api/v1/namespaces/default/configmaps";
    assert_eq!(
        waiting[9..],
        ["nobody", "create", path, "default", "", "v1", "configmaps", ""]
    );
    assert_eq!(executing[1..3], ["-1", "-1"]);
    assert_eq!(executing[4], executing[8]);
    let queue = &rows(&h, "dump_queues").await[waiting[1].parse::<usize>().unwrap()];
    assert_eq!(queue[..4], [&*waiting[1], "1", "0", "0"]);
    assert_eq!(queue[4..], ["0.00000000ss", "1", "1", "0.00300000ss"]);

    drop(first);
    let executing = row_like(&h, REQUESTS, |row| row[2] == "-1" && row[1] != "-1").await;
    assert_eq!((&executing[1], &executing[4]), (&waiting[1], &waiting[4]));
    let at = |cell: &String| cell.parse::<jiff::Timestamp>().unwrap();
    assert!(at(&executing[8]) >= at(&executing[4]));
    assert_eq!(executing[9..], waiting[9..]);
    let queue = &rows(&h, "dump_queues").await[executing[1].parse::<usize>().unwrap()];
    let wanted = ["0", "1", "1", "0.00300000ss", "0", "0", "0.00000000ss"];
    assert_eq!(queue[1..], wanted);
    drop(second);
    let level = row_like(&h, LEVELS, |row| row[1] == "true").await;
    assert_eq!(level, ["0", "true", "false", "0", "0", "2", "0", "0", "0"]);
    assert!(rows(&h, REQUESTS).await.is_empty());
}
