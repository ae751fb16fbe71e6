//! Probes, hooks, resizes.

use crate::cluster::Cluster;
use corten_client::fake::Write;
use serde_json::json;

#[tokio::test]
async fn readiness_and_liveness() {
    let c = Cluster::start().await;
    c.runtime.set_exec("ready", 1);
    let probe = |word: &str, failures: i32| {
        json!({"exec": {"command": [word]}, "periodSeconds": 1, "failureThreshold": failures,
            "successThreshold": 1, "timeoutSeconds": 1})
    };
    c.create(
        "web",
        json!({"terminationGracePeriodSeconds": 4, "containers": [{
            "name": "main", "readinessProbe": probe("ready", 1), "livenessProbe": probe("alive", 1)}]}),
    );
    c.until("web runs", |c| c.phase("web") == "Running").await;
    c.until("the probe's failure is told", |c| {
        c.events()
            .contains(&"Unhealthy Readiness probe failed: out".to_owned())
    })
    .await;
    assert!(!c.ready("web"));
    c.runtime.set_exec("ready", 0);
    c.until("web is ready", |c| c.ready("web")).await;
    drop(c.api.take_writes());
    c.runtime.set_exec("alive", 1);
    c.until("web was restarted", |c| {
        c.pod("web").unwrap()["status"]["containerStatuses"][0]["restartCount"] == 1
    })
    .await;
    // Nobody is told of the moment in which it had stopped and not started again.
    let told = c
        .api
        .take_writes()
        .into_iter()
        .filter(|w| w.path.ends_with("/web/status"));
    let state = |write: Write| write.body["status"]["containerStatuses"][0]["state"].clone();
    let stopped = told.map(state).find(|state| !state["terminated"].is_null());
    assert_eq!(stopped, None);
    assert!(c.runtime.calls().contains(&"stop main 4".to_owned()));
    c.until("with reason", |c| {
        let text = "Killing Container main failed liveness probe, will be restarted".to_owned();
        c.events().contains(&text)
    })
    .await;
}

#[tokio::test]
async fn hooks_run_after_start_and_before_stop() {
    let c = Cluster::start().await;
    let lifecycle =
        json!({"postStart": {"exec": {"command": ["hello"]}}, "preStop": {"exec": {"command": ["bye"]}}});
    c.create(
        "web",
        json!({"terminationGracePeriodSeconds": 3, "containers": [{"name": "main", "lifecycle": lifecycle}]}),
    );
    c.until("web runs", |c| c.ready("web")).await;
    c.delete("web", 3);
    c.until("web is gone", |c| c.pod("web").is_none()).await;
    let calls = c.runtime.calls();
    let at = |what: &str| {
        calls
            .iter()
            .position(|c| c == what)
            .unwrap_or_else(|| panic!("no {what}: {calls:?}"))
    };
    assert!(at("start main") < at("exec hello") && at("exec bye") < at("stop main 3"));
    c.runtime.set_exec("fail", 1);
    let lifecycle = json!({"postStart": {"exec": {"command": ["fail"]}}});
    c.create(
        "bad",
        json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "lifecycle": lifecycle}]}),
    );
    c.until("the hook's failure is told", |c| {
        c.events()
            .contains(&"FailedPostStartHook PostStartHook failed".to_owned())
    })
    .await;
}

#[tokio::test]
async fn resources_change_in_place() {
    let c = Cluster::start().await;
    let resources = |cpu: &str| json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu, "memory": "64Mi"}});
    c.create(
        "web",
        json!({"containers": [{"name": "main", "resources": resources("100m")}]}),
    );
    c.until("web runs", |c| c.ready("web")).await;
    c.api.edit("pods", "default", "web", |pod| {
        pod["spec"]["containers"][0]["resources"] = resources("200m");
        pod["metadata"]["generation"] = json!(2);
    });
    c.until("the new size is in effect", |c| {
        let pod = c.pod("web").unwrap();
        let s = &pod["status"]["containerStatuses"][0];
        s["resources"]["limits"]["cpu"] == "200m" && s["restartCount"] == 0
    })
    .await;
    assert!(
        c.runtime
            .calls()
            .contains(&"update_container_resources".to_owned())
    );
}
