use std::time::Duration;

use corten_client::fake::Fake;
use serde_json::{Value, json};

use crate::cluster::{start, text};

fn node(name: &str, heartbeat: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": heartbeat}]}})
}

fn lease(name: &str, second: u32) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"namespace": "kube-node-lease", "name": name},
        "spec": {"renewTime": format!("2026-01-01T{:02}:{:02}:{:02}.000000Z", second / 3600, second / 60 % 60, second % 60)}})
}

fn taints(fake: &Fake, name: &str) -> Vec<String> {
    let node = fake.get("nodes", "", name).unwrap();
    let all = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|t| format!("{}:{}", text(&t["key"]), text(&t["effect"])))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_tainted_and_its_pods_evicted() {
    let cluster = start();
    let fake = &cluster.fake;
    for name in ["good", "bad"] {
        fake.put("nodes", node(name, "2026-01-01T00:00:00Z"));
    }
    fake.put("pods", json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "p"},
        "spec": {"nodeName": "bad", "containers": [], "tolerations": [
            {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}));
    fake.put(
        "nodes",
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "third"}, "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
    );
    let mut evicted_after = None;
    for second in 0..500 {
        fake.put("leases", lease("good", second));
        fake.put("leases", lease("third", second));
        tokio::time::sleep(Duration::from_secs(1)).await;
        if second == 45 {
            assert!(taints(fake, "bad").is_empty());
        }
        if second == 70 {
            assert_eq!(
                taints(fake, "bad"),
                [
                    "node.kubernetes.io/unreachable:NoSchedule",
                    "node.kubernetes.io/unreachable:NoExecute"
                ]
            );
            assert_eq!(
                fake.get("pods", "a", "p").unwrap()["status"]["conditions"][0]["status"],
                "False"
            );
        }
        if evicted_after.is_none()
            && !fake.get("pods", "a", "p").unwrap()["metadata"]["deletionTimestamp"].is_null()
        {
            evicted_after = Some(second);
        }
    }
    assert!((345..365).contains(&evicted_after.unwrap()), "{evicted_after:?}");
    assert!(taints(fake, "good").is_empty());
    expect_test::expect![[r#"
        Node Normal NodeNotReady: Node bad status is now: NodeNotReady
        Node Normal RegisteredNode: Node bad event: Registered Node bad in Controller
        Node Normal RegisteredNode: Node good event: Registered Node good in Controller
        Node Normal RegisteredNode: Node third event: Registered Node third in Controller
        Pod Normal TaintManagerEviction: Marking for deletion Pod a/p
        Pod Warning NodeNotReady: Node is not ready"#]]
    .assert_eq(&cluster.events());
    // It comes back: the taints go.
    fake.edit("nodes", "", "bad", |n| {
        n["status"]["conditions"][0] =
            json!({"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-02T00:00:00Z"});
    });
    cluster
        .fake
        .until("taints gone", |f| taints(f, "bad").is_empty())
        .await;
}

#[tokio::test(start_paused = true)]
async fn when_no_node_answers_nobody_is_evicted() {
    let cluster = start();
    cluster.fake.put("nodes", node("only", "2026-01-01T00:00:00Z"));
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(
        taints(&cluster.fake, "only"),
        ["node.kubernetes.io/unreachable:NoSchedule"]
    );
}

#[tokio::test(start_paused = true)]
async fn nodes_get_ranges_and_pods_of_gone_nodes_go() {
    let cluster = start();
    let fake = &cluster.fake;
    fake.put("nodes", node("n1", "2026-01-01T00:00:00Z"));
    fake.put("nodes", node("n2", "2026-01-01T00:00:00Z"));
    fake.until("ranges", |f| {
        f.list("nodes").iter().all(|n| !n["spec"]["podCIDR"].is_null())
    })
    .await;
    let mut ranges: Vec<_> = fake
        .list("nodes")
        .iter()
        .map(|n| text(&n["spec"]["podCIDRs"][0]))
        .collect();
    ranges.sort();
    assert_eq!(ranges, ["10.244.0.0/24", "10.244.1.0/24"]);
    fake.put(
        "pods",
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "p"},
        "spec": {"nodeName": "n2", "containers": []}, "status": {"phase": "Running"}}),
    );
    fake.remove("nodes", "", "n2");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(fake.get("pods", "a", "p").is_some());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(fake.get("pods", "a", "p").is_none());
}
