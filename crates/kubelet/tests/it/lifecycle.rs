//! Pods from creation to the last trace.

use crate::cluster::Cluster;
use serde_json::json;

#[tokio::test]
async fn create_run_delete() {
    let c = Cluster::start().await;
    c.create(
        "web",
        json!({"containers": [{"name": "main"}], "terminationGracePeriodSeconds": 5}),
    );
    c.until("web runs", |c| c.phase("web") == "Running" && c.ready("web"))
        .await;
    let pod = c.pod("web").unwrap();
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["containerID"], "corten://container2");
    assert_eq!(status["imageID"], "repo@sha256:1");
    assert_eq!(
        (&status["ready"], &status["started"], &status["restartCount"]),
        (&json!(true), &json!(true), &json!(0))
    );
    assert_eq!(pod["status"]["podIP"], "10.1.0.1");
    assert_eq!(pod["status"]["hostIP"], "192.168.0.1");
    assert_eq!(pod["status"]["qosClass"], "BestEffort");
    c.delete("web", 5);
    c.until("web is gone", |c| {
        c.pod("web").is_none() && c.runtime.counts() == (0, 0)
    })
    .await;
    assert_eq!(
        c.runtime.calls(),
        [
            "run_pod_sandbox web",
            "create main",
            "start main",
            "stop main 5",
            "stop_pod_sandbox",
            "remove_pod_sandbox",
        ]
    );
    c.until("events are written", |c| c.events().len() == 4).await;
    assert_eq!(
        c.events(),
        [
            "Pulled Container image \"busybox\" already present on machine and can be accessed by the pod",
            "Created Container created",
            "Started Container started",
            "Killing Stopping container main",
        ]
    );
    c.until("directories are gone", |c| {
        let pods = std::fs::read_dir(c.dir.path().join("kubelet/pods"))
            .unwrap()
            .count();
        pods == 0 && std::fs::read_dir(c.dir.path().join("logs")).unwrap().count() == 0
    })
    .await;
}

#[tokio::test]
async fn jobs_end_and_crashes_back_off() {
    let c = Cluster::start().await;
    c.create(
        "job",
        json!({"containers": [{"name": "once"}], "restartPolicy": "Never"}),
    );
    c.until("job runs", |c| c.phase("job") == "Running").await;
    c.runtime.exit("once", 0);
    c.until("job has succeeded", |c| c.phase("job") == "Succeeded")
        .await;
    let pod = c.pod("job").unwrap();
    assert_eq!(
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["reason"],
        "Completed"
    );

    c.create("bad", json!({"containers": [{"name": "crash"}]}));
    c.until("bad runs", |c| c.phase("bad") == "Running").await;
    c.runtime.exit("crash", 3);
    let restarted = |c: &Cluster| {
        let pod = c.pod("bad").unwrap();
        let s = &pod["status"]["containerStatuses"][0];
        s["restartCount"] == 1 && s["state"]["running"].is_object()
    };
    c.until("the first restart is at once", restarted).await;
    c.runtime.exit("crash", 3);
    c.until("the second waits", |c| c.waiting("bad") == "CrashLoopBackOff")
        .await;
    let pod = c.pod("bad").unwrap();
    let s = &pod["status"]["containerStatuses"][0];
    assert_eq!(s["lastState"]["terminated"]["exitCode"], 3);
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let message = format!("back-off 10s restarting failed container=crash pod=bad_default({uid})");
    assert_eq!(s["state"]["waiting"]["message"], message);
    assert_eq!(c.phase("bad"), "Running");
}

#[tokio::test]
async fn init_containers_and_sidecars_take_their_turns() {
    let c = Cluster::start().await;
    let image = json!({"image": "busybox", "imagePullPolicy": "IfNotPresent"});
    let mut first = image.clone();
    first["name"] = json!("first");
    let mut side = image.clone();
    side["name"] = json!("side");
    side["restartPolicy"] = json!("Always");
    c.create(
        "app",
        json!({"initContainers": [first, side], "containers": [{"name": "main"}], "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 3}),
    );
    c.until("first has started", |c| {
        c.runtime.calls().contains(&"start first".to_owned())
    })
    .await;
    c.until("the pod says so", |c| c.waiting("app") == "PodInitializing")
        .await;
    assert!(!c.runtime.calls().contains(&"start side".to_owned()));
    c.runtime.exit("first", 0);
    c.until("app runs", |c| c.phase("app") == "Running" && c.ready("app"))
        .await;
    c.runtime.exit("main", 0);
    c.until("app has succeeded", |c| c.phase("app") == "Succeeded")
        .await;
    let calls = c.runtime.calls();
    let starts: Vec<&str> = calls.iter().filter_map(|c| c.strip_prefix("start ")).collect();
    assert_eq!(starts, ["first", "side", "main"]);
    assert!(calls.contains(&"stop side 3".to_owned()), "{calls:?}");
}

#[tokio::test]
async fn a_restarted_agent_finds_everything_again() {
    let mut c = Cluster::start().await;
    c.create("web", json!({"containers": [{"name": "main"}]}));
    c.create("gone", json!({"containers": [{"name": "other"}]}));
    c.until("both run", |c| c.ready("web") && c.ready("gone")).await;
    let before = c.runtime.calls();
    c.restart().await;
    c.until("still ready", |c| c.ready("web")).await;
    c.delete("gone", 1);
    c.until("the new agent is at work", |c| c.pod("gone").is_none())
        .await;
    let new: Vec<String> = c.runtime.calls().into_iter().skip(before.len()).collect();
    assert!(
        !new.iter().any(|c| c.starts_with("start") || c.starts_with("run")),
        "{new:?}"
    );
    assert_eq!(
        c.pod("web").unwrap()["status"]["containerStatuses"][0]["restartCount"],
        0
    );
}

#[tokio::test]
async fn images_that_do_not_come() {
    let c = Cluster::start().await;
    c.create(
        "no",
        json!({"containers": [{"name": "main", "image": "reg.io/missing:1"}]}),
    );
    c.until("the error shows", |c| c.waiting("no") == "ErrImagePull")
        .await;
    c.until("then the wait", |c| c.waiting("no") == "ImagePullBackOff")
        .await;
    c.until("events are written", |c| c.events().len() >= 5).await;
    assert_eq!(
        c.events()[..5],
        [
            "Pulling Pulling image \"reg.io/missing:1\"",
            "Failed Failed to pull image \"reg.io/missing:1\": rpc error: code = NotFound desc = reg.io/missing:1 not found",
            "Failed Error: ErrImagePull",
            "BackOff Back-off pulling image \"reg.io/missing:1\"",
            "Failed Error: ImagePullBackOff",
        ]
    );
    c.create(
        "never",
        json!({"containers": [{"name": "main", "image": "nope", "imagePullPolicy": "Never"}]}),
    );
    c.until("never shows", |c| c.waiting("never") == "ErrImageNeverPull")
        .await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let c = Cluster::start().await;
    let resources = json!({"requests": {"cpu": "9999"}});
    c.create(
        "big",
        json!({"containers": [{"name": "main", "resources": resources}]}),
    );
    c.until("it is refused", |c| c.phase("big") == "Failed").await;
    let pod = c.pod("big").unwrap();
    assert_eq!(pod["status"]["reason"], "OutOfcpu");
    let message = pod["status"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("Pod was rejected: Node didn't have enough resource: cpu, requested: 9999000")
    );
    assert!(!c.runtime.calls().iter().any(|call| call.starts_with("run")));
    c.delete("big", 0);
    c.until("and can be deleted", |c| c.pod("big").is_none()).await;
}
