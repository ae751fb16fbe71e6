//! Which nodes may stand in front of a Service, and under which addresses.

use std::net::IpAddr;

use corten_client::object::MetaExt;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::nodes::is_ready;

/// Anything but a false here keeps load balancers away.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// The cluster autoscaler is about to remove the node.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";
/// What Go's `strconv.ParseBool` takes for false.
const FALSE: [&str; 6] = ["0", "f", "F", "FALSE", "false", "False"];

/// A node that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub name: String,
    /// Of each family the external ones, or the internal ones where it has none.
    pub addresses: Vec<IpAddr>,
    /// Where its kubelet listens.
    pub kubelet: Option<i32>,
}

/// None: traffic from outside is to be kept away from this node.
#[must_use]
pub fn place(node: &Node) -> Option<Place> {
    let excluded = node
        .metadata
        .label(EXCLUDED)
        .is_some_and(|is| !FALSE.contains(&is));
    let taints = node.spec.iter().flat_map(|s| s.taints.iter().flatten());
    let status = node.status.as_ref()?;
    let leaving = node.metadata.terminating() || taints.into_iter().any(|t| t.key == TO_BE_DELETED);
    if excluded || leaving || !is_ready(node) {
        return None;
    }
    let of_type = |kind: &str| -> Vec<IpAddr> {
        let all = status.addresses.iter().flatten().filter(|a| a.type_ == kind);
        all.filter_map(|a| a.address.parse().ok()).collect()
    };
    let (mut addresses, internal) = (of_type("ExternalIP"), of_type("InternalIP"));
    let fallback = internal
        .into_iter()
        .filter(|ip| !addresses.iter().any(|a| a.is_ipv4() == ip.is_ipv4()));
    let fallback: Vec<IpAddr> = fallback.collect();
    addresses.extend(fallback);
    let endpoints = status.daemon_endpoints.as_ref();
    Some(Place {
        name: node.metadata.name().into(),
        addresses,
        kubelet: endpoints
            .and_then(|e| e.kubelet_endpoint.as_ref())
            .map(|e| e.port),
    })
}

/// Whether only nodes with an endpoint of the Service lead to it.
#[must_use]
pub fn is_local(service: &Service) -> bool {
    let policy = service
        .spec
        .as_ref()
        .and_then(|s| s.external_traffic_policy.as_deref());
    policy == Some("Local")
}

/// The nodes of a slice's ready endpoints.
pub fn ready_on(slice: &EndpointSlice) -> impl Iterator<Item = String> {
    let ready = slice.endpoints.iter().flatten().filter(|e| {
        let conditions = e.conditions.as_ref();
        conditions.and_then(|c| c.ready).unwrap_or(true)
    });
    ready.filter_map(|e| e.node_name.clone())
}
