//! The pods of a fleet: how far they have come, and what kubelets and a scheduler would write about them.

use super::follow::{Follow, Told, Versioned};
use crate::bench::connection::Connection;
use crate::bench::target::Target;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;

/// Connections that write about pods.
const WRITERS: usize = 8;

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
    /// How often the watch had to be opened again.
    pub(super) resumed: usize,
}

/// As much of a pod as is counted.
#[derive(Deserialize)]
struct Pod {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: String,
    resource_version: String,
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
}

#[derive(Default, Deserialize)]
struct Status {
    phase: Option<String>,
}

impl Versioned for Pod {
    fn revision(&self) -> &str {
        &self.metadata.resource_version
    }
}

/// What has to be written about a pod.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    Place,
    Run,
    Remove,
}

type Work = (String, Due);

/// Follows the pods of the target's namespace and writes what their nodes would, until the tasks end. With `nodes` they
/// are placed too, in turn.
pub(super) async fn start(
    target: &Target,
    nodes: Option<Vec<String>>,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<watch::Receiver<Count>> {
    let (sender, count) = watch::channel(Count::default());
    // Bounded by the pods there are: each is in it at most three times.
    let (work, queue) = mpsc::unbounded_channel();
    let queue = Arc::new(Mutex::new(queue));
    let path = target.path("pods");
    let placing = nodes.is_some();
    let nodes = Arc::new(nodes.unwrap_or_default());
    for first in 0..WRITERS {
        tasks.spawn(write(
            target.connect().await?,
            Arc::clone(&queue),
            path.clone(),
            Arc::clone(&nodes),
            first,
        ));
    }
    let pods = Follow::<Pod>::start(&target.access, &path, "").await?;
    tasks.spawn(follow(pods, work, sender, placing));
    Ok(count)
}

/// Counts pods and hands on what has to be done about them.
async fn follow(
    mut pods: Follow<Pod>,
    work: mpsc::UnboundedSender<Work>,
    sender: watch::Sender<Count>,
    placing: bool,
) -> anyhow::Result<()> {
    let mut seen = HashMap::<String, u8>::new();
    let mut listed: Option<HashSet<String>> = None;
    loop {
        let told = pods.next().await?;
        let resumed = pods.resumed();
        match told {
            Told::Restart => listed = Some(HashSet::new()),
            Told::Complete => {
                let kept = listed.take().unwrap_or_default();
                let before = seen.len();
                seen.retain(|name, _| kept.contains(name));
                let gone = before - seen.len();
                sender.send_modify(|c| c.gone += gone);
            }
            Told::Gone(pod) => {
                if seen.remove(&pod.metadata.name).is_some() {
                    sender.send_modify(|c| c.gone += 1);
                }
            }
            Told::Is(pod) => {
                if let Some(listed) = &mut listed {
                    listed.insert(pod.metadata.name.clone());
                }
                let stage = stage(&pod);
                let before = seen.insert(pod.metadata.name.clone(), stage).unwrap_or(0);
                sender.send_modify(|c| {
                    c.created += usize::from(before < 1);
                    c.scheduled += usize::from(before < 2 && (2..=3).contains(&stage));
                    c.running += usize::from(before < 3 && stage == 3);
                    c.resumed = resumed;
                });
                let due = match stage {
                    1 if placing => Some(Due::Place),
                    2 => Some(Due::Run),
                    4 => Some(Due::Remove),
                    _ => None,
                };
                if let Some(due) = due.filter(|_| stage > before) {
                    work.send((pod.metadata.name, due))?;
                }
            }
        }
    }
}

/// 1: made, 2: it has a node, 3: it runs, 4: it is to go.
fn stage(pod: &Pod) -> u8 {
    let running = pod.status.phase.as_deref() == Some("Running");
    if pod.metadata.deletion_timestamp.is_some() {
        4
    } else if pod.spec.node_name.is_none() {
        1
    } else if running {
        3
    } else {
        2
    }
}

async fn write(
    mut connection: Connection,
    queue: Arc<Mutex<mpsc::UnboundedReceiver<Work>>>,
    path: String,
    nodes: Arc<Vec<String>>,
    first: usize,
) -> anyhow::Result<()> {
    let status = hyper::body::Bytes::from(running().to_string());
    let mut turn = first;
    loop {
        let Some((name, due)) = queue.lock().await.recv().await else {
            return Ok(());
        };
        // A pod may be gone by now: then there is nothing to say of it.
        let _ = match due {
            Due::Place => {
                let node = &nodes[turn % nodes.len()];
                turn += WRITERS;
                let body = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                    "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
                let path = format!("{path}/{name}/binding");
                connection.send("POST", &path, body.to_string()).await
            }
            Due::Run => {
                let path = format!("{path}/{name}/status");
                connection.send("PATCH", &path, status.clone()).await
            }
            Due::Remove => {
                let body = r#"{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0}"#;
                connection.send("DELETE", &format!("{path}/{name}"), body).await
            }
        };
    }
}

/// The status of a pod of one container that runs and is ready.
fn running() -> Value {
    let now = super::now("%FT%TZ");
    let conditions: Vec<Value> = [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]
    .iter()
    .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": now, "lastProbeTime": null}))
    .collect();
    let id = "4bf4ae9ca1e4ab54ee2a2fd4a1b6fbea4c0a3a9a1ae9ba8d4e2a1ae2c5d0ab3c";
    json!({"status": {"phase": "Running", "conditions": conditions, "startTime": now,
        "hostIP": "192.0.2.1", "hostIPs": [{"ip": "192.0.2.1"}], "podIP": "198.51.100.1",
        "podIPs": [{"ip": "198.51.100.1"}], "qosClass": "Burstable", "containerStatuses": [{"name": "c",
            "image": "registry.test/hollow:1", "imageID": format!("registry.test/hollow@sha256:{id}"),
            "containerID": format!("containerd://{id}"), "ready": true, "started": true, "restartCount": 0,
            "state": {"running": {"startedAt": now}}, "lastState": {}}]}})
}
