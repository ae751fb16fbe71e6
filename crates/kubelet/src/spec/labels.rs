//! Labels and annotations on sandboxes and containers: upstream's names, so that any CRI tool, and a restarted
//! kubelet, knows what belongs to whom.

use crate::machine::view::{HASH, RESTART_COUNT};
use crate::pod::{PodExt, container_hash};
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use std::collections::BTreeMap;

pub const POD_NAME: &str = "io.kubernetes.pod.name";
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub const POD_UID: &str = "io.kubernetes.pod.uid";
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";

pub const DELETION_GRACE: &str = "io.kubernetes.pod.deletionGracePeriod";
pub const TERMINATION_GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
pub const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub const TERMINATION_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
pub const PRE_STOP: &str = "io.kubernetes.container.preStopHandler";
pub const PORTS: &str = "io.kubernetes.container.ports";

type Map = BTreeMap<String, String>;

fn pod_identity(pod: &Pod) -> Map {
    [
        (POD_NAME, pod.name()),
        (POD_NAMESPACE, pod.namespace()),
        (POD_UID, pod.uid()),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .collect()
}

pub fn sandbox_labels(pod: &Pod) -> Map {
    let mut labels = pod.metadata.labels.clone().unwrap_or_default();
    labels.extend(pod_identity(pod));
    labels
}

pub fn container_labels(pod: &Pod, c: &Container) -> Map {
    let mut labels = pod_identity(pod);
    labels.insert(CONTAINER_NAME.into(), c.name.clone());
    labels
}

pub fn container_annotations(pod: &Pod, c: &Container, restart_count: i32) -> Map {
    let mut a = Map::new();
    let mut put = |k: &str, v: String| a.insert(k.to_owned(), v);
    put(HASH, container_hash(c));
    put(RESTART_COUNT, restart_count.to_string());
    put(
        TERMINATION_PATH,
        c.termination_message_path.clone().unwrap_or_default(),
    );
    put(
        TERMINATION_POLICY,
        c.termination_message_policy.clone().unwrap_or_default(),
    );
    if let Some(s) = pod.metadata.deletion_grace_period_seconds {
        put(DELETION_GRACE, s.to_string());
    }
    if let Some(s) = pod.spec().termination_grace_period_seconds {
        put(TERMINATION_GRACE, s.to_string());
    }
    if let Some(hook) = c.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref())
        && let Ok(json) = serde_json::to_string(hook)
    {
        put(PRE_STOP, json);
    }
    if let Some(ports) = c.ports.as_ref().filter(|p| !p.is_empty())
        && let Ok(json) = serde_json::to_string(ports)
    {
        put(PORTS, json);
    }
    a
}

/// The pre-stop hook of a container whose pod is no longer known.
pub fn pre_stop(annotations: &Map) -> Option<LifecycleHandler> {
    serde_json::from_str(annotations.get(PRE_STOP)?).ok()
}
