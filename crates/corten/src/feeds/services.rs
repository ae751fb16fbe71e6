//! Services with their EndpointSlices, and pods' host ports, as the service proxy wants them.

use super::dirty::Dirty;
use super::{health, host_ports, topology};
use corten_client::object::MetaExt;
use corten_client::{CancellationToken, Factory, Key, Lister};
use corten_net::proxy::{Endpoint, Protocol, Proxy, ServiceMap, ServicePort, ServicePortName, TrafficPolicy};
use k8s_openapi::api::core::v1::{Node as ApiNode, Pod, Service, ServicePort as ApiPort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint as ApiEndpoint, EndpointSlice};
use parking_lot::Mutex;
use std::collections::BTreeSet;
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
    /// Where it stands, as its label says; empty until it says.
    pub(crate) zone: String,
    /// Answered by this node itself (cluster DNS), so not to be translated.
    pub(crate) own_addresses: Vec<IpAddr>,
}

/// What has to be looked at again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Changed {
    Service(Key),
    Pod(Key),
    /// The node's own labels.
    Node,
}

/// Keeps the proxy at what the API says, until `stop`. `kubelet` reads this node's pods, which the proxy's own user
/// may not.
pub(crate) async fn run(
    factory: &Factory,
    kubelet: &Factory,
    mut node: Node,
    proxy: Proxy,
    stop: CancellationToken,
) {
    let (services, slices) = informers(factory);
    let pods = kubelet.filtered::<Pod>(&format!("fieldSelector=spec.nodeName%3D{}", node.name));
    let dirty = Dirty::new();
    let marks = dirty.clone();
    services.on_event(move |event| marks.mark(Changed::Service(Key::of(event.object().as_ref()))));
    let marks = dirty.clone();
    slices.on_event(move |event| {
        if let Some(key) = service_of(event.object()) {
            marks.mark(Changed::Service(key));
        }
    });
    let marks = dirty.clone();
    pods.on_event(move |event| marks.mark(Changed::Pod(Key::of(event.object().as_ref()))));
    let (marks, own, nodes) = (dirty.clone(), node.name.clone(), factory.informer::<ApiNode>());
    nodes.on_event(move |event| {
        if event.object().metadata.name() == own {
            marks.mark(Changed::Node);
        }
    });
    tokio::join!(services.synced(), slices.synced(), pods.synced());
    let proxy = Arc::new(Mutex::new(proxy));
    let mut map = ServiceMap::new();
    let mut health = health::Servers::default();
    loop {
        let changed = tokio::select! {
            () = stop.cancelled() => return,
            changed = dirty.take() => changed,
        };
        let mut different = false;
        for changed in changed {
            different |= match changed {
                Changed::Service(key) => {
                    refresh(&mut map, &key, &services, &slices, &node);
                    let port = services.get_key(&key).and_then(|service| health_port(&service));
                    health.set(&key, port, local_endpoints(&map, &key)).await;
                    true
                }
                Changed::Pod(key) => refresh_pod(&mut map, &key, &pods),
                Changed::Node => {
                    let zone = nodes.get("", &node.name).and_then(|n| zone_of(&n));
                    let moved = std::mem::replace(&mut node.zone, zone.unwrap_or_default());
                    if moved != node.zone {
                        let all = services.list();
                        all.iter()
                            .for_each(|s| dirty.mark(Changed::Service(Key::of(&**s))));
                    }
                    false
                }
            };
        }
        if !different {
            continue;
        }
        let (proxy, desired) = (Arc::clone(&proxy), map.clone());
        let applied = tokio::task::spawn_blocking(move || proxy.lock().apply(&desired)).await;
        health.set_healthy(matches!(applied, Ok(Ok(_))));
        match applied {
            Ok(Ok(applied)) => tracing::debug!(?applied, "services applied"),
            Ok(Err(error)) => {
                tracing::error!(%error, "the service rules could not be installed; the next change tries again")
            }
            Err(error) => tracing::error!(%error, "installing service rules panicked"),
        }
    }
}

fn zone_of(node: &ApiNode) -> Option<String> {
    node.metadata
        .label("topology.kubernetes.io/zone")
        .map(str::to_owned)
}

