//! Nodes without machines: this client says of each pod that it runs, through the API, as kubelets do. Nothing in the
//! server knows that they are hollow.

use super::pods::{self, Count};
use crate::bench::connection::Connection;
use crate::bench::target::Target;
use anyhow::Context;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// As a kubelet's.
const RENEW: Duration = Duration::from_secs(10);
/// A stage that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(900);
/// The taint and label that keep other pods away.
const MARK: &str = "bench.corten.dev/hollow";

/// What a fleet is to be.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) nodes: usize,
    pub(super) pods_per_node: usize,
    /// Pods get their nodes from here and not from a scheduler.
    pub(super) place: bool,
}

/// Hollow nodes at work. Its tasks end with it; its nodes are to be removed by [`Fleet::end`].
pub(super) struct Fleet {
    count: watch::Receiver<Count>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Fleet {
    pub(super) async fn start(target: &Target, size: Size) -> anyhow::Result<Self> {
        let names: Vec<String> = (0..size.nodes)
            .map(|index| format!("{}-{index}", target.namespace))
            .collect();
        let mut connection = target.connect().await?;
        for name in &names {
            let node = node(&target.namespace, name, size.pods_per_node).to_string();
            connection.send("POST", "/api/v1/nodes", node).await?;
        }
        let mut tasks = JoinSet::new();
        let placed = size.place.then(|| names.clone());
        let count = pods::start(target, placed, &mut tasks).await?;
        tasks.spawn(renew(target.connect().await?, names));
        Ok(Self { count, tasks })
    }

    /// Resolves once the pods are as wanted; an error when that takes too long or a part of the fleet has failed.
    pub(super) async fn until(&mut self, wanted: impl FnMut(&Count) -> bool) -> anyhow::Result<Count> {
        let reached = tokio::time::timeout(LIMIT, self.count.wait_for(wanted)).await;
        match reached.map(|found| found.map(|count| *count)) {
            Ok(Ok(count)) => return Ok(count),
            Err(_) => anyhow::bail!("after {LIMIT:?}: {:?}", self.count()),
            Ok(Err(_)) => {}
        }
        // The count ends with the task that makes it.
        while let Some(ended) = self.tasks.join_next().await {
            ended?.context("a part of the fleet failed")?;
        }
        anyhow::bail!("the fleet ended: {:?}", self.count())
    }

    pub(super) fn count(&self) -> Count {
        *self.count.borrow()
    }

    /// Removes the nodes.
    pub(super) async fn end(self, target: &Target) -> anyhow::Result<()> {
        let path = format!("/api/v1/nodes?labelSelector={MARK}%3D{}", target.namespace);
        target.connect().await?.send("DELETE", &path, "").await?;
        Ok(())
    }
}

fn node(namespace: &str, name: &str, pods: usize) -> Value {
    let now = super::now("%FT%TZ");
    let resources =
        json!({"cpu": "64", "memory": "256Gi", "ephemeral-storage": "200Gi", "pods": pods.to_string()});
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": "hollow", "lastHeartbeatTime": now,
            "lastTransitionTime": now})
    };
    let images: Vec<Value> = (0..20)
        .map(|i| json!({"names": [format!("registry.test/library/image-{i}:v1.{i}.0")], "sizeBytes": 50_000_000 + i}))
        .collect();
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {MARK: namespace, "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
        "spec": {"taints": [{"key": MARK, "effect": "NoSchedule"}]},
        "status": {"capacity": resources, "allocatable": resources, "images": images,
            "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "Hostname", "address": name}],
            "nodeInfo": {"architecture": "amd64", "bootID": "b", "containerRuntimeVersion": "hollow://1",
                "kernelVersion": "6.18", "kubeProxyVersion": "", "kubeletVersion": "v1.36.2", "machineID": "m",
                "operatingSystem": "linux", "osImage": "hollow", "systemUUID": "s"},
            "conditions": [condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID"),
                condition("Ready", "True", "KubeletReady")]}})
}

/// What makes a pod land here and nowhere else, with as much in it as pods have.
pub(super) fn template(app: &str, namespace: &str) -> Value {
    let environment: Vec<Value> = ["LOG_LEVEL", "LISTEN", "DATABASE_HOST", "CACHE_HOST"]
        .iter()
        .map(|name| json!({"name": name, "value": format!("{app}.example.test")}))
        .collect();
    json!({"metadata": {"labels": {"app": app, "app.kubernetes.io/part-of": namespace},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090"}},
        "spec": {"terminationGracePeriodSeconds": 0, "nodeSelector": {MARK: namespace},
        "tolerations": [{"key": MARK, "operator": "Exists"}],
        "containers": [{"name": "c", "image": "registry.test/hollow:1", "args": ["--config", "/etc/app/config.yaml"],
            "env": environment, "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}}]}})
}

/// The nodes' heartbeats.
async fn renew(mut connection: Connection, nodes: Vec<String>) -> anyhow::Result<()> {
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let mut first = true;
    loop {
        let now = super::now("%FT%T.000000Z");
        for name in &nodes {
            let spec = json!({"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now});
            let lease = json!({"metadata": {"name": name}, "spec": spec}).to_string();
            // One heartbeat may be missed.
            let _ = if first {
                connection.send("POST", path, lease).await
            } else {
                connection.send("PATCH", &format!("{path}/{name}"), lease).await
            };
        }
        first = false;
        tokio::time::sleep(RENEW).await;
    }
}
