//! Registration of the node and its status.

use super::Machine;
use super::capacity::{disk, low_memory};
use crate::quantity::Resources;
use crate::status::whole_second;
use crate::thresholds::{EvictionHard, Signal};
use crate::time;
use corten_client::events::{Level, Recorder};
use corten_client::object::path;
use corten_client::request::STRATEGIC_PATCH;
use corten_client::{Caller, Error};
use corten_runtime::cri::{ImageService, RuntimeService};
use corten_stdx::SharedClock;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures,
    NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeSpec, NodeStatus, ObjectReference, Taint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the node looks at itself; what has not changed is not written.
const LOOK: Duration = Duration::from_secs(10);
/// An unchanged status is written this often all the same.
const REPORT: SignedDuration = SignedDuration::from_mins(5);
const RETRY: Duration = Duration::from_millis(200);
/// Images listed in a node's status, the largest first.
const MAX_IMAGES: usize = 50;
const MAX_IMAGE_NAMES: usize = 5;

/// What never changes while the agent runs.
pub struct Shape {
    pub name: String,
    pub addresses: Vec<String>,
    pub machine: Machine,
    pub max_pods: u32,
    pub eviction_hard: EvictionHard,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub pod_cidrs: Vec<String>,
    /// The agent's port; 0 for no server.
    pub port: u16,
    pub root: PathBuf,
}

pub struct Reporter {
    pub shape: Shape,
    pub caller: Caller,
    pub runtime: Arc<dyn RuntimeService>,
    pub images: Arc<dyn ImageService>,
    pub recorder: Recorder,
    pub clock: SharedClock,
}

impl Reporter {
    fn now(&self) -> Timestamp {
        whole_second(time::now(&self.clock))
    }

    /// Registers the node, trying until it works. The node is Ready from its first moment if the runtime is.
    pub async fn register(&self, stop: &CancellationToken) -> Option<NodeStatus> {
        loop {
            match self.try_register().await {
                Ok(status) => {
                    self.tell(&status);
                    return Some(status);
                }
                Err(error) => {
                    tracing::warn!(node = self.shape.name, %error, "node not registered; trying again")
                }
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = self.clock.sleep(RETRY) => {}
            }
        }
    }

    async fn try_register(&self) -> Result<NodeStatus, Error> {
        let shape = &self.shape;
        let status = self.look(None).await;
        let annotations = [(
            "volumes.kubernetes.io/controller-managed-attach-detach".to_owned(),
            "true".to_owned(),
        )];
        let node = Node {
            metadata: ObjectMeta {
                name: Some(shape.name.clone()),
                labels: Some(self.labels()),
                annotations: Some(annotations.into()),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec {
                pod_cidr: shape.pod_cidrs.first().cloned(),
                pod_cidrs: Some(shape.pod_cidrs.clone()).filter(|c| !c.is_empty()),
                taints: Some(shape.taints.clone()).filter(|t| !t.is_empty()),
                ..NodeSpec::default()
            }),
            status: Some(status.clone()),
        };
        match self.caller.create(&node).await {
            Err(error) if error.is_already_exists() => {}
            Err(error) => return Err(error),
            Ok(created) => {
                if created
                    .status
                    .is_some_and(|s| s.conditions.is_some_and(|c| !c.is_empty()))
                {
                    return Ok(status);
                }
            }
        }
        let known: Node = self.caller.get("", &shape.name).await?;
        let labels = json!({"metadata": {"labels": self.labels()}});
        let have = known.metadata.labels.unwrap_or_default();
        if self.labels().iter().any(|(k, v)| have.get(k) != Some(v)) {
            self.caller
                .patch(&path::<Node>("", &shape.name, ""), STRATEGIC_PATCH, &labels)
                .await?;
        }
        let status = self.look(known.status.as_ref()).await;
        self.write(&status).await?;
        Ok(status)
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let mut out = self.shape.labels.clone();
        let arch = &self.shape.machine.info.architecture;
        for (key, value) in [
            ("kubernetes.io/hostname", self.shape.name.as_str()),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", arch),
            ("beta.kubernetes.io/os", "linux"),
            ("beta.kubernetes.io/arch", arch),
        ] {
            out.entry(key.into()).or_insert_with(|| value.into());
        }
        out
    }