/// The shared informers of services and slices, with the index.
pub(crate) fn informers(factory: &Factory) -> (Lister<Service>, Lister<EndpointSlice>) {
    let slices = factory.informer::<EndpointSlice>();
    slices.add_index(BY_SERVICE, |slice| {
        service_of(slice).map(|key| key.to_string()).into_iter().collect()
    });
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

fn refresh(
    map: &mut ServiceMap,
    key: &Key,
    services: &Lister<Service>,
    slices: &Lister<EndpointSlice>,
    node: &Node,
) {
    let service = services.get_key(key);
    let ports = service
        .map(|service| ports(&service, &slices_of(slices, key), node))
        .unwrap_or_default();
    let named = |port| ServicePortName {
        namespace: key.ns().to_owned(),
        name: key.name().to_owned(),
        port,
    };
    let ports = ports
        .into_iter()
        .map(|(port, value)| (named(port), value))
        .collect();
    replace(map, key.ns(), key.name(), ports);
}

/// Whether anything came of it: most changes of pods say nothing to the proxy.
fn refresh_pod(map: &mut ServiceMap, key: &Key, pods: &Lister<Pod>) -> bool {
    let ports = pods
        .get_key(key)
        .map(|pod| host_ports::of_pod(&pod))
        .unwrap_or_default();
    replace(map, key.ns(), &host_ports::name_of(key.name()), ports)
}

/// Only where a node without endpoints serves nobody.
fn health_port(service: &Service) -> Option<u16> {
    let spec = service.spec.as_ref()?;
    let local = spec.type_.as_deref() == Some("LoadBalancer")
        && policy(spec.external_traffic_policy.as_deref()) == TrafficPolicy::Local;
    let port = spec
        .health_check_node_port
        .and_then(|port| u16::try_from(port).ok());
    port.filter(|port| local && *port > 0)
}

/// Addresses on this node that are ready on some port of the service.
fn local_endpoints(map: &ServiceMap, key: &Key) -> usize {
    let first = ServicePortName {
        namespace: key.ns().to_owned(),
        name: key.name().to_owned(),
        port: String::new(),
    };
    let ports = map
        .range(first..)
        .take_while(|(name, _)| name.namespace == key.ns() && name.name == key.name());
    let ready = ports.flat_map(|(_, port)| port.endpoints.iter().filter(|e| e.local && e.ready));
    ready.map(|e| e.address).collect::<BTreeSet<_>>().len()
}

/// Puts the ports of one service in place of those it had; whether it had any or has.
fn replace(
    map: &mut ServiceMap,
    namespace: &str,
    name: &str,
    ports: Vec<(ServicePortName, ServicePort)>,
) -> bool {
    let first = ServicePortName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        port: String::new(),
    };
    let ours = |found: &ServicePortName| found.namespace == namespace && found.name == name;
    let old: Vec<_> = map
        .range(first..)
        .map(|(name, _)| name.clone())
        .take_while(ours)
        .collect();
    for name in &old {
        map.remove(name);
    }
    let any = !(old.is_empty() && ports.is_empty());
    map.extend(ports.into_iter().map(|(name, port)| (name, Arc::new(port))));
    any
}

/// Each port of a service with all that is behind it.
fn ports(service: &Service, slices: &[Arc<EndpointSlice>], node: &Node) -> Vec<(String, ServicePort)> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
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
            external_ips: spec
                .external_ips
                .iter()
                .flatten()
                .filter_map(|ip| ip.parse().ok())
                .collect(),
            load_balancer_ips: load_balancer_ips(service),
            source_ranges: spec
                .load_balancer_source_ranges
                .iter()
                .flatten()
                .filter_map(|range| range.trim().parse().ok())
                .collect(),
            port: u16::try_from(port.port).ok()?,
            node_port: port
                .node_port
                .and_then(|p| u16::try_from(p).ok())
                .filter(|p| *p > 0),
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

/// Those that the balancer does not answer itself.
fn load_balancer_ips(service: &Service) -> Vec<IpAddr> {
    let balancer = service
        .status
        .as_ref()
        .and_then(|s| s.load_balancer.as_ref())
        .and_then(|b| b.ingress.as_ref());
    let through_proxy = balancer
        .into_iter()
        .flatten()
        .filter(|i| i.ip_mode.as_deref() == Some("Proxy"));
    let skipped: Vec<&String> = through_proxy.filter_map(|i| i.ip.as_ref()).collect();
    let balanced = balancer
        .into_iter()
        .flatten()
        .filter_map(|i| i.ip.as_ref())
        .filter(|ip| !skipped.contains(ip));
    balanced.filter_map(|ip| ip.parse().ok()).collect()
}

fn affinity(spec: &ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let timeout = spec
        .session_affinity_config
        .as_ref()
        .and_then(|c| c.client_ip.as_ref())
        .and_then(|c| c.timeout_seconds);
    Some(
        timeout
            .and_then(|t| u32::try_from(t).ok())
            .unwrap_or(AFFINITY_TIMEOUT_S),
    )
}

fn policy(text: Option<&str>) -> TrafficPolicy {
    if text == Some("Local") {
        TrafficPolicy::Local
    } else {
        TrafficPolicy::Cluster
    }
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
    let families = ["IPv4", "IPv6"];
    let of_family = |family: &str| {
        let slices = slices.iter().filter(move |slice| slice.address_type == family);
        slices.collect::<Vec<_>>()
    };
    let place = topology::Place {
        node: &node.name,
        zone: &node.zone,
    };
    let mut found = Vec::new();
    for slices in families.map(of_family) {
        let on_port = |slice: &&Arc<EndpointSlice>| number(slice, port).is_some();
        let all = || slices.iter().copied().filter(on_port);
        let reach = topology::reach(all().flat_map(|s| s.endpoints.iter().flatten()), place);
        for slice in all() {
            let Some(number) = number(slice, port) else {
                continue;
            };
            for endpoint in slice.endpoints.iter().flatten() {
                let far = topology::is_ready(endpoint) && !reach.includes(endpoint, place);
                found.extend(of_endpoint(endpoint, number, far, node));
            }
        }
    }
    found
}

/// The number that a slice has for a service's port.
fn number(slice: &EndpointSlice, port: Option<&str>) -> Option<u16> {
    let mut named = slice
        .ports
        .iter()
        .flatten()
        .filter(|p| p.name.as_deref().unwrap_or_default() == port.unwrap_or_default());
    named.next().and_then(|p| u16::try_from(p.port?).ok())
}

fn of_endpoint(endpoint: &ApiEndpoint, port: u16, far: bool, node: &Node) -> Vec<Endpoint> {
    let conditions = endpoint.conditions.as_ref();
    let ready = topology::is_ready(endpoint);
    let addresses = endpoint
        .addresses
        .iter()
        .filter_map(|address| address.parse().ok());
    addresses
        .map(|address| Endpoint {
            address,
            port,
            ready,
            serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
            terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
            local: endpoint.node_name.as_deref() == Some(&node.name),
            far,
            node: endpoint.node_name.clone(),
        })
        .collect()
}
