//! A node with everything on it.

use super::pod::{PodInfo, tagged};
use super::resources::Resources;
use k8s_openapi::api::core::v1::{Node, Taint};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A port that a pod takes on its host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    pub port: i32,
    pub protocol: String,
    /// Empty and `0.0.0.0` stand for every address.
    pub ip: String,
}

impl HostPort {
    /// Whether both cannot be on one host.
    pub fn conflicts(&self, other: &Self) -> bool {
        let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
        self.port == other.port && self.protocol == other.protocol && (self.ip == other.ip || any(&self.ip) || any(&other.ip))
    }
}

/// One node: what it offers and what its pods (bound and assumed) take.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    pub name: String,
    /// False while only pods speak of it.
    pub known: bool,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub allocatable: Resources,
    pub images: HashMap<String, i64>,
    pub requested: Resources,
    pub non_zero: Resources,
    pub pods: BTreeMap<String, Arc<PodInfo>>,
}

impl NodeInfo {
    pub fn set_node(&mut self, node: &Node) {
        let (spec, status) = (node.spec.as_ref(), node.status.as_ref());
        self.name = node.metadata.name.clone().unwrap_or_default();
        self.known = true;
        self.labels = node.metadata.labels.clone().unwrap_or_default();
        self.taints = spec.and_then(|s| s.taints.clone()).unwrap_or_default();
        self.unschedulable = spec.and_then(|s| s.unschedulable).unwrap_or(false);
        self.allocatable = Resources::of(status.and_then(|s| s.allocatable.as_ref()));
        self.images = images(node);
    }

    pub fn add_pod(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.non_zero.add(&pod.non_zero);
        if let Some(old) = self.pods.insert(pod.uid.clone(), pod) {
            self.requested.subtract(&old.requests);
            self.non_zero.subtract(&old.non_zero);
        }
    }

    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let old = self.pods.remove(uid)?;
        self.requested.subtract(&old.requests);
        self.non_zero.subtract(&old.non_zero);
        Some(old)
    }
}

fn images(node: &Node) -> HashMap<String, i64> {
    let listed = node.status.as_ref().and_then(|s| s.images.as_ref());
    let mut images = HashMap::new();
    for image in listed.into_iter().flatten() {
        for name in image.names.iter().flatten() {
            images.insert(tagged(name), image.size_bytes.unwrap_or(0));
        }
    }
    images
}
