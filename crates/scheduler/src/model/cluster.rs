//! All nodes, the pods on them, and what is assumed but not yet confirmed by a watch.

use super::node::NodeInfo;
use super::pod::PodInfo;
use super::terms::TermContext;
use k8s_openapi::api::core::v1::Node;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The scheduler's view. Nodes stand in the order of their names, so that a cycle's outcome does not depend on chance.
#[derive(Debug, Default)]
pub struct Cluster {
    nodes: BTreeMap<String, NodeInfo>,
    /// Node of each pod that is bound or assumed.
    placed: HashMap<String, String>,
    assumed: HashMap<String, Arc<PodInfo>>,
    /// Labels of each namespace.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Pods with required anti-affinity, by uid: the only ones that can forbid a node to others.
    guarded: HashMap<String, Arc<PodInfo>>,
    /// Pods that wait for victims of preemption to go, and the node each waits for.
    nominated: HashMap<String, (String, Arc<PodInfo>)>,
}

impl Cluster {
    pub fn set_node(&mut self, node: &Node) {
        let name = node.metadata.name.clone().unwrap_or_default();
        self.nodes.entry(name).or_default().set_node(node);
    }

    /// Its pods may be heard of a little longer than itself.
    pub fn remove_node(&mut self, name: &str) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        node.known = false;
        if node.pods.is_empty() {
            self.nodes.remove(name);
        }
    }

    /// A pod that has a node. Confirms an assumption, or moves the pod to where it really is.
    pub fn set_pod(&mut self, pod: Arc<PodInfo>) {
        self.assumed.remove(&pod.uid);
        if pod.is_finished() {
            self.remove_pod(&pod.uid);
        } else if let Some(node) = pod.node_name().map(str::to_owned) {
            self.place(pod, &node);
        }
    }

    pub fn remove_pod(&mut self, uid: &str) {
        self.assumed.remove(uid);
        self.nominated.remove(uid);
        self.guarded.remove(uid);
        let Some(name) = self.placed.remove(uid) else { return };
        let Some(node) = self.nodes.get_mut(&name) else { return };
        node.remove_pod(uid);
        if !node.known && node.pods.is_empty() {
            self.nodes.remove(&name);
        }
    }

    /// Counts the pod on the node from now on, before the API server has said so.
    pub fn assume(&mut self, pod: &Arc<PodInfo>, node: &str) {
        self.assumed.insert(pod.uid.clone(), Arc::clone(pod));
        self.place(Arc::clone(pod), node);
    }

    /// Keeps room on the node for a pod whose victims are going; `None` gives the room up.
    pub fn nominate(&mut self, pod: &Arc<PodInfo>, node: Option<&str>) {
        match node {
            Some(node) => self.nominated.insert(pod.uid.clone(), (node.to_owned(), Arc::clone(pod))),
            None => self.nominated.remove(&pod.uid),
        };
    }

    /// The node with those added that wait for it and are no less important than the pod; `None` where there are none.
    pub fn with_nominated(&self, node: &NodeInfo, pod: &PodInfo) -> Option<NodeInfo> {
        let waiting = self.nominated.values().filter(|(name, other)| {
            *name == node.name && other.uid != pod.uid && other.priority >= pod.priority && !self.is_placed(&other.uid)
        });
        let mut with: Option<NodeInfo> = None;
        for (_, other) in waiting {
            with.get_or_insert_with(|| node.clone()).add_pod(Arc::clone(other));
        }
        with
    }

    /// Takes an assumption back, unless it was confirmed meanwhile.
    pub fn forget(&mut self, uid: &str) {
        if self.assumed.contains_key(uid) {
            self.remove_pod(uid);
        }
    }

    pub fn is_placed(&self, uid: &str) -> bool {
        self.placed.contains_key(uid)
    }

    fn place(&mut self, pod: Arc<PodInfo>, node: &str) {
        if self.placed.get(&pod.uid).is_some_and(|old| old != node)
            && let Some(old) = self.placed.remove(&pod.uid)
            && let Some(info) = self.nodes.get_mut(&old)
        {
            info.remove_pod(&pod.uid);
        }
        if !pod.anti_affinity.is_empty() {
            self.guarded.insert(pod.uid.clone(), Arc::clone(&pod));
        }
        self.placed.insert(pod.uid.clone(), node.to_owned());
        let info = self.nodes.entry(node.to_owned()).or_default();
        if info.name.is_empty() {
            node.clone_into(&mut info.name);
        }
        info.add_pod(pod);
    }

    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(name).filter(|node| node.known)
    }

    /// Every node that exists.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().filter(|node| node.known)
    }

    pub fn node_count(&self) -> usize {
        self.nodes().count()
    }

    /// Pods with required anti-affinity and the node each is on.
    pub fn guarded(&self) -> impl Iterator<Item = (&Arc<PodInfo>, &NodeInfo)> {
        self.guarded.iter().filter_map(|(uid, pod)| Some((pod, self.nodes.get(self.placed.get(uid)?)?)))
    }

    pub fn terms(&self) -> TermContext<'_> {
        TermContext { namespaces: &self.namespaces }
    }
}
