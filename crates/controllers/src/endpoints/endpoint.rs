//! Pods as endpoints of a Service.

use std::sync::Arc;

use corten_client::Pod;
use corten_client::object::MetaExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForNode, ForZone,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::core::pod::{self, node};

/// The families of addresses a slice can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressType {
    IPv4,
    IPv6,
}

impl AddressType {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
        }
    }
    fn holds(self, address: &str) -> bool {
        (self == Self::IPv6) == address.contains(':')
    }
}

/// One pod that serves a Service, in one address family.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    pub family: AddressType,
    pub endpoint: Endpoint,
    pub ports: Vec<EndpointPort>,
    /// When its readiness last changed.
    pub changed: Option<Timestamp>,
}

/// The families a Service has; one from before dual-stack has that of its address.
#[must_use]
pub fn families(spec: &ServiceSpec) -> Vec<AddressType> {
    let parse = |f: &String| {
        if f == "IPv6" {
            AddressType::IPv6
        } else {
            AddressType::IPv4
        }
    };
    match spec.ip_families.as_deref() {
        Some([]) | None if spec.cluster_ip.as_deref().is_some_and(|ip| ip.contains(':')) => {
            vec![AddressType::IPv6]
        }
        Some([]) | None => vec![AddressType::IPv4],
        Some(families) => families.iter().map(parse).collect(),
    }
}

/// The endpoints of a Service. `pods` are those it selects; `zone` tells that of a node.
pub fn backends(service: &Service, pods: &[Arc<Pod>], zone: impl Fn(&str) -> Option<String>) -> Vec<Backend> {
    let spec = service.spec.clone().unwrap_or_default();
    let mut all = Vec::new();
    for family in families(&spec) {
        for pod in pods {
            let addresses = addresses(pod, family);
            if addresses.is_empty() {
                continue;
            }
            all.push(Backend {
                family,
                endpoint: endpoint(&spec, service, pod, addresses, &zone),
                ports: ports(&spec, pod),
                changed: pod::condition(pod, "Ready").and_then(|c| Some(c.last_transition_time.as_ref()?.0)),
            });
        }
    }
    all
}

fn addresses(pod: &Pod, family: AddressType) -> Vec<String> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let all = status.ips.iter();
    all.filter(|ip| !ip.is_empty() && family.holds(ip))
        .map(|ip| ip.to_string())
        .collect()
}

fn endpoint(
    spec: &ServiceSpec,
    service: &Service,
    pod: &Pod,
    addresses: Vec<String>,
    zone: &impl Fn(&str) -> Option<String>,
) -> Endpoint {
    let (serving, terminating) = (pod::is_ready(pod), pod.metadata.terminating());
    let ready = spec.publish_not_ready_addresses == Some(true) || (serving && !terminating);
    let pod_spec = pod.spec.clone().unwrap_or_default();
    let named = pod_spec.subdomain.as_deref() == Some(service.metadata.name());
    let (node_name, zone) = (node_of(pod), zone(node(pod)));
    let hints = ready
        .then(|| hints(service, zone.as_deref(), node_name.as_deref()))
        .flatten();
    Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: pod_spec
            .hostname
            .filter(|h| named && !h.is_empty())
            .map(String::from),
        node_name,
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            namespace: Some(pod.metadata.ns().into()),
            name: Some(pod.metadata.name().into()),
            uid: Some(pod.metadata.uid().into()),
            ..ObjectReference::default()
        }),
        zone,
        hints,
        ..Endpoint::default()
    }
}

fn node_of(pod: &Pod) -> Option<String> {
    Some(node(pod).to_owned()).filter(|n| !n.is_empty())
}

/// For whom a ready endpoint is meant, if the Service wants its traffic kept near (KEP-4444, KEP-3015). The older
/// annotation, where it is set, goes first.
fn hints(service: &Service, zone: Option<&str>, node: Option<&str>) -> Option<EndpointHints> {
    let wanted = service
        .spec
        .as_ref()
        .and_then(|s| s.traffic_distribution.as_deref())?;
    let same_node = wanted == "PreferSameNode";
    let near = same_node || matches!(wanted, "PreferClose" | "PreferSameZone");
    if !near || by_annotation(service) {
        return None;
    }
    let for_zones = zone.map(|name| vec![ForZone { name: name.into() }]);
    let for_nodes = node
        .filter(|_| same_node)
        .map(|name| vec![ForNode { name: name.into() }]);
    let any = for_zones.is_some() || for_nodes.is_some();
    any.then_some(EndpointHints { for_zones, for_nodes })
}

/// Whether a Service wants its hints by the processors of zones.
pub fn by_annotation(service: &Service) -> bool {
    let annotation = |key: &str| service.metadata.annotation(key);
    annotation("service.kubernetes.io/topology-aware-hints")
        .or_else(|| annotation("service.kubernetes.io/topology-mode"))
        .is_some_and(|mode| mode == "Auto" || mode == "auto")
}

fn ports(spec: &ServiceSpec, pod: &Pod) -> Vec<EndpointPort> {
    let ports = spec.ports.iter().flatten();
    ports
        .filter_map(|port| {
            Some(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(target_port(port, pod)?),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

/// The number of the port a Service port leads to in this pod.
fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let mut all = pod.spec.as_ref()?.ports();
    let named =
        all.find(|p| p.name.as_ref() == Some(name) && p.protocol.as_deref().unwrap_or("TCP") == protocol);
    named.map(|p| p.container_port)
}

/// Whether a change of a pod can change an endpoint.
pub fn differs(old: &Pod, new: &Pod) -> bool {
    let ips = |p: &Pod| p.status.as_ref().map(|s| s.ips.clone());
    let name = |p: &Pod| p.spec.as_ref().map(|s| (s.hostname.clone(), s.subdomain.clone()));
    old.metadata.labels != new.metadata.labels
        || old.metadata.terminating() != new.metadata.terminating()
        || pod::is_ready(old) != pod::is_ready(new)
        || pod::is_finished(old) != pod::is_finished(new)
        || node(old) != node(new)
        || ips(old) != ips(new)
        || name(old) != name(new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn services_that_want_it_have_hints() {
        let service = |distribution: &str, annotations: serde_json::Value| -> Service {
            serde_json::from_value(json!({"metadata": {"name": "s", "annotations": annotations},
                "spec": {"trafficDistribution": distribution}}))
            .unwrap()
        };
        let hinted = |distribution: &str, zone, node| {
            let hints = hints(&service(distribution, json!({})), zone, node);
            serde_json::to_string(&hints).unwrap()
        };
        let zone = "{\"forZones\":[{\"name\":\"a\"}]}";
        assert_eq!(hinted("PreferClose", Some("a"), Some("n")), zone);
        assert_eq!(hinted("PreferSameZone", Some("a"), Some("n")), zone);
        assert_eq!(
            hinted("PreferSameNode", Some("a"), Some("n")),
            "{\"forNodes\":[{\"name\":\"n\"}],\"forZones\":[{\"name\":\"a\"}]}"
        );
        assert_eq!(hinted("PreferSameZone", None, Some("n")), "null");
        assert_eq!(hinted("Other", Some("a"), Some("n")), "null");
        let older = service(
            "PreferClose",
            json!({"service.kubernetes.io/topology-mode": "Auto"}),
        );
        assert_eq!(hints(&older, Some("a"), None), None);
    }
}
