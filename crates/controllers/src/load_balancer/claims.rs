//! Who gets which port of which address. A Service gets all its ports on all its addresses or waits: the oldest first,
//! and never a port that the node itself needs.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use corten_client::Key;
use corten_client::object::MetaExt;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::jiff::Timestamp;

use super::nodes::Place;
use super::plan::wants;

/// SSH: whoever locks himself out of a machine cannot take the Service away again.
const SSH: i32 = 22;

/// The addresses a Service gets, or what is in its way.
pub type Outcome = Result<Vec<IpAddr>, String>;

/// A Service that wants ports of nodes.
pub struct Contender {
    pub service: Arc<Service>,
    /// The nodes that may be used; all where it is none.
    pub ready_on: Option<BTreeSet<String>>,
}

/// What is there without load balancers.
#[derive(Default)]
pub struct Ground {
    pub nodes: Vec<Place>,
    /// Where API servers listen.
    pub api_ports: BTreeSet<i32>,
    /// Services with node ports or external addresses among the ports in question.
    pub holders: Vec<Arc<Service>>,
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

fn ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    service.spec.iter().flat_map(|s| s.ports.iter().flatten())
}

fn named(port: &ServicePort) -> String {
    format!("{}/{}", port.port, protocol(port))
}

/// The ports that a Service wants of nodes, as `80/TCP`; none if it wants no balancer or is going away.
#[must_use]
pub fn wanted(service: &Service) -> Vec<String> {
    if !wants(service) || service.metadata.terminating() {
        return Vec::new();
    }
    ports(service).map(named).collect()
}

/// The ports that a Service has on nodes without a balancer, as `30080/TCP`: node ports, and those of external addresses.
#[must_use]
pub fn held(service: &Service) -> Vec<String> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let external = spec.external_ips.iter().flatten().next().is_some();
    let of_port = |p: &ServicePort| {
        let numbers = [p.node_port, external.then_some(p.port)];
        let held = numbers.into_iter().flatten().filter(|n| *n > 0);
        held.map(|n| format!("{n}/{}", protocol(p))).collect::<Vec<_>>()
    };
    let health = spec
        .health_check_node_port
        .filter(|n| *n > 0)
        .map(|n| format!("{n}/TCP"));
    ports(service).flat_map(of_port).chain(health).collect()
}

/// What `service`, one of the contenders, gets.
pub fn decide(service: &Service, mut contenders: Vec<Contender>, ground: &Ground) -> Outcome {
    contenders.sort_by_cached_key(|c| age(&c.service));
    let mut taken: HashMap<(IpAddr, String), Key> = HashMap::new();
    for contender in contenders {
        let outcome = one(&contender, &taken, ground);
        let key = Key::of(&*contender.service);
        if key == Key::of(service) {
            return outcome;
        }
        for address in outcome.unwrap_or_default() {
            let ports = wanted(&contender.service).into_iter();
            taken.extend(ports.map(|port| ((address, port), key.clone())));
        }
    }
    Ok(Vec::new())
}

fn age(service: &Service) -> (Option<Timestamp>, String) {
    let meta = &service.metadata;
    (
        meta.creation_timestamp.as_ref().map(|t| t.0),
        Key::of(service).to_string(),
    )
}

fn one(contender: &Contender, taken: &HashMap<(IpAddr, String), Key>, ground: &Ground) -> Outcome {
    let addresses = addresses(contender, &ground.nodes)?;
    for address in &addresses {
        for port in ports(&contender.service) {
            free(&contender.service, *address, port, ground)?;
            if let Some(key) = taken.get(&(*address, named(port))) {
                return Err(is_taken(port, *address, key));
            }
        }
    }
    Ok(addresses)
}

/// By family as the Service lists them, then in order.
fn addresses(contender: &Contender, nodes: &[Place]) -> Outcome {
    let Some(spec) = &contender.service.spec else {
        return Ok(Vec::new());
    };
    let usable = nodes
        .iter()
        .filter(|n| contender.ready_on.as_ref().is_none_or(|on| on.contains(&n.name)));
    let all: BTreeSet<IpAddr> = usable.flat_map(|n| n.addresses.iter().copied()).collect();
    let v4 = vec!["IPv4".to_owned()];
    let families = spec.ip_families.as_ref().filter(|f| !f.is_empty()).unwrap_or(&v4);
    let of_family = |family: &String| {
        all.iter()
            .filter(|a| a.is_ipv4() == (family == "IPv4"))
            .collect::<Vec<_>>()
    };
    let found: Vec<IpAddr> = families.iter().flat_map(of_family).copied().collect();
    match spec.load_balancer_ip.as_deref().filter(|ip| !ip.is_empty()) {
        None => Ok(found),
        Some(ip) => match found.into_iter().find(|a| ip.parse() == Ok(*a)) {
            Some(address) => Ok(vec![address]),
            None => Err(format!(
                "loadBalancerIP {ip} is not an address of an available node"
            )),
        },
    }
}

fn is_taken(port: &ServicePort, address: IpAddr, by: &Key) -> String {
    format!("port {} of {address} is taken by Service {by}", named(port))
}

/// Whether neither the node nor a Service without balancer has this port of the address.
fn free(service: &Service, address: IpAddr, port: &ServicePort, ground: &Ground) -> Result<(), String> {
    let (number, protocol) = (port.port, protocol(port));
    if protocol == "TCP" {
        let kubelets = |n: &Place| n.addresses.contains(&address) && n.kubelet == Some(number);
        let owner = match number {
            SSH => "SSH server",
            _ if ground.api_ports.contains(&number) => "API server",
            _ if ground.nodes.iter().any(kubelets) => "kubelet",
            _ => "",
        };
        if !owner.is_empty() {
            let port = named(port);
            return Err(format!("port {port} of {address} is kept for the node's {owner}"));
        }
    }
    for holder in ground
        .holders
        .iter()
        .filter(|h| Key::of(&***h) != Key::of(service))
    {
        let spec = holder.spec.as_ref();
        let external = spec.iter().flat_map(|s| s.external_ips.iter().flatten());
        let own = |p: &ServicePort| p.port == number && self::protocol(p) == protocol;
        let outside = external.into_iter().any(|ip| ip.parse() == Ok(address)) && ports(holder).any(own);
        let node_port = |p: &ServicePort| p.node_port == Some(number) && self::protocol(p) == protocol;
        let health = protocol == "TCP" && spec.and_then(|s| s.health_check_node_port) == Some(number);
        if outside || health || ports(holder).any(node_port) {
            return Err(is_taken(port, address, &Key::of(&**holder)));
        }
    }
    Ok(())
}
