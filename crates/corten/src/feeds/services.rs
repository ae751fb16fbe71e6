//! Services and their EndpointSlices, as the service proxy wants them.

use super::dirty::Dirty;
use corten_client::{CancellationToken, Factory, Key, Lister};
use corten_net::proxy::{Endpoint, Protocol, Proxy, ServiceMap, ServicePort, ServicePortName, TrafficPolicy};
use k8s_openapi::api::core::v1::{Service, ServicePort as ApiPort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint as ApiEndpoint, EndpointSlice};
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;

const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// The informer index of slices by their service.
const BY_SERVICE: &str = "service";
/// Upstream's default for `sessionAffinityConfig.clientIP.timeoutSeconds`.
const AFFINITY_TIMEOUT_S: u32 = 10_800;

/// What belongs to this node.
pub(crate) struct Node {
    pub(crate) name: String,
    /// Answered by this node itself (cluster DNS), so not to be translated.
    pub(crate) own_addresses: Vec<IpAddr>,
}

/// Keeps the proxy at what the API says, until `stop`.
pub(crate) async fn run(factory: &Factory, node: Node, proxy: Proxy, stop: CancellationToken) {
    let (services, slices) = informers(factory);
    let dirty = Dirty::new();
    let marks = dirty.clone();
    services.on_event(move |event| marks.mark(Key::of(event.object().as_ref())));
    let marks = dirty.clone();
    slices.on_event(move |event| {
        if let Some(key) = service_of(event.object()) {
            marks.mark(key);
        }
    });
    tokio::join!(services.synced(), slices.synced());
    let proxy = Arc::new(Mutex::new(proxy));
    let mut map = ServiceMap::new();
    loop {
        let changed = tokio::select! {
            () = stop.cancelled() => return,
            changed = dirty.take() => changed,
        };
        for key in changed {
            refresh(&mut map, &key, &services, &slices, &node);
        }
        let (proxy, desired) = (Arc::clone(&proxy), map.clone());
        let applied = tokio::task::spawn_blocking(move || proxy.lock().apply(&desired)).await;
        match applied {
            Ok(Ok(applied)) => tracing::debug!(?applied, "services applied"),
            Ok(Err(error)) => tracing::error!(%error, "the service rules could not be installed; the next change tries again"),
            Err(error) => tracing::error!(%error, "installing service rules panicked"),
        }
    }
}

/// The shared informers of services and slices, with the index.
pub(crate) fn informers(factory: &Factory) -> (Lister<Service>, Lister<EndpointSlice>) {
    let slices = factory.informer::<EndpointSlice>();
    slices.add_index(BY_SERVICE, |slice| service_of(slice).map(|key| key.to_string()).into_iter().collect());
    (factory.informer(), slices)
}

/// The slices of a service.
pub(crate) fn slices_of(slices: &Lister<EndpointSlice>, key: &Key) -> Vec<Arc<EndpointSlice>> {
    slices.indexed(BY_SERVICE, &key.to_string())
}

pub(crate) fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_LABEL)?;
    Some(Key::new(slice.metadata.namespace.as_deref()?, name))
}

fn refresh(map: &mut ServiceMap, key: &Key, services: &Lister<Service>, slices: &Lister<EndpointSlice>, node: &Node) {
    let first = ServicePortName { namespace: key.ns().to_owned(), name: key.name().to_owned(), port: String::new() };
    let ours = |name: &ServicePortName| name.namespace == key.ns() && name.name == key.name();
    let old: Vec<_> = map.range(first..).map(|(name, _)| name.clone()).take_while(ours).collect();
    for name in &old {
        map.remove(name);
    }
    let Some(service) = services.get_key(key) else { return };
    for (port, value) in ports(&service, &slices_of(slices, key), node) {
        let name = ServicePortName { namespace: key.ns().to_owned(), name: key.name().to_owned(), port };
        map.insert(name, Arc::new(value));
    }
}

/// Each port of a service with all that is behind it.
fn ports(service: &Service, slices: &[Arc<EndpointSlice>], node: &Node) -> Vec<(String, ServicePort)> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let cluster_ips = cluster_ips(spec);
    if cluster_ips.is_empty() || spec.type_.as_deref() == Some("ExternalName") {
        return Vec::new();
    }
    if cluster_ips.iter().any(|ip| node.own_addresses.contains(ip)) {
        return Vec::new();
    }
    let of_port = |port: &ApiPort| {
        let value = ServicePort {
            cluster_ips: cluster_ips.clone(),
            external_ips: external_ips(service, spec),
            port: u16::try_from(port.port).ok()?,
            node_port: port.node_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0),
            protocol: protocol(port.protocol.as_deref())?,
            affinity_timeout_s: affinity(spec),
            internal_policy: policy(spec.internal_traffic_policy.as_deref()),
            external_policy: policy(spec.external_traffic_policy.as_deref()),
            endpoints: endpoints(port.name.as_deref(), slices, node),
        };
        Some((port.name.clone().unwrap_or_default(), value))
    };
    spec.ports.iter().flatten().filter_map(of_port).collect()
}

/// None for a headless service.
fn cluster_ips(spec: &ServiceSpec) -> Vec<IpAddr> {
    let listed = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    let mut ips: Vec<IpAddr> = listed.filter_map(|ip| ip.parse().ok()).collect();
    ips.sort_unstable();
    ips.dedup();
    ips
}

fn external_ips(service: &Service, spec: &ServiceSpec) -> Vec<IpAddr> {
    let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref()).and_then(|b| b.ingress.as_ref());
    let through_proxy = balancer.into_iter().flatten().filter(|i| i.ip_mode.as_deref() == Some("Proxy"));
    let skipped: Vec<&String> = through_proxy.filter_map(|i| i.ip.as_ref()).collect();
    let balanced = balancer.into_iter().flatten().filter_map(|i| i.ip.as_ref()).filter(|ip| !skipped.contains(ip));
    spec.external_ips.iter().flatten().chain(balanced).filter_map(|ip| ip.parse().ok()).collect()
}

fn affinity(spec: &ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let timeout = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref()).and_then(|c| c.timeout_seconds);
    Some(timeout.and_then(|t| u32::try_from(t).ok()).unwrap_or(AFFINITY_TIMEOUT_S))
}

fn policy(text: Option<&str>) -> TrafficPolicy {
    if text == Some("Local") { TrafficPolicy::Local } else { TrafficPolicy::Cluster }
}

pub(crate) fn protocol(text: Option<&str>) -> Option<Protocol> {
    match text.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

fn endpoints(port: Option<&str>, slices: &[Arc<EndpointSlice>], node: &Node) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4" || slice.address_type == "IPv6") {
        let mut named = slice.ports.iter().flatten().filter(|p| p.name.as_deref().unwrap_or_default() == port.unwrap_or_default());
        let Some(number) = named.next().and_then(|p| u16::try_from(p.port?).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            found.extend(of_endpoint(endpoint, number, node));
        }
    }
    found
}

fn of_endpoint(endpoint: &ApiEndpoint, port: u16, node: &Node) -> Vec<Endpoint> {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let addresses = endpoint.addresses.iter().filter_map(|address| address.parse().ok());
    addresses
        .map(|address| Endpoint {
            address,
            port,
            ready,
            serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
            terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
            local: endpoint.node_name.as_deref() == Some(&node.name),
            node: endpoint.node_name.clone(),
        })
        .collect()
}
