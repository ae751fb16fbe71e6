//! Nodes without machines: this client says of each pod that it runs, through the API, as kubelets do. Nothing in the
//! server knows that they are hollow.

use crate::bench::connection::Connection;
use crate::bench::target::Target;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;

/// Nodes of a fleet; upstream's default of 110 pods each is raised so that they hold what is measured.
const NODES: usize = 100;
const PODS_PER_NODE: usize = 250;
/// Connections that write pod status.
const WRITERS: usize = 8;
/// As a kubelet's.
const RENEW: Duration = Duration::from_secs(10);
/// The taint and label that keep other pods away.
const MARK: &str = "bench.corten.dev/hollow";

/// How many pods there are, and how far they have come.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Count {
    /// Created ever.
    pub(super) created: usize,
    /// Given a node, ever.
    pub(super) scheduled: usize,
    /// Said to run, ever.
    pub(super) running: usize,
    /// Gone again.
    pub(super) gone: usize,
}

/// Hollow nodes at work. Its tasks end with it; its nodes are to be removed by [`Fleet::end`].
pub(super) struct Fleet {
    count: watch::Receiver<Count>,
    _tasks: JoinSet<anyhow::Result<()>>,
}

impl Fleet {
    pub(super) async fn start(target: &Target) -> anyhow::Result<Self> {
        let mut connection = target.connect().await?;
        for index in 0..NODES {
            let node = node(&target.namespace, index).to_string();
            connection.send("POST", "/api/v1/nodes", node).await?;
        }
        let (sender, count) = watch::channel(Count::default());
        // Bounded by the pods there are: each is in it at most twice.
        let (work, queue) = mpsc::unbounded_channel();
        let queue = Arc::new(Mutex::new(queue));
        let mut tasks = JoinSet::new();
        let path = target.path("pods");
        for _ in 0..WRITERS {
            tasks.spawn(write(target.connect().await?, Arc::clone(&queue), path.clone()));
        }
        let events = target.connect().await?.watch(&format!("{path}?watch=1")).await?;
        tasks.spawn(follow(events, work, sender));
        tasks.spawn(renew(target.connect().await?, target.namespace.clone()));
        Ok(Self { count, _tasks: tasks })
    }

    /// Resolves once the pods are as wanted.
    pub(super) async fn until(&mut self, wanted: impl FnMut(&Count) -> bool) -> anyhow::Result<Count> {
        Ok(*self.count.wait_for(wanted).await?)
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

fn name(namespace: &str, index: usize) -> String {
    format!("{namespace}-{index}")
}

fn node(namespace: &str, index: usize) -> Value {
    let now = k8s_openapi::jiff::Timestamp::now().strftime("%FT%TZ").to_string();
    let resources = json!({"cpu": "64", "memory": "256Gi", "pods": PODS_PER_NODE.to_string()});
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name(namespace, index), "labels": {MARK: namespace}},
        "spec": {"taints": [{"key": MARK, "effect": "NoSchedule"}]},
        "status": {"capacity": resources, "allocatable": resources, "conditions": [{"type": "Ready",
            "status": "True", "reason": "KubeletReady", "message": "hollow", "lastHeartbeatTime": now,
            "lastTransitionTime": now}]}})
}

/// What makes a pod land here and nowhere else.
pub(super) fn template(app: &str, namespace: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {
        "terminationGracePeriodSeconds": 0, "nodeSelector": {MARK: namespace},
        "tolerations": [{"key": MARK, "operator": "Exists"}],
        "containers": [{"name": "c", "image": "hollow", "resources": {"requests": {"cpu": "10m"}}}]}})
}

/// Counts pods and hands on what has to be done about them.
async fn follow(
    mut events: crate::bench::connection::Lines,
    work: mpsc::UnboundedSender<(String, bool)>,
    sender: watch::Sender<Count>,
) -> anyhow::Result<()> {
    let mut seen = std::collections::HashMap::<String, u8>::new();
    loop {
        let event: Value = serde_json::from_slice(events.next().await?)?;
        let pod = &event["object"];
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if event["type"] == "DELETED" {
            seen.remove(&name);
            sender.send_modify(|c| c.gone += 1);
            continue;
        }
        let running = pod["status"]["phase"] == "Running";
        let going = !pod["metadata"]["deletionTimestamp"].is_null();
        let stage = match (pod["spec"]["nodeName"].is_null(), running, going) {
            (true, ..) => 1,
            (_, _, true) => 4,
            (_, true, _) => 3,
            _ => 2,
        };
        let before = seen.insert(name.clone(), stage).unwrap_or(0);
        sender.send_modify(|c| {
            c.created += usize::from(before < 1);
            c.scheduled += usize::from(before < 2 && stage >= 2);
            c.running += usize::from(before < 3 && stage == 3);
        });
        if stage > before && (stage == 2 || stage == 4) {
            work.send((name, going))?;
        }
    }
}

async fn write(
    mut connection: Connection,
    queue: Arc<Mutex<mpsc::UnboundedReceiver<(String, bool)>>>,
    path: String,
) -> anyhow::Result<()> {
    let now = k8s_openapi::jiff::Timestamp::now().strftime("%FT%TZ").to_string();
    let conditions: Vec<Value> = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
        .iter()
        .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": now}))
        .collect();
    let status = json!({"status": {"phase": "Running", "conditions": conditions, "startTime": now,
        "hostIP": "192.0.2.1", "podIP": "198.51.100.1", "podIPs": [{"ip": "198.51.100.1"}]}});
    let status = hyper::body::Bytes::from(status.to_string());
    loop {
        let Some((name, going)) = queue.lock().await.recv().await else {
            return Ok(());
        };
        // A pod may be gone by now: then there is nothing to say of it.
        let _ = if going {
            let body = r#"{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0}"#;
            connection.send("DELETE", &format!("{path}/{name}"), body).await
        } else {
            let path = format!("{path}/{name}/status");
            connection.send("PATCH", &path, status.clone()).await
        };
    }
}

/// The nodes' heartbeats.
async fn renew(mut connection: Connection, namespace: String) -> anyhow::Result<()> {
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let mut first = true;
    loop {
        let now = k8s_openapi::jiff::Timestamp::now()
            .strftime("%FT%T.000000Z")
            .to_string();
        for index in 0..NODES {
            let name = name(&namespace, index);
            let spec = json!({"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now});
            let lease = json!({"metadata": {"name": name}, "spec": spec}).to_string();
            if first {
                connection.send("POST", path, lease).await?;
            } else {
                connection.send("PATCH", &format!("{path}/{name}"), lease).await?;
            }
        }
        first = false;
        tokio::time::sleep(RENEW).await;
    }
}
