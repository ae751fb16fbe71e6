//! What the simulated cluster holds, how its users change it, and what it must look like in the end.

use corten_client::Caller;
use corten_client::fake::Fake;
use serde_json::{Value, json};

use super::balancers;
use super::ledger::Ledger;
use super::upkeep;
use super::world::World;
use crate::cluster::{text, workload};

const VERSIONED: [(&str, &str); 3] = [("deployments", "web"), ("statefulsets", "s"), ("daemonsets", "d")];

fn node(name: &str) -> Value {
    let labels = json!({"topology.kubernetes.io/zone": format!("zone-of-{name}")});
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {},
        "status": {"addresses": [{"type": "InternalIP", "address": balancers::address(name)}], "allocatable": {"cpu": "4"}, "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T12:00:00Z"}]}})
}

fn job(name: &str, extra: Value) -> Value {
    let labels = json!({"job": name});
    let mut spec = json!({"backoffLimit": 1000, "completionMode": "NonIndexed", "suspend": false,
        "podReplacementPolicy": "TerminatingOrFailed", "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}});
    if let (Value::Object(spec), Value::Object(extra)) = (&mut spec, extra) {
        spec.extend(extra);
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"namespace": "a", "name": name}, "spec": spec})
}

pub fn map(ns: &str, name: &str, extra: Value) -> Value {
    let mut map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": ns, "name": name}});
    if let (Value::Object(meta), Value::Object(extra)) = (&mut map["metadata"], extra) {
        meta.extend(extra);
    }
    map
}

pub fn make(fake: &Fake) {
    make_places(fake);
    balancers::make(fake);
    make_workloads(fake);
    make_jobs(fake);
    make_companions(fake);
    make_maps(fake);
    upkeep::make(fake);
}

fn make_places(fake: &Fake) {
    for name in ["a", "gone", "kube-node-lease"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
        fake.put("namespaces", namespace);
    }
    for name in ["n1", "n2", "n3"] {
        fake.put("nodes", node(name));
    }
}

fn make_workloads(fake: &Fake) {
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}});
    let web = json!({"replicas": 5, "strategy": rolling, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 2});
    fake.put("deployments", workload("Deployment", "web", web.clone()));
    let mut doomed = workload("Deployment", "doomed", web);
    doomed["metadata"]["namespace"] = json!("gone");
    fake.put("deployments", doomed);
    fake.put("replicasets", workload("ReplicaSet", "r", json!({"replicas": 4})));
    fake.put(
        "replicationcontrollers",
        json!({"apiVersion": "v1", "kind": "ReplicationController",
        "metadata": {"namespace": "a", "name": "rc"}, "spec": {"replicas": 3, "selector": {"app": "rc"},
            "template": {"metadata": {"labels": {"app": "rc"}}, "spec": {"containers": []}}}}),
    );
    fake.put("statefulsets", workload("StatefulSet", "s", json!({"replicas": 3, "serviceName": "s",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]})));
    fake.put(
        "daemonsets",
        workload(
            "DaemonSet",
            "d",
            json!({
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}}),
        ),
    );
}

fn make_jobs(fake: &Fake) {
    fake.put("jobs", job("plain", json!({"completions": 9, "parallelism": 3})));
    fake.put(
        "jobs",
        job(
            "indexed",
            json!({"completions": 6, "parallelism": 3, "completionMode": "Indexed"}),
        ),
    );
    fake.put("cronjobs", json!({"apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"namespace": "a", "name": "cj", "creationTimestamp": "2026-01-01T12:00:00Z"},
        "spec": {"schedule": "* * * * *", "concurrencyPolicy": "Allow", "successfulJobsHistoryLimit": 100,
            "failedJobsHistoryLimit": 100,
            "jobTemplate": {"spec": {"managedBy": "me/x", "template": {"spec": {"restartPolicy": "Never", "containers": []}}}}}}));
}

fn make_companions(fake: &Fake) {
    fake.put(
        "services",
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "a", "name": "web",
            "annotations": {"service.kubernetes.io/topology-mode": "Auto"}},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
            "ipFamilies": ["IPv4"], "ports": [{"port": 80, "protocol": "TCP"}]}}),
    );
    fake.put(
        "poddisruptionbudgets",
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"namespace": "a", "name": "b"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "r"}}}}),
    );
    fake.put(
        "resourcequotas",
        json!({"apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"namespace": "a", "name": "q"}, "spec": {"hard": {"count/configmaps": "50"}}}),
    );
}

fn make_maps(fake: &Fake) {
    for i in 0..5 {
        fake.put("configmaps", map("gone", &format!("m{i}"), json!({})));
    }
    let owner = fake.put("configmaps", map("a", "owner", json!({})));
    let reference =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}]);
    for i in 0..5 {
        fake.put(
            "configmaps",
            map(
                "a",
                &format!("dependent{i}"),
                json!({"ownerReferences": reference}),
            ),
        );
    }
}

