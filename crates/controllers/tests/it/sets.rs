use corten_client::fake::Fake;
use expect_test::expect;
use serde_json::{Value, json};

use crate::cluster::{start, text, workload};

fn status(fake: &Fake, plural: &str, name: &str) -> Value {
    fake.get(plural, "a", name).unwrap()["status"].clone()
}

fn new_version(fake: &Fake, plural: &str, name: &str) {
    fake.edit(plural, "a", name, |o| {
        o["spec"]["template"]["metadata"]["annotations"] = json!({"v": "2"});
        o["metadata"]["generation"] = json!(2);
    });
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_goes_in_order() {
    let cluster = start();
    let spec = json!({"replicas": 3, "serviceName": "s",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]});
    cluster
        .fake
        .put("statefulsets", workload("StatefulSet", "s", spec));
    cluster
        .until("three", |f| status(f, "statefulsets", "s")["readyReplicas"] == 3)
        .await;
    let mut order: Vec<_> = Vec::new();
    for write in cluster.fake.take_writes() {
        if write.method == "POST" && (write.path.ends_with("/pods") || write.path.ends_with("claims")) {
            order.push(text(&write.body["metadata"]["name"]));
        }
    }
    assert_eq!(order, ["data-s-0", "s-0", "data-s-1", "s-1", "data-s-2", "s-2"]);
    new_version(&cluster.fake, "statefulsets", "s");
    cluster
        .until("updated", |f| {
            let s = status(f, "statefulsets", "s");
            s["observedGeneration"] == 2
                && s["updatedReplicas"] == 3
                && s["readyReplicas"] == 3
                && s["currentRevision"] == s["updateRevision"]
        })
        .await;
    let deleted: Vec<_> = cluster
        .fake
        .take_writes()
        .into_iter()
        .filter(|w| w.method == "DELETE")
        .map(|w| w.path.rsplit('/').next().unwrap().to_owned())
        .collect();
    assert_eq!(deleted, ["s-2", "s-1", "s-0"]);
    cluster
        .fake
        .edit("statefulsets", "a", "s", |s| s["spec"]["replicas"] = json!(1));
    cluster
        .until("one", |f| {
            f.list("pods").len() == 1 && status(f, "statefulsets", "s")["replicas"] == 1
        })
        .await;
    let pod = &cluster.fake.list("pods")[0];
    expect![[r#"{"app":"s","apps.kubernetes.io/pod-index":"0","controller-revision-hash":true,"statefulset.kubernetes.io/pod-name":"s-0"} "s-0" "s""#]]
        .assert_eq(&{
            let mut labels = pod["metadata"]["labels"].clone();
            labels["controller-revision-hash"] = json!(text(&labels["controller-revision-hash"]).starts_with("s-"));
            format!("{labels} {} {}", pod["spec"]["hostname"], pod["spec"]["subdomain"])
        });
    expect![[r#"
        StatefulSet Normal SuccessfulCreate: Create Claim data-s-0 Pod s-0 in StatefulSet s success
        StatefulSet Normal SuccessfulCreate: Create Claim data-s-1 Pod s-1 in StatefulSet s success
        StatefulSet Normal SuccessfulCreate: Create Claim data-s-2 Pod s-2 in StatefulSet s success
        StatefulSet Normal SuccessfulCreate: Create Pod s-0 in StatefulSet s successful
        StatefulSet Normal SuccessfulCreate: Create Pod s-1 in StatefulSet s successful
        StatefulSet Normal SuccessfulCreate: Create Pod s-2 in StatefulSet s successful
        StatefulSet Normal SuccessfulDelete: Delete Pod s-0 in StatefulSet s successful
        StatefulSet Normal SuccessfulDelete: Delete Pod s-1 in StatefulSet s successful
        StatefulSet Normal SuccessfulDelete: Delete Pod s-2 in StatefulSet s successful"#]]
    .assert_eq(&cluster.events());
}

#[tokio::test(start_paused = true)]
async fn a_partition_holds_lower_ordinals_back() {
    let cluster = start();
    let spec = json!({"replicas": 3, "serviceName": "s", "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}});
    cluster
        .fake
        .put("statefulsets", workload("StatefulSet", "s", spec));
    cluster
        .until("three", |f| status(f, "statefulsets", "s")["readyReplicas"] == 3)
        .await;
    new_version(&cluster.fake, "statefulsets", "s");
    cluster
        .until("one updated", |f| {
            let s = status(f, "statefulsets", "s");
            s["updatedReplicas"] == 1 && s["currentReplicas"] == 2 && s["readyReplicas"] == 3
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_set_has_one_on_every_fitting_node() {
    let cluster = start();
    let node = |name: &str, spec: Value| {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec,
            "status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}})
    };
    for name in ["n1", "n2"] {
        cluster.fake.put("nodes", node(name, json!({})));
    }
    cluster.fake.put(
        "nodes",
        node(
            "tainted",
            json!({"taints": [{"key": "k", "effect": "NoSchedule"}]}),
        ),
    );
    let spec = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}});
    cluster.fake.put("daemonsets", workload("DaemonSet", "d", spec));
    let kubelets = |fake: &Fake| {
        for pod in fake.list("pods") {
            let wanted =
                &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
            let wanted = wanted["nodeSelectorTerms"][0]["matchFields"][0]["values"][0].clone();
            fake.edit("pods", "a", &text(&pod["metadata"]["name"]), |p| {
                p["spec"]["nodeName"] = wanted.clone();
                if p["status"]["phase"] != "Running" {
                    p["status"] =
                        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
                }
            });
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                fake.remove("pods", "a", &text(&pod["metadata"]["name"]));
            }
        }
    };
    let ready = |fake: &Fake, generation: u64| {
        kubelets(fake);
        let s = status(fake, "daemonsets", "d");
        s["observedGeneration"] == generation && s["numberReady"] == 2 && s["updatedNumberScheduled"] == 2
    };
    cluster.fake.until("two ready", |f| ready(f, 1)).await;
    new_version(&cluster.fake, "daemonsets", "d");
    cluster.fake.until("two updated", |f| ready(f, 2)).await;
    assert_eq!(cluster.fake.list("controllerrevisions").len(), 2);
    expect![[r#"{"currentNumberScheduled":2,"desiredNumberScheduled":2,"numberAvailable":2,"numberMisscheduled":0,"numberReady":2,"observedGeneration":2,"updatedNumberScheduled":2}"#]]
        .assert_eq(&status(&cluster.fake, "daemonsets", "d").to_string());
    cluster
        .fake
        .edit("nodes", "", "n2", |n| n["metadata"]["labels"] = json!({"a": "b"}));
    cluster.fake.edit("daemonsets", "a", "d", |d| {
        d["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
        d["metadata"]["generation"] = json!(3);
    });
    cluster
        .fake
        .until("one left", |f| {
            kubelets(f);
            f.list("pods").len() == 1 && status(f, "daemonsets", "d")["desiredNumberScheduled"] == 1
        })
        .await;
}
