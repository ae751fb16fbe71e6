//! What a pod asks for. All of it but a few fields is the same in all pods of a template, which share it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash};
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::core::v1::{
    Affinity, ContainerPort, PodSchedulingGate, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Deserialize;

use super::text::Text;
use crate::intern::Table;

static COMMON: LazyLock<Table<Common>> = LazyLock::new(Table::default);
static AFFINITIES: LazyLock<Table<Affinity>> = LazyLock::new(Table::default);

/// `spec` of a pod; fields that are not here are read through [`Common`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Wire")]
pub struct PodSpec {
    pub node_name: Option<Text>,
    pub hostname: Option<Box<str>>,
    /// Those of DaemonSets differ by the node they name.
    pub affinity: Option<Arc<Affinity>>,
    /// Those that are claims or make one.
    pub volumes: Box<[Volume]>,
    common: Arc<Common>,
}

/// The part of a `spec` that pods of a template share.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Common {
    pub containers: Vec<Container>,
    pub init_containers: Option<Vec<Container>>,
    pub active_deadline_seconds: Option<i64>,
    pub node_selector: Option<BTreeMap<String, String>>,
    pub overhead: Option<BTreeMap<String, Quantity>>,
    pub preemption_policy: Option<String>,
    pub priority: Option<i32>,
    pub priority_class_name: Option<String>,
    pub resources: Option<ResourceRequirements>,
    pub scheduler_name: Option<String>,
    pub scheduling_gates: Option<Vec<PodSchedulingGate>>,
    pub subdomain: Option<String>,
    pub tolerations: Option<Vec<Toleration>>,
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
}

impl Common {
    /// The ports of what runs for as long as the pod does: containers and sidecars.
    pub fn ports(&self) -> impl Iterator<Item = &ContainerPort> {
        let inits = self.init_containers.iter().flatten();
        let sidecars = inits.filter(|c| c.restart_policy.as_deref() == Some("Always"));
        let all = self.containers.iter().chain(sidecars);
        all.flat_map(|c| c.ports.iter().flatten())
    }
}

/// A container: its name, image, ports, resources and restart policy.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    pub name: String,
    pub image: Option<String>,
    pub ports: Option<Vec<ContainerPort>>,
    pub resources: Option<ResourceRequirements>,
    pub restart_policy: Option<String>,
}

/// A volume that is a claim, or makes one of the pod's name and its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    pub name: Box<str>,
    claim: Option<Box<str>>,
}

impl Volume {
    /// The name of the claim, which is in the pod's namespace.
    #[must_use]
    pub fn claim(&self, pod: &str) -> String {
        match &self.claim {
            Some(claim) => claim.to_string(),
            None => format!("{pod}-{}", self.name),
        }
    }
}

impl Deref for PodSpec {
    type Target = Common;
    fn deref(&self) -> &Common {
        &self.common
    }
}

impl PartialEq for PodSpec {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &Option<Arc<Affinity>>, b: &Option<Arc<Affinity>>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
            (a, b) => a.is_none() && b.is_none(),
        };
        (Arc::ptr_eq(&self.common, &other.common) || self.common == other.common)
            && same(&self.affinity, &other.affinity)
            && self.node_name == other.node_name
            && self.hostname == other.hostname
            && self.volumes == other.volumes
    }
}

impl PodSpec {
    /// The same pointer for all pods that share what they ask for.
    #[must_use]
    pub fn common(&self) -> &Arc<Common> {
        &self.common
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    node_name: Option<Text>,
    hostname: Option<Box<str>>,
    affinity: Option<Affinity>,
    volumes: Option<Vec<WireVolume>>,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
    active_deadline_seconds: Option<i64>,
    node_selector: Option<BTreeMap<String, String>>,
    overhead: Option<BTreeMap<String, Quantity>>,
    preemption_policy: Option<String>,
    priority: Option<i32>,
    priority_class_name: Option<String>,
    resources: Option<ResourceRequirements>,
    scheduler_name: Option<String>,
    scheduling_gates: Option<Vec<PodSchedulingGate>>,
    subdomain: Option<String>,
    tolerations: Option<Vec<Toleration>>,
    topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireVolume {
    name: Box<str>,
    persistent_volume_claim: Option<Claim>,
    ephemeral: Option<serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Claim {
    claim_name: Box<str>,
}

fn claimed(volume: WireVolume) -> Option<Volume> {
    let claim = volume.persistent_volume_claim.map(|claim| claim.claim_name);
    (claim.is_some() || volume.ephemeral.is_some()).then_some(Volume {
        name: volume.name,
        claim,
    })
}

/// What templates most often differ in; the rest is compared.
fn fingerprint(common: &Common, hasher: &mut DefaultHasher) {
    let containers = common
        .containers
        .iter()
        .chain(common.init_containers.iter().flatten());
    for container in containers {
        (&container.name, &container.image).hash(hasher);
        let lists = container.resources.iter().flat_map(|r| [&r.requests, &r.limits]);
        for (name, amount) in lists.flatten().flatten() {
            (name, &amount.0).hash(hasher);
        }
        for port in container.ports.iter().flatten() {
            (port.container_port, port.host_port).hash(hasher);
        }
    }
    common.node_selector.hash(hasher);
    (common.priority, &common.scheduler_name, &common.subdomain).hash(hasher);
    for toleration in common.tolerations.iter().flatten() {
        (&toleration.key, &toleration.value).hash(hasher);
    }
}

fn shared(affinity: Affinity) -> Arc<Affinity> {
    AFFINITIES.share(affinity, |affinity, hasher| format!("{affinity:?}").hash(hasher))
}

impl From<Wire> for PodSpec {
    fn from(wire: Wire) -> Self {
        let common = Common {
            containers: wire.containers.unwrap_or_default(),
            init_containers: wire.init_containers,
            active_deadline_seconds: wire.active_deadline_seconds,
            node_selector: wire.node_selector,
            overhead: wire.overhead,
            preemption_policy: wire.preemption_policy,
            priority: wire.priority,
            priority_class_name: wire.priority_class_name,
            resources: wire.resources,
            scheduler_name: wire.scheduler_name,
            scheduling_gates: wire.scheduling_gates,
            subdomain: wire.subdomain,
            tolerations: wire.tolerations,
            topology_spread_constraints: wire.topology_spread_constraints,
        };
        Self {
            node_name: wire.node_name,
            hostname: wire.hostname,
            affinity: wire.affinity.map(shared),
            volumes: wire.volumes.into_iter().flatten().filter_map(claimed).collect(),
            common: COMMON.share(common, fingerprint),
        }
    }
}
