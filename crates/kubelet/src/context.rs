//! What every part of one node's agent shares.

use crate::cgroups::PodCgroups;
use crate::images::Images;
use crate::machine::{Event, NodeFacts};
use crate::pod::{Kind, PodExt};
use crate::thresholds::Limits;
use crate::volumes::Volumes;
use corten_client::events::{Level, Recorder};
use corten_client::{Caller, Informer};
use corten_runtime::cri::{DnsConfig, RuntimeService, Streaming};
use corten_stdx::SharedClock;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service};
use std::path::PathBuf;
use std::sync::Arc;

/// Facts and services; made once, read everywhere.
pub struct Context {
    pub node_name: String,
    pub facts: Arc<NodeFacts>,
    pub runtime: Arc<dyn RuntimeService>,
    pub streaming: Arc<dyn Streaming>,
    pub images: Images,
    pub volumes: Volumes,
    pub cgroups: PodCgroups,
    /// What pods may use of the node.
    pub allocatable: crate::quantity::Resources,
    pub services: Informer<Service>,
    pub caller: Caller,
    pub recorder: Recorder,
    pub clock: SharedClock,
    pub cluster_dns: Vec<String>,
    pub cluster_domain: String,
    /// The node's own resolver settings.
    pub host_dns: DnsConfig,
    /// Where container logs are.
    pub logs: PathBuf,
    pub limits: Limits,
    /// Where seccomp profiles of type Localhost are.
    pub seccomp: PathBuf,
}

impl Context {
    /// Records an event about a pod or one of its containers.
    pub fn record(&self, pod: &Pod, event: Event) {
        let reason = event.reason;
        self.record_as(pod, reason, event);
    }

    /// As [`Self::record`], for reasons that are made up of others.
    pub fn record_as(&self, pod: &Pod, reason: &str, event: Event) {
        let level = if event.warning {
            Level::Warning
        } else {
            Level::Normal
        };
        let about = reference(pod, event.container.as_deref());
        self.recorder.event(about, level, reason, event.message);
    }
}

fn reference(pod: &Pod, container: Option<&str>) -> ObjectReference {
    let field_path = container.and_then(|name| {
        let list = match pod.container(name)?.0 {
            Kind::Main => "containers",
            Kind::Init => "initContainers",
            Kind::Ephemeral => "ephemeralContainers",
        };
        Some(format!("spec.{list}{{{name}}}"))
    });
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some(pod.name().into()),
        namespace: Some(pod.namespace().into()),
        uid: Some(pod.uid().into()),
        resource_version: pod.metadata.resource_version.clone(),
        field_path,
    }
}
