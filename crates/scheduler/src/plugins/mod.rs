//! The plugins, by upstream's names. Filters tell why a node does not do, scores how well it does.

pub mod affinity;
pub mod fit;
pub mod inter_pod;
pub mod score;
pub mod spread;
pub mod taints;

use crate::pod_info::PodInfo;
use crate::snapshot::Snapshot;

/// A plugin that can refuse a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plugin {
    NodeUnschedulable,
    NodeName,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    NodeResourcesFit,
    VolumeBinding,
    PodTopologySpread,
    InterPodAffinity,
    SchedulingGates,
}

/// Why a pod cannot go to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub plugin: Plugin,
    pub reasons: Vec<String>,
    /// Whether it could be helped by removing pods.
    pub preemptable: bool,
}

impl Refusal {
    #[must_use]
    pub fn new(plugin: Plugin, reason: &str, preemptable: bool) -> Self {
        Self {
            plugin,
            reasons: vec![reason.to_owned()],
            preemptable,
        }
    }
}

/// The filters that look at one node only, in upstream's order; the first that refuses speaks.
///
/// # Errors
/// With why the pod does not fit.
pub fn filter_local(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> Result<(), Refusal> {
    taints::unschedulable(snapshot, pod, place)?;
    affinity::node_name(snapshot, pod, place)?;
    taints::filter(snapshot, pod, place)?;
    affinity::filter(snapshot, pod, place)?;
    fit::ports(snapshot, pod, place)?;
    fit::resources(snapshot, pod, place)
}
