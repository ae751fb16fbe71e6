//! What a pod takes in a shared cache. The figure is that of the process: each test has one of its own.

use std::sync::Arc;

use corten_client::Pod;
use corten_client::cache::{Cache, Key, by_controller};
use corten_client::fake::footprint;
use serde_json::{Value, json};

const PODS: usize = 20_000;
const PODS_OF_ONE: usize = 100;
/// Bytes; a cluster of 150,000 pods then has 240 MB of them.
const MOST: usize = 1_600;

/// As kubelet and API server leave it.
fn pod(number: usize) -> Value {
    let (owner, address) = (
        number / PODS_OF_ONE,
        format!("10.{}.{}.{}", number >> 16, (number >> 8) & 255, number & 255),
    );
    let token = format!("kube-api-access-{number:05}");
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z",
        "lastProbeTime": null, "observedGeneration": 1})
    };
    let conditions = [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]
    .map(condition);
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("d{owner}-5d9c7b6f4-{number:05}"), "namespace": "crowd", "generateName": format!("d{owner}-5d9c7b6f4-"),
            "uid": format!("0d3b2f64-6c0e-4d5a-9c1e-{number:012}"), "resourceVersion": (1_000_000 + number).to_string(), "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": format!("d{owner}"), "pod-template-hash": "5d9c7b6f4"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("d{owner}-5d9c7b6f4"),
                "uid": format!("9d3b2f64-6c0e-4d5a-9c1e-{owner:012}"), "controller": true, "blockOwnerDeletion": true}],
            "managedFields": [{"manager": "corten", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}}}]},
        "spec": {"nodeName": format!("n{}", number % 600), "schedulerName": "default-scheduler", "serviceAccountName": "default",
            "priority": 0, "preemptionPolicy": "PreemptLowerPriority", "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
            "containers": [{"name": "c", "image": "registry.test/hollow:1", "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                "env": [{"name": "A", "value": "b"}], "command": ["/server", "--flag"],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}}, "terminationMessagePath": "/dev/termination-log",
                "volumeMounts": [{"name": &token, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}]}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
            "volumes": [{"name": &token, "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}]}}]},
        "status": {"phase": "Running", "podIP": &address, "podIPs": [{"ip": &address}], "hostIP": "192.0.2.1",
            "startTime": "2026-01-01T00:00:00Z", "qosClass": "Burstable",
            "conditions": conditions,
            "containerStatuses": [{"name": "c", "image": "registry.test/hollow:1", "imageID": "sha256:4bf4ae9ca1e4ab54ee2a2fd4a1b6fbea",
                "containerID": format!("containerd://{number:064}"), "ready": true, "started": true, "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "lastState": {}}]}})
}

fn fill(cache: &mut Cache<Pod>, range: std::ops::Range<usize>) {
    for number in range {
        let text = pod(number).to_string();
        let object: Pod = serde_json::from_str(&text).unwrap();
        cache.insert(&Key::of(&object), Arc::new(object));
    }
}

#[test]
fn a_pod_in_the_cache_is_small() {
    let mut cache = Cache::<Pod>::default();
    cache.add_index("controller", by_controller);
    cache.add_index("node", |pod| {
        let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
        node.map(str::to_owned).into_iter().collect()
    });
    let each = footprint::each(PODS, |range| fill(&mut cache, range));
    assert_eq!(cache.len(), 2 * PODS);
    println!("{each} bytes for each pod");
    assert!(each < MOST, "{each} bytes for each pod");
}
