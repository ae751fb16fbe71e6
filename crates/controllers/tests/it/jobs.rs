use std::time::Duration;

use corten_client::fake::Fake;
use expect_test::expect;
use serde_json::{Value, json};

use crate::cluster::{Cluster, start};

fn job(extra: Value) -> Value {
    let mut spec = json!({"backoffLimit": 6, "completions": 1, "parallelism": 1, "completionMode": "NonIndexed",
        "suspend": false, "podReplacementPolicy": "TerminatingOrFailed",
        "selector": {"matchLabels": {"job": "j"}},
        "template": {"metadata": {"labels": {"job": "j"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}});
    if let (Value::Object(spec), Value::Object(extra)) = (&mut spec, extra) {
        spec.extend(extra);
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"namespace": "a", "name": "j"}, "spec": spec})
}

fn status(fake: &Fake) -> Value {
    fake.get("jobs", "a", "j").unwrap()["status"].clone()
}

fn has(fake: &Fake, kind: &str) -> bool {
    let status = status(fake);
    status["conditions"]
        .as_array()
        .is_some_and(|c| c.iter().any(|c| c["type"] == kind && c["status"] == "True"))
}

/// Ends every running pod with this exit code.
fn finish(cluster: &Cluster, code: i32) {
    for pod in cluster.fake.list("pods") {
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        if pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null() {
            cluster.fake.edit("pods", "a", &name, |p| {
                p["status"]["phase"] = json!(if code == 0 { "Succeeded" } else { "Failed" });
                p["status"]["conditions"] = json!([]);
                p["status"]["containerStatuses"] = json!([{"name": "c", "image": "i", "imageID": "", "ready": false,
                    "restartCount": 0, "state": {"terminated": {"exitCode": code}}}]);
            });
        }
    }
}

