use corten_client::fake::Fake;
use corten_client::fake::TokioClock;
use corten_client::{CancellationToken, Factory};
use corten_scheduler::{Config, run};
use serde_json::json;

fn node(name: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"}}})
}

fn pod(name: &str, spec: serde_json::Value) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": name}, "spec": spec})
}

fn start(fake: &Fake) -> CancellationToken {
    let stop = CancellationToken::new();
    let factory = Factory::new(fake.client(), stop.clone());
    tokio::spawn(run(factory, Config::new(TokioClock::shared()), stop.clone()));
    stop
}

#[tokio::test(start_paused = true)]
async fn pods_are_bound_and_refusals_written() {
    let fake = Fake::default();
    fake.put("nodes", node("n1"));
    let stop = start(&fake);
    fake.put("pods", pod("web", json!({"containers": [{"name": "c"}]})));
    fake.put(
        "pods",
        pod(
            "picky",
            json!({"containers": [{"name": "c"}], "nodeSelector": {"no": "such"}}),
        ),
    );
    fake.put(
        "pods",
        pod(
            "other",
            json!({"containers": [{"name": "c"}], "schedulerName": "mine"}),
        ),
    );
    fake.until("bound", |f| {
        f.get("pods", "a", "web").unwrap()["spec"]["nodeName"] == "n1"
    })
    .await;
    fake.until("events", |f| f.list("events").len() == 2).await;
    let mut events: Vec<_> = fake
        .list("events")
        .iter()
        .map(|e| {
            format!(
                "{} {} {} {}",
                e["involvedObject"]["name"], e["type"], e["reason"], e["message"]
            )
        })
        .collect();
    events.sort();
    expect_test::expect![[r#"
        "picky" "Warning" "FailedScheduling" "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        "web" "Normal" "Scheduled" "Successfully assigned a/web to n1""#]]
    .assert_eq(&events.join("\n"));
    let picky = fake.get("pods", "a", "picky").unwrap();
    assert_eq!(picky["status"]["conditions"][0]["reason"], "Unschedulable");
    assert!(fake.get("pods", "a", "other").unwrap()["spec"]["nodeName"].is_null());
    // A node that fits appears: the pod is not left waiting.
    let mut better = node("n2");
    better["metadata"]["labels"] = json!({"no": "such"});
    fake.put("nodes", better);
    fake.until("bound", |f| {
        f.get("pods", "a", "picky").unwrap()["spec"]["nodeName"] == "n2"
    })
    .await;
    stop.cancel();
}

#[tokio::test]
async fn a_pod_is_bound_within_a_millisecond() {
    let fake = Fake::default();
    fake.put("nodes", node("n1"));
    let stop = start(&fake);
    fake.put("pods", pod("warm", json!({"containers": [{"name": "c"}]})));
    fake.until("bound", |f| {
        f.get("pods", "a", "warm").unwrap()["spec"]["nodeName"] == "n1"
    })
    .await;
    let mut best = std::time::Duration::MAX;
    for i in 0..10 {
        let name = format!("p{i}");
        let start = std::time::Instant::now();
        fake.put("pods", pod(&name, json!({"containers": [{"name": "c"}]})));
        while fake.get("pods", "a", &name).unwrap()["spec"]["nodeName"].is_null() {
            tokio::task::yield_now().await;
        }
        best = best.min(start.elapsed());
    }
    assert!(best.as_micros() < 2000, "{best:?}");
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_fits_nowhere_is_not_looked_at_again_until_something_changes() {
    let fake = Fake::default();
    fake.put("nodes", node("n1"));
    let stop = start(&fake);
    let spec = json!({"containers": [{"name": "c"}], "nodeSelector": {"no": "such"}});
    fake.put("pods", pod("picky", spec));
    fake.until("refused", |f| f.list("events").len() == 1).await;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert!(!fake.take_requests().is_empty());
    tokio::time::sleep(std::time::Duration::from_secs(12 * 3600)).await;
    assert_eq!(fake.take_requests(), Vec::<String>::new());
    fake.edit("nodes", "", "n1", |n| {
        n["metadata"]["labels"] = json!({"no": "such"})
    });
    fake.until("bound", |f| {
        f.get("pods", "a", "picky").unwrap()["spec"]["nodeName"] == "n1"
    })
    .await;
    stop.cancel();
}
