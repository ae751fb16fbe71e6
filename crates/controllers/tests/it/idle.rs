//! A cluster in which nothing happens costs nothing: over hours no controller sends a request.

use std::time::Duration;

use serde_json::json;

use crate::cluster::{start, workload};

/// Longer than every deadline of what is put into the cluster: requests for certificates go after an hour.
const SETTLED: Duration = Duration::from_secs(2 * 3600);
const IDLE: Duration = Duration::from_secs(12 * 3600);
/// How often the test's kubelet renews its lease; upstream's default.
const RENEWAL: Duration = Duration::from_secs(10);

/// Some of everything, none of which is on its way anywhere.
fn populate(fake: &corten_client::fake::Fake) {
    fake.put(
        "namespaces",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}),
    );
    fake.put("nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T11:00:00Z"}]}}));
    fake.put("leases", json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "n1", "namespace": "kube-node-lease"}, "spec": {"renewTime": "2026-01-01T12:00:00.000000Z"}}));
    fake.put(
        "services",
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "a", "name": "web"},
        "spec": {"clusterIP": "10.96.0.9", "selector": {"app": "web"}, "ports": [{"port": 80}]}}),
    );
    fake.put(
        "poddisruptionbudgets",
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"namespace": "a", "name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}),
    );
    fake.put(
        "resourcequotas",
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"namespace": "a", "name": "q"},
        "spec": {"hard": {"pods": "100", "count/configmaps": "10"}}}),
    );
    fake.put(
        "servicecidrs",
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16"]}}),
    );
    fake.put(
        "certificatesigningrequests",
        json!({"apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest", "metadata": {"name": "denied"},
        "spec": {"request": "bm9uZQ==", "signerName": "example.com/own", "usages": ["client auth"]},
        "status": {"conditions": [{"type": "Denied", "status": "True", "reason": "No",
            "lastUpdateTime": "2026-01-01T12:00:00Z"}]}}),
    );
    for (kind, plural, name, spec) in [
        ("Deployment", "deployments", "web", json!({"replicas": 3})),
        (
            "StatefulSet",
            "statefulsets",
            "db",
            json!({"replicas": 2, "serviceName": "db"}),
        ),
        ("DaemonSet", "daemonsets", "agent", json!({})),
        ("Job", "jobs", "once", json!({"completions": 1, "parallelism": 1})),
    ] {
        fake.put(plural, workload(kind, name, spec));
    }
    fake.put("cronjobs", json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"namespace": "a", "name": "never"},
        "spec": {"schedule": "* * * * *", "suspend": true, "jobTemplate": {"spec": {"template": {"spec": {"containers": []}}}}}}));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_or_written_while_nothing_changes() {
    let cluster = start();
    populate(&cluster.fake);
    let (fake, began) = (cluster.fake.clone(), tokio::time::Instant::now());
    // The node is alive: its kubelet's lease is all that changes.
    tokio::spawn(async move {
        let noon = jiff::Timestamp::constant(1_767_268_800, 0);
        loop {
            tokio::time::sleep(RENEWAL).await;
            let now = noon + began.elapsed();
            fake.edit("leases", "kube-node-lease", "n1", |lease| {
                lease["spec"]["renewTime"] = json!(format!("{:.6}", now));
            });
        }
    });
    let running = |f: &corten_client::fake::Fake| {
        let all = f.list("pods");
        all.iter().filter(|p| p["status"]["phase"] == "Running").count() == 7
    };
    cluster.until("all pods run", running).await;
    tokio::time::sleep(SETTLED).await;
    assert!(running(&cluster.fake), "{:?}", cluster.events());
    assert!(
        cluster
            .fake
            .get("certificatesigningrequests", "", "denied")
            .is_none()
    );
    assert!(!cluster.fake.take_requests().is_empty());
    tokio::time::sleep(IDLE).await;
    let asked = cluster.fake.take_requests();
    assert!(
        asked.is_empty(),
        "{} requests: {:?}",
        asked.len(),
        &asked[..asked.len().min(20)]
    );
    // It was idle, not dead.
    cluster.fake.put(
        "deployments",
        workload("Deployment", "late", json!({"replicas": 1})),
    );
    cluster
        .until("the next change", |f| f.list("pods").len() == 8)
        .await;
}
