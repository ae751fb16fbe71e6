//! From a service to its front ends: what each address and port that clients use must look like in the maps.

use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr};

use super::kind::{Kind, List, MAX_BACKENDS};
use super::model::{Backend, Chosen, ServicePort, TrafficPolicy, choose};

/// What a client connects to. A node port has address 0.0.0.0 and means every local address of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub ip: Ipv4Addr,
    pub protocol: u8,
    pub port: u16,
}

impl Key {
    pub fn is_node_port(&self) -> bool {
        self.ip.is_unspecified()
    }

    /// The chain that lets allowed sources through to this key.
    pub fn firewall_chain(&self) -> String {
        format!("allow-{}-{}-{}", self.ip, self.protocol, self.port)
    }

    /// As the packet path builds it in three registers.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.ip.octets().to_vec();
        bytes.extend_from_slice(&[self.protocol, 0, 0, 0]);
        bytes.extend_from_slice(&self.port.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes
    }
}

/// What the maps say about one key. `main` serves connections from this node and its pods, and all others where
/// the policy is Cluster; `local` serves the others where it is Local.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Front {
    pub main: Vec<Backend>,
    pub local: Vec<Backend>,
    /// Kind for connections from this node and its pods.
    pub inside: Option<Kind>,
    /// Kind for connections from elsewhere. Cluster IPs have none: `inside` serves both.
    pub outside: Option<Kind>,
    /// Only connections from here are served, others get no answer; empty for all.
    pub sources: Vec<Ipv4Net>,
    /// No endpoint anywhere: refuse. (Cluster IPs need no entry, their whole range refuses.)
    pub refuse: bool,
}

/// All front ends of a service port. Addresses that are not IPv4 are left out.
pub fn fronts(service: &ServicePort) -> Vec<(Key, Front)> {
    let chosen = choose(&service.endpoints);
    let key = |ip, port| Key {
        ip,
        protocol: service.protocol.number(),
        port,
    };
    let mut out = Vec::new();
    for ip in service.cluster_ips.iter().filter_map(v4) {
        if let Some(front) = cluster_front(service, &chosen) {
            out.push((key(ip, service.port), front));
        }
    }
    for ip in service.external_ips.iter().filter_map(v4) {
        out.push((key(ip, service.port), external_front(service, &chosen, false)));
    }
    for ip in service.load_balancer_ips.iter().filter_map(v4) {
        let mut front = external_front(service, &chosen, false);
        front.sources = sources(&service.source_ranges);
        out.push((key(ip, service.port), front));
    }
    if let Some(port) = service.node_port {
        out.push((
            key(Ipv4Addr::UNSPECIFIED, port),
            external_front(service, &chosen, true),
        ));
    }
    out
}

/// Ranges of the other family say nothing here; one that holds every address, nothing at all.
fn sources(ranges: &[IpNet]) -> Vec<Ipv4Net> {
    let mut sources: Vec<Ipv4Net> = ranges
        .iter()
        .filter_map(|range| match range {
            IpNet::V4(range) => Some(range.trunc()),
            IpNet::V6(_) => None,
        })
        .collect();
    if sources.iter().any(|range| range.prefix_len() == 0) {
        return Vec::new();
    }
    sources.sort_unstable();
    sources.dedup();
    sources
}

fn v4(ip: &IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    }
}

fn cluster_front(service: &ServicePort, chosen: &Chosen) -> Option<Front> {
    if !chosen.any {
        return None;
    }
    let list = match service.internal_policy {
        TrafficPolicy::Cluster => &chosen.cluster,
        TrafficPolicy::Local => &chosen.local,
    };
    let main = bounded(list);
    let inside = Some(kind(List::Main, false, false, main.len(), service));
    Some(Front {
        main,
        inside,
        ..Front::default()
    })
}

fn external_front(service: &ServicePort, chosen: &Chosen, node_port: bool) -> Front {
    if !chosen.any {
        return Front {
            refuse: true,
            ..Front::default()
        };
    }
    let main = bounded(&chosen.cluster);
    let inside = Some(kind(List::Main, false, node_port, main.len(), service));
    match service.external_policy {
        TrafficPolicy::Cluster => {
            let outside = Some(kind(List::Main, true, node_port, main.len(), service));
            Front {
                main,
                inside,
                outside,
                ..Front::default()
            }
        }
        TrafficPolicy::Local => {
            let local = bounded(&chosen.local);
            let outside = Some(kind(List::Local, false, node_port, local.len(), service));
            Front {
                main,
                local,
                inside,
                outside,
                ..Front::default()
            }
        }
    }
}

fn bounded(list: &[Backend]) -> Vec<Backend> {
    list[..list.len().min(MAX_BACKENDS)].to_vec()
}

fn kind(list: List, masquerade: bool, node_port: bool, count: usize, service: &ServicePort) -> Kind {
    if count == 0 {
        return Kind::Drop;
    }
    let affinity_timeout_s = service.affinity_timeout_s.map(|s| s.clamp(1, 86_400));
    Kind::Balance {
        list,
        masquerade,
        node_port,
        count: count as u32,
        affinity_timeout_s,
    }
}

/// Places wanted backends so that as many as possible keep their number: one endpoint that goes changes one or
/// two map elements, not all that sort after it.
pub fn keep_places(old: &[Backend], wanted: &[Backend]) -> Vec<Backend> {
    let kept = |i: usize| old.get(i).copied().filter(|b| wanted.binary_search(b).is_ok());
    let mut placed: Vec<Option<Backend>> = (0..wanted.len()).map(kept).collect();
    let mut present: Vec<Backend> = placed.iter().flatten().copied().collect();
    present.sort_unstable();
    let mut missing = wanted.iter().filter(|b| present.binary_search(b).is_err());
    for slot in placed.iter_mut().filter(|slot| slot.is_none()) {
        *slot = missing.next().copied();
    }
    placed.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn backends(last: &[u8]) -> Vec<Backend> {
        last.iter()
            .map(|n| Backend {
                ip: Ipv4Addr::new(10, 244, 0, *n),
                port: 80,
            })
            .collect()
    }

    #[test]
    fn backends_keep_their_places() {
        let check = |old: &[u8], wanted: &[u8], expected: &[u8]| {
            assert_eq!(keep_places(&backends(old), &backends(wanted)), backends(expected));
        };
        check(&[], &[1, 2, 3], &[1, 2, 3]);
        check(&[1, 2, 3, 4], &[2, 3, 4], &[4, 2, 3]);
        check(&[4, 2, 3], &[2, 3, 4, 9], &[4, 2, 3, 9]);
        check(&[1, 2], &[3, 4], &[3, 4]);
        check(&[1, 2, 3], &[2], &[2]);
        check(&[1, 2], &[], &[]);
    }
}