    /// Looks every few seconds and writes what changed, until `stop`.
    pub async fn run(&self, mut last: NodeStatus, stop: CancellationToken) {
        let mut written = self.now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep(LOOK) => {}
            }
            let status = self.look(Some(&last)).await;
            let now = self.now();
            if !changed(&last, &status) && now.duration_since(written) < REPORT {
                continue;
            }
            match self.write(&status).await {
                Ok(()) => {
                    if ready(&last) != ready(&status) {
                        self.tell(&status);
                    }
                    last = status;
                    written = now;
                }
                Err(error) if error.is_not_found() => {
                    if let Some(status) = self.register(&stop).await {
                        last = status;
                    }
                }
                Err(error) => tracing::warn!(node = self.shape.name, %error, "node status not written"),
            }
        }
    }

    async fn write(&self, status: &NodeStatus) -> Result<(), Error> {
        let mut value = serde_json::to_value(status)?;
        if let Value::Object(map) = &mut value
            && let Some(Value::Array(addresses)) = map.get_mut("addresses")
        {
            addresses.push(json!({"$patch": "replace"}));
        }
        let target = path::<Node>("", &self.shape.name, "status");
        self.caller
            .patch(&target, STRATEGIC_PATCH, &json!({"status": value}))
            .await
            .map(drop)
    }

    fn tell(&self, status: &NodeStatus) {
        let about = ObjectReference {
            kind: Some("Node".into()),
            name: Some(self.shape.name.clone()),
            uid: Some(self.shape.name.clone()),
            ..ObjectReference::default()
        };
        let reason = if ready(status) {
            "NodeReady"
        } else {
            "NodeNotReady"
        };
        let message = format!("Node {} status is now: {reason}", self.shape.name);
        self.recorder.event(about, Level::Normal, reason, message);
    }

    /// The node as it is now. Times of conditions that hold as before stay.
    async fn look(&self, before: Option<&NodeStatus>) -> NodeStatus {
        let shape = &self.shape;
        let mut addresses: Vec<NodeAddress> = shape
            .addresses
            .iter()
            .map(|ip| NodeAddress {
                type_: "InternalIP".into(),
                address: ip.clone(),
            })
            .collect();
        addresses.push(NodeAddress {
            type_: "Hostname".into(),
            address: shape.name.clone(),
        });
        let (problem, handlers, features) = self.runtime_state().await;
        NodeStatus {
            addresses: Some(addresses),
            capacity: Some(shape.machine.capacity(shape.max_pods)),
            allocatable: Some(self.allocatable()),
            conditions: Some(self.conditions(problem, before)),
            daemon_endpoints: Some(NodeDaemonEndpoints {
                kubelet_endpoint: Some(DaemonEndpoint {
                    port: i32::from(shape.port),
                }),
            }),
            images: Some(self.image_list().await),
            node_info: Some(shape.machine.info.clone()),
            runtime_handlers: Some(handlers).filter(|h| !h.is_empty()),
            features,
            ..NodeStatus::default()
        }
    }

    pub fn allocatable(&self) -> Resources {
        let shape = &self.shape;
        shape.machine.allocatable(shape.max_pods, &shape.eviction_hard)
    }

    /// Why pods cannot run, and what the runtime can do.
    async fn runtime_state(&self) -> (Option<String>, Vec<NodeRuntimeHandler>, Option<NodeFeatures>) {
        let answer = match self.runtime.status(false).await {
            Ok(answer) => answer,
            Err(error) => {
                let text = format!("container runtime is down: {}", error.rpc_text());
                return (Some(text), Vec::new(), None);
            }
        };
        let conditions = answer.status.unwrap_or_default().conditions;
        let bad = conditions
            .iter()
            .find(|c| !c.status && matches!(c.r#type.as_str(), "RuntimeReady" | "NetworkReady"));
        let problem = bad.map(|c| {
            let what = if c.r#type == "NetworkReady" {
                "container runtime network not ready"
            } else {
                "container runtime not ready"
            };
            format!(
                "{what}: {}=false reason:{} message:{}",
                c.r#type, c.reason, c.message
            )
        });
        let handlers = answer.runtime_handlers.into_iter().map(|h| NodeRuntimeHandler {
            name: Some(h.name),
            features: h.features.map(|f| NodeRuntimeHandlerFeatures {
                recursive_read_only_mounts: Some(f.recursive_read_only_mounts),
                user_namespaces: Some(f.user_namespaces),
            }),
        });
        let features = answer.features.map(|f| NodeFeatures {
            supplemental_groups_policy: Some(f.supplemental_groups_policy),
        });
        (problem, handlers.collect(), features)
    }

    async fn image_list(&self) -> Vec<ContainerImage> {
        let mut images = self.images.list_images(None).await.unwrap_or_default();
        images.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
        let list = images.into_iter().take(MAX_IMAGES).map(|i| {
            let names: Vec<String> = i
                .repo_digests
                .into_iter()
                .chain(i.repo_tags)
                .take(MAX_IMAGE_NAMES)
                .collect();
            ContainerImage {
                names: Some(names),
                size_bytes: i64::try_from(i.size).ok(),
            }
        });
        list.collect()
    }

    fn conditions(&self, problem: Option<String>, before: Option<&NodeStatus>) -> Vec<NodeCondition> {
        let now = Time(self.now());
        let make = |kind: &str, on: bool, reason: &str, message: String| {
            let status = if on { "True" } else { "False" };
            let known = before.and_then(|b| b.conditions.iter().flatten().find(|c| c.type_ == kind));
            let since = known
                .filter(|c| c.status == status)
                .and_then(|c| c.last_transition_time.clone());
            NodeCondition {
                type_: kind.into(),
                status: status.into(),
                reason: Some(reason.into()),
                message: Some(message),
                last_heartbeat_time: Some(now.clone()),
                last_transition_time: since.or_else(|| Some(now.clone())),
            }
        };
        let floors = &self.shape.eviction_hard;
        let low = low_memory(floors).is_some();
        let full = disk(&self.shape.root).is_some_and(|d| {
            floors.low(Signal::Disk, d.free, d.total) || floors.low(Signal::Inodes, d.inodes_free, d.inodes)
        });
        let memory = if low {
            make(
                "MemoryPressure",
                true,
                "KubeletHasInsufficientMemory",
                "kubelet has insufficient memory available".into(),
            )
        } else {
            make(
                "MemoryPressure",
                false,
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available".into(),
            )
        };
        let disk = if full {
            make(
                "DiskPressure",
                true,
                "KubeletHasDiskPressure",
                "kubelet has disk pressure".into(),
            )
        } else {
            make(
                "DiskPressure",
                false,
                "KubeletHasNoDiskPressure",
                "kubelet has no disk pressure".into(),
            )
        };
        let pids = "kubelet has sufficient PID available".to_owned();
        let ready = match problem {
            None => make(
                "Ready",
                true,
                "KubeletReady",
                "kubelet is posting ready status".into(),
            ),
            Some(text) => make("Ready", false, "KubeletNotReady", text),
        };
        vec![
            memory,
            disk,
            make("PIDPressure", false, "KubeletHasSufficientPID", pids),
            ready,
        ]
    }
}

fn ready(status: &NodeStatus) -> bool {
    status
        .conditions
        .iter()
        .flatten()
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Whether two statuses differ in more than their heartbeats.
fn changed(a: &NodeStatus, b: &NodeStatus) -> bool {
    let still = |s: &NodeStatus| {
        let mut s = s.clone();
        for c in s.conditions.iter_mut().flatten() {
            c.last_heartbeat_time = None;
        }
        s
    };
    still(a) != still(b)
}
