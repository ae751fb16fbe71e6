//! Which nodes a DaemonSet wants a pod on, and the pod for a node.

use corten_client::Pod;
use corten_client::object::{MetaExt, controller_ref};
use corten_client::placement::{selects, tolerates};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod as NewPod, PodSpec, Toleration,
};

use super::HASH_LABEL;
use crate::core::pod;

const GENERATION_LABEL: &str = "pod-template-generation";
/// Taints daemons do not mind: they are to run where others may not.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// Whether a pod should start on the node, and whether one that runs there may go on.
#[must_use]
pub fn wants(spec: &PodSpec, node: &Node) -> (bool, bool) {
    let named = spec
        .node_name
        .as_deref()
        .is_none_or(|n| n.is_empty() || n == node.metadata.name());
    if !named || !selects(spec, node.metadata.labels.as_ref(), node.metadata.name()) {
        return (false, false);
    }
    let tolerations = tolerations(spec);
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_ref());
    let untolerated = |effects: &[&str]| {
        let all = taints
            .into_iter()
            .flatten()
            .filter(|t| effects.contains(&t.effect.as_str()));
        all.into_iter()
            .any(|t| !tolerations.iter().any(|x| tolerates(x, t)))
    };
    (
        !untolerated(&["NoSchedule", "NoExecute"]),
        !untolerated(&["NoExecute"]),
    )
}

fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut all = spec.tolerations.clone().unwrap_or_default();
    let host = spec.host_network == Some(true);
    let network = host.then_some(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    for (key, effect) in TOLERATED.into_iter().chain(network) {
        let toleration = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        if !all.contains(&toleration) {
            all.push(toleration);
        }
    }
    all
}

/// The pod for one node: the scheduler may put it nowhere else.
#[must_use]
pub fn new_pod(set: &DaemonSet, node: &str, hash: &str, generation: i64) -> NewPod {
    let template = set.spec.clone().unwrap_or_default().template;
    let mut pod = pod::from_template(&template, set.metadata.ns(), controller_ref(set));
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(GENERATION_LABEL.into(), generation.to_string());
    labels.insert(HASH_LABEL.into(), hash.to_owned());
    let spec = pod.spec.get_or_insert_default();
    spec.tolerations = Some(tolerations(spec));
    let pin = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![node.to_owned()]),
    };
    let affinity = spec
        .affinity
        .get_or_insert_default()
        .node_affinity
        .get_or_insert_default();
    let term = NodeSelectorTerm {
        match_fields: Some(vec![pin]),
        match_expressions: None,
    };
    // What the template asks of nodes was checked when the node was chosen.
    affinity.required_during_scheduling_ignored_during_execution = Some(NodeSelector {
        node_selector_terms: vec![term],
    });
    pod
}

/// The node a pod is on, or is meant for while it waits to be bound.
#[must_use]
pub fn target(object: &Pod) -> Option<String> {
    let spec = object.spec.as_ref()?;
    if let Some(node) = spec.node_name.as_ref().filter(|n| !n.is_empty()) {
        return Some(node.to_string());
    }
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    let fields = required
        .node_selector_terms
        .iter()
        .flat_map(|t| t.match_fields.iter().flatten());
    fields
        .into_iter()
        .find(|f| f.key == "metadata.name")?
        .values
        .as_ref()?
        .first()
        .cloned()
}