/// What users do: new versions, other sizes, a namespace and an owner that go, a node that is drained.
pub async fn change(world: &mut World, step: u64) {
    let fake = world.fake.clone();
    match world.random.below(9) {
        0 | 1 => {
            let (plural, name) = VERSIONED[world.random.below(3) as usize];
            bump(&fake, plural, name, |o| {
                o["spec"]["template"]["metadata"]["annotations"] = json!({"v": step.to_string()});
            });
        }
        2 => {
            let replicas = 2 + world.random.below(4);
            bump(&fake, "replicasets", "r", |o| {
                o["spec"]["replicas"] = json!(replicas)
            });
        }
        3 => {
            let replicas = 1 + world.random.below(4);
            bump(&fake, "statefulsets", "s", |o| {
                o["spec"]["replicas"] = json!(replicas)
            });
        }
        4 => {
            let taint = json!([{"key": "drain", "effect": "NoExecute"}]);
            let taints = if world.random.below(2) == 0 {
                taint
            } else {
                Value::Null
            };
            fake.edit("nodes", "", "n3", |n| n["spec"]["taints"] = taints);
        }
        5 | 6 => balancers::change(world),
        _ => {}
    }
    let caller: Caller = fake.client().into();
    let path = match step {
        25 => "/api/v1/namespaces/gone",
        35 => "/api/v1/namespaces/a/configmaps/owner",
        _ => return,
    };
    // Users try again until they know that it is done; writes fail at most this often in a row.
    for _ in 0..64 {
        match caller
            .delete(path, &json!({"propagationPolicy": "Background"}))
            .await
        {
            Err(error) if !error.is_not_found() => {}
            _ => break,
        }
    }
}

fn bump(fake: &Fake, plural: &str, name: &str, change: impl FnOnce(&mut Value)) {
    fake.edit(plural, "a", name, |o| {
        change(o);
        o["metadata"]["generation"] = json!(o["metadata"]["generation"].as_u64().unwrap() + 1);
    });
}

fn pods_of(fake: &Fake, label: &str, value: &str) -> u64 {
    let mine = |p: &&Value| p["metadata"]["labels"][label] == value && p["metadata"]["namespace"] == "a";
    fake.list("pods").iter().filter(mine).count() as u64
}

/// What is not as it should be.
#[derive(Default)]
pub struct Wrong(Vec<String>);

impl Wrong {
    pub fn expect(&mut self, what: &str, holds: bool, state: &Value) {
        if !holds {
            self.0.push(format!("{what}: {state}"));
        }
    }
}

pub fn of_a(fake: &Fake, plural: &str, name: &str) -> Value {
    fake.get(plural, "a", name).unwrap_or_default()
}

fn counts_are(object: &Value, fields: &[&str], count: u64) -> bool {
    fields
        .iter()
        .all(|field| object["status"][field].as_u64() == Some(count))
}

/// What is not as it should be; empty once all is. `alone`: only one process is at work.
pub fn missing(fake: &Fake, ledger: &Ledger, alone: bool) -> String {
    let mut wrong = Wrong::default();
    check_workloads(fake, &mut wrong);
    check_jobs(fake, ledger, alone, &mut wrong);
    check_others(fake, &mut wrong);
    wrong.0.extend(balancers::missing(fake));
    wrong.0.join("\n")
}

