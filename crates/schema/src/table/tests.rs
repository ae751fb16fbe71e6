#![allow(clippy::unwrap_used)]

use corten_meta::time::parse;
use serde_json::{Value, json};

use super::{cells, columns, human_duration};
use crate::resources;

const NOW: &str = "2026-01-01T01:00:00Z";

fn row(group: &str, plural: &str, object: &Value) -> Vec<String> {
    let resource = resources::lookup(group, "v1", plural).unwrap();
    let cells = cells(resource, object, parse(NOW).unwrap());
    assert_eq!(cells.len(), columns(resource).len(), "{plural}");
    cells
        .iter()
        .map(|c| c.as_str().map_or_else(|| c.to_string(), str::to_owned))
        .collect()
}

fn pod(status: Value) -> Vec<String> {
    let meta = json!({"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"});
    row(
        "",
        "pods",
        &json!({"metadata": meta, "spec": {"containers": [{"name": "c"}], "initContainers": [{"name": "i"}]}, "status": status}),
    )
}

#[test]
fn pods_say_what_their_containers_do() {
    let init = json!([{"name": "i", "state": {"terminated": {"exitCode": 0}}}]);
    let running = pod(json!({
        "phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "initContainerStatuses": init,
        "containerStatuses": [{"name": "c", "ready": true, "restartCount": 2, "state": {"running": {}},
            "lastState": {"terminated": {"finishedAt": "2026-01-01T00:59:00Z"}}}],
    }));
    assert_eq!(
        running,
        [
            "p",
            "1/1",
            "Running",
            "2 (60s ago)",
            "60m",
            "10.0.0.1",
            "<none>",
            "<none>",
            "<none>"
        ]
    );
    let crash = pod(json!({
        "phase": "Running", "initContainerStatuses": init,
        "containerStatuses": [{"name": "c", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
    }));
    assert_eq!(crash[1..4], ["0/1", "CrashLoopBackOff", "0"]);
    let waiting = pod(
        json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "PodInitializing"}}}]}),
    );
    assert_eq!(waiting[2], "Init:0/1");
    let failed = pod(
        json!({"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 3}}}]}),
    );
    assert_eq!(failed[2], "ExitCode:3");
    let evicted = pod(json!({"phase": "Failed", "reason": "Evicted"}));
    assert_eq!(evicted[2], "Evicted");
}

#[test]
fn services_and_deployments() {
    let service = json!({
        "metadata": {"name": "s", "creationTimestamp": NOW},
        "spec": {"type": "NodePort", "clusterIPs": ["10.96.0.9"], "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}], "selector": {"a": "b"}},
    });
    assert_eq!(
        row("", "services", &service),
        [
            "s",
            "NodePort",
            "10.96.0.9",
            "<none>",
            "80:30080/TCP",
            "0s",
            "a=b"
        ]
    );
    let deployment = json!({
        "metadata": {"name": "d", "creationTimestamp": NOW},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": [{"name": "c", "image": "i"}, {"name": "e", "image": "j"}]}}},
        "status": {"readyReplicas": 1, "updatedReplicas": 2},
    });
    assert_eq!(
        row("apps", "deployments", &deployment),
        ["d", "1/3", "2", "0", "0s", "c,e", "i,j", "a=b"]
    );
}

#[test]
fn every_resource_fills_its_columns() {
    let object = json!({"metadata": {"name": "x"}});
    let all = resources::all().iter().chain(resources::optional());
    for resource in all.filter(|r| r.has_verb("list")) {
        let got = cells(resource, &object, parse(NOW).unwrap()).len();
        // IP addresses have a cell more than columns upstream too.
        let extra = usize::from(resource.kind == "IPAddress");
        assert_eq!(got, columns(resource).len() + extra, "{}", resource.plural);
    }
}

#[test]
fn migrations() {
    let migration = |conditions: Value| {
        json!({"metadata": {"name": "m"}, "spec": {"resource": {"group": "example.com", "resource": "foos"}},
            "status": {"conditions": conditions}})
    };
    let cells = |object: &Value| {
        let row =
            resources::lookup("storagemigration.k8s.io", "v1beta1", "storageversionmigrations").unwrap();
        super::cells(row, object, parse(NOW).unwrap())
    };
    assert_eq!(cells(&migration(json!([]))), ["m", "foos.example.com", "Unknown"]);
    let ended = json!([{"type": "Running", "status": "False"}, {"type": "Succeeded", "status": "True"}]);
    assert_eq!(cells(&migration(ended)), ["m", "foos.example.com", "Succeeded"]);
}

#[test]
fn ages() {
    for (seconds, text) in [
        (-5, "<invalid>"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (700, "11m"),
        (4 * 3600, "4h"),
        (4 * 3600 + 60, "4h1m"),
        (100 * 3600, "4d4h"),
        (24 * 3600 * 800, "2y70d"),
    ] {
        assert_eq!(human_duration(seconds * 1000), text);
    }
}
