//! What became of a pod.

use std::hash::Hash;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;

use super::text::Text;
use crate::intern::Table;

static SAYINGS: LazyLock<Table<Saying>> = LazyLock::new(Table::default);

/// `status` of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Wire")]
pub struct PodStatus {
    pub phase: Option<Text>,
    pub conditions: Option<Box<[PodCondition]>>,
    pub container_statuses: Option<Box<[ContainerStatus]>>,
    pub init_container_statuses: Option<Box<[ContainerStatus]>>,
    /// `podIPs`, or `podIP` alone where the list is absent.
    pub ips: Box<[Box<str>]>,
    pub nominated_node_name: Option<Text>,
    pub start_time: Option<Time>,
}

/// A condition: what it says, which is the same for many pods, and since when.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "WireCondition")]
pub struct PodCondition {
    pub last_transition_time: Option<Time>,
    saying: Arc<Saying>,
}

/// A condition without its time.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Saying {
    pub type_: String,
    pub status: String,
    pub reason: Option<String>,
    pub message: Option<String>,
}

impl Deref for PodCondition {
    type Target = Saying;
    fn deref(&self) -> &Saying {
        &self.saying
    }
}

/// A container's name, restarts, and how it ended.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    pub name: Text,
    pub restart_count: i32,
    pub state: Option<ContainerState>,
}

/// Only the end is looked at.
#[derive(Debug, Clone, Deserialize)]
pub struct ContainerState {
    pub terminated: Option<Box<Terminated>>,
}

/// How a container ended.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terminated {
    #[serde(default)]
    pub exit_code: i32,
    pub finished_at: Option<Time>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    phase: Option<Text>,
    conditions: Option<Box<[PodCondition]>>,
    container_statuses: Option<Box<[ContainerStatus]>>,
    init_container_statuses: Option<Box<[ContainerStatus]>>,
    #[serde(rename = "podIP")]
    ip: Option<Box<str>>,
    #[serde(rename = "podIPs")]
    ips: Option<Vec<Address>>,
    nominated_node_name: Option<Text>,
    start_time: Option<Time>,
}

#[derive(Deserialize)]
struct Address {
    #[serde(default)]
    ip: Box<str>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
    last_transition_time: Option<Time>,
}

impl From<WireCondition> for PodCondition {
    fn from(wire: WireCondition) -> Self {
        let saying = Saying {
            type_: wire.type_,
            status: wire.status,
            reason: wire.reason,
            message: wire.message,
        };
        Self {
            last_transition_time: wire.last_transition_time,
            saying: SAYINGS.share(saying, |saying, hasher| saying.hash(hasher)),
        }
    }
}

impl From<Wire> for PodStatus {
    fn from(wire: Wire) -> Self {
        let ips = match wire.ips {
            Some(all) => all.into_iter().map(|address| address.ip).collect(),
            None => wire.ip.into_iter().collect(),
        };
        Self {
            phase: wire.phase,
            conditions: wire.conditions,
            container_statuses: wire.container_statuses,
            init_container_statuses: wire.init_container_statuses,
            ips,
            nominated_node_name: wire.nominated_node_name,
            start_time: wire.start_time,
        }
    }
}