fn check_workloads(fake: &Fake, wrong: &mut Wrong) {
    let observed = |o: &Value| o["status"]["observedGeneration"] == o["metadata"]["generation"];
    let web = of_a(fake, "deployments", "web");
    let counts = ["replicas", "updatedReplicas", "availableReplicas"];
    wrong.expect(
        "deployment",
        counts_are(&web, &counts, 5) && observed(&web) && pods_of(fake, "app", "web") == 5,
        &web["status"],
    );
    let set = of_a(fake, "replicasets", "r");
    let wanted = set["spec"]["replicas"].as_u64().unwrap();
    let counts = ["replicas", "readyReplicas", "availableReplicas"];
    wrong.expect(
        "set",
        counts_are(&set, &counts, wanted) && pods_of(fake, "app", "r") == wanted,
        &set["status"],
    );
    let rc = of_a(fake, "replicationcontrollers", "rc");
    wrong.expect(
        "rc",
        counts_are(&rc, &counts, 3) && pods_of(fake, "app", "rc") == 3,
        &rc["status"],
    );
    let stateful = of_a(fake, "statefulsets", "s");
    let wanted = stateful["spec"]["replicas"].as_u64().unwrap();
    let done = stateful["status"]["currentRevision"] == stateful["status"]["updateRevision"]
        && counts_are(&stateful, &["replicas", "readyReplicas"], wanted)
        && pods_of(fake, "app", "s") == wanted;
    wrong.expect("stateful set", done && observed(&stateful), &stateful["status"]);
    let nodes = fake.list("nodes");
    let free = nodes
        .iter()
        .filter(|n| n["spec"]["taints"].as_array().is_none_or(Vec::is_empty));
    let free = free.count() as u64;
    let daemons = of_a(fake, "daemonsets", "d");
    let counts = ["desiredNumberScheduled", "numberReady", "updatedNumberScheduled"];
    wrong.expect(
        "daemon set",
        counts_are(&daemons, &counts, free) && pods_of(fake, "app", "d") == free,
        &daemons["status"],
    );
}

fn check_jobs(fake: &Fake, ledger: &Ledger, alone: bool, wrong: &mut Wrong) {
    for (name, completions) in [("plain", 9), ("indexed", 6)] {
        let job = of_a(fake, "jobs", name);
        let conditions = job["status"]["conditions"].as_array();
        let ended = |how: &str| {
            conditions.is_some_and(|c| c.iter().any(|c| c["type"] == how && c["status"] == "True"))
        };
        let uid = text(&job["metadata"]["uid"]);
        let really = ledger.succeeded.get(&uid).copied().unwrap_or(0);
        let counted = job["status"]["succeeded"].as_u64();
        let exact =
            name == "plain" && counted == Some(really) || name != "plain" && counted == Some(completions);
        let complete = ended("Complete") && exact && counted >= Some(completions);
        // Upstream counts by what one process remembers of its own writes (finalizer expectations): two that work at
        // the same time count a pod twice, or use up the back-off limit with each other's surplus. Only the lease
        // keeps them apart; what holds without it is that the Job ends and lets go of its pods.
        let holds = complete || !alone && (ended("Complete") || ended("Failed"));
        wrong.expect("job", holds, &job["status"]);
        let tracked = fake.list("pods").iter().any(|p| {
            p["metadata"]["labels"]["job"] == name
                && p["metadata"]["finalizers"]
                    .as_array()
                    .is_some_and(|f| !f.is_empty())
        });
        wrong.expect("a pod still waits to be counted", !tracked, &job["status"]);
    }
}

fn check_others(fake: &Fake, wrong: &mut Wrong) {
    wrong.expect("cron job", fired(fake), &of_a(fake, "cronjobs", "cj")["status"]);
    let slices = fake.list("endpointslices");
    let ready = slices.len() == 1 && slices[0]["endpoints"].as_array().map(Vec::len) == Some(5);
    wrong.expect("slices", ready, &json!(slices));
    let endpoints = slices
        .iter()
        .flat_map(|s| s["endpoints"].as_array().into_iter().flatten());
    let hinted: Vec<bool> = endpoints.map(|e| e["hints"].is_object()).collect();
    wrong.expect("hints", hinted.iter().all(|h| *h == hinted[0]), &json!(slices));
    upkeep::check(fake, wrong);
    let namespace = fake.get("namespaces", "", "gone");
    wrong.expect("namespace", namespace.is_none(), &json!(namespace));
    let maps = fake.list("configmaps");
    let left = maps.iter().any(|m| {
        text(&m["metadata"]["name"]).starts_with("dependent") || m["metadata"]["namespace"] == "gone"
    });
    wrong.expect("garbage", !left, &json!(maps));
    let budget = of_a(fake, "poddisruptionbudgets", "b");
    let healthy = budget["status"]["currentHealthy"] == of_a(fake, "replicasets", "r")["spec"]["replicas"];
    wrong.expect("budget", healthy, &budget["status"]);
    let quota = of_a(fake, "resourcequotas", "q");
    wrong.expect("quota", !quota["status"]["used"].is_null(), &quota["status"]);
}

/// One Job for each minute since the first that was missed no more, and the status names the last.
fn fired(fake: &Fake) -> bool {
    let jobs = fake.list("jobs");
    let names: Vec<String> = jobs
        .iter()
        .map(|j| text(&j["metadata"]["name"]))
        .filter(|n| n.starts_with("cj-"))
        .collect();
    let active = fake.get("cronjobs", "a", "cj").unwrap_or_default()["status"]["active"].clone();
    !names.is_empty() && active.as_array().map(Vec::len) == Some(names.len())
}