async fn run_until(cluster: &Cluster, what: &str, code: i32) {
    for _ in 0..3000 {
        if has(&cluster.fake, what) {
            return;
        }
        cluster.kubelet();
        finish(cluster, code);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not reached: {what}\n{}", status(&cluster.fake));
}

fn without_times(mut status: Value) -> String {
    for field in ["startTime", "completionTime"] {
        status.as_object_mut().unwrap().remove(field);
    }
    for condition in status["conditions"].as_array_mut().unwrap() {
        let kept = json!([condition["type"], condition["reason"]]);
        *condition = kept;
    }
    status.to_string()
}

#[tokio::test(start_paused = true)]
async fn three_completions_two_at_a_time() {
    let cluster = start();
    cluster
        .fake
        .put("jobs", job(json!({"completions": 3, "parallelism": 2})));
    run_until(&cluster, "Complete", 0).await;
    expect![[r#"{"conditions":[["SuccessCriteriaMet","CompletionsReached"],["Complete","CompletionsReached"]],"ready":0,"succeeded":3,"terminating":0,"uncountedTerminatedPods":{}}"#]]
        .assert_eq(&without_times(status(&cluster.fake)));
    assert_eq!(cluster.fake.list("pods").len(), 3);
    assert!(
        cluster
            .fake
            .list("pods")
            .iter()
            .all(|p| p["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty))
    );
    cluster
        .fake
        .until("event", |f| {
            f.list("events").iter().any(|e| e["reason"] == "Completed")
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn indexes_are_each_done_once() {
    let cluster = start();
    cluster.fake.put(
        "jobs",
        job(json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"})),
    );
    run_until(&cluster, "Complete", 0).await;
    assert_eq!(status(&cluster.fake)["completedIndexes"], "0-2");
    let mut names: Vec<_> = cluster
        .fake
        .list("pods")
        .iter()
        .map(|p| p["spec"]["hostname"].clone())
        .collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, ["j-0", "j-1", "j-2"]);
}

#[tokio::test(start_paused = true)]
async fn too_many_failures_end_it() {
    let cluster = start();
    cluster.fake.put("jobs", job(json!({"backoffLimit": 1})));
    run_until(&cluster, "Failed", 3).await;
    expect![[r#"{"conditions":[["FailureTarget","BackoffLimitExceeded"],["Failed","BackoffLimitExceeded"]],"failed":2,"ready":0,"terminating":0,"uncountedTerminatedPods":{}}"#]]
        .assert_eq(&without_times(status(&cluster.fake)));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_its_pods() {
    let cluster = start();
    cluster.fake.put("jobs", job(json!({"activeDeadlineSeconds": 3})));
    cluster.until("running", |f| status(f)["active"] == 1).await;
    cluster.until("failed", |f| has(f, "Failed")).await;
    expect![[r#"{"conditions":[["FailureTarget","DeadlineExceeded"],["Failed","DeadlineExceeded"]],"failed":1,"ready":0,"terminating":0,"uncountedTerminatedPods":{}}"#]]
        .assert_eq(&without_times(status(&cluster.fake)));
    cluster
        .fake
        .until("event", |f| {
            f.list("events").iter().any(|e| e["reason"] == "DeadlineExceeded")
        })
        .await;
    expect![[r#"
        Job Normal SuccessfulCreate: Created pod: j-*
        Job Normal SuccessfulDelete: Deleted pod: j-*
        Job Warning DeadlineExceeded: Job was active longer than specified deadline"#]]
    .assert_eq(&cluster.events());
}

#[tokio::test(start_paused = true)]
async fn a_suspended_job_waits() {
    let cluster = start();
    cluster.fake.put("jobs", job(json!({"suspend": true})));
    cluster.until("suspended", |f| has(f, "Suspended")).await;
    assert!(cluster.fake.list("pods").is_empty());
    cluster
        .fake
        .edit("jobs", "a", "j", |j| j["spec"]["suspend"] = json!(false));
    run_until(&cluster, "Complete", 0).await;
    let conditions = without_times(status(&cluster.fake));
    assert!(
        conditions.contains(r#"["Suspended","JobResumed"]"#),
        "{conditions}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rule_fails_the_whole_job() {
    let cluster = start();
    let policy = json!({"rules": [{"action": "FailJob",
        "onExitCodes": {"containerName": "c", "operator": "In", "values": [42]}}]});
    cluster.fake.put("jobs", job(json!({"podFailurePolicy": policy})));
    run_until(&cluster, "Failed", 42).await;
    assert!(without_times(status(&cluster.fake)).contains(r#"["Failed","PodFailurePolicy"]"#));
}

#[tokio::test(start_paused = true)]
async fn each_index_has_its_own_limit() {
    let cluster = start();
    let spec = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1,
        "backoffLimit": 2_147_483_647});
    cluster.fake.put("jobs", job(spec));
    run_until(&cluster, "Failed", 1).await;
    let status = status(&cluster.fake);
    assert_eq!(
        (&status["failedIndexes"], &status["failed"]),
        (&json!("0,1"), &json!(4)),
        "{status}"
    );
}

/// No pod is lost or counted twice, whatever fails in between.
#[tokio::test(start_paused = true)]
async fn counting_survives_faults() {
    for seed in 0..10_u64 {
        let mut cluster = start();
        cluster
            .fake
            .put("jobs", job(json!({"completions": 8, "parallelism": 3})));
        for step in 0..60_u64 {
            match (seed * 31 + step * 17) % 9 {
                0 => cluster.fake.break_watches(),
                1 => cluster.fake.expire_watches(),
                2 => cluster.fake.fail_writes(1),
                3 => cluster.fake.hold_events(),
                4 if step % 3 == 0 => cluster.restart(),
                5 => cluster.fake.lose_answers(1),
                _ => {}
            }
            cluster.kubelet();
            if step % 2 == 0 {
                finish(&cluster, 0);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            cluster.fake.release_events();
        }
        cluster.fake.fail_writes(0);
        cluster.fake.lose_answers(0);
        run_until(&cluster, "Complete", 0).await;
        let succeeded = cluster
            .fake
            .list("pods")
            .iter()
            .filter(|p| p["status"]["phase"] == "Succeeded")
            .count();
        assert_eq!(
            status(&cluster.fake)["succeeded"],
            json!(succeeded),
            "seed {seed}"
        );
    }
}
