//! The desired state: services as a proxy needs them. Built by whoever watches Services and EndpointSlices.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// All services of the cluster. A persistent map: cloning is free, and comparing it with an older clone of itself
/// costs as much as what changed in between.
pub type ServiceMap = imbl::OrdMap<ServicePortName, Arc<ServicePort>>;

/// One port of one service; `port` is its name, empty for the only port of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServicePortName {
    pub namespace: String,
    pub name: String,
    pub port: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// IANA number.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }
}

/// `internalTrafficPolicy` and `externalTrafficPolicy`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum TrafficPolicy {
    #[default]
    Cluster,
    /// Only endpoints on this node.
    Local,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Empty for a headless service, which then need not be here at all.
    pub cluster_ips: Vec<IpAddr>,
    pub external_ips: Vec<IpAddr>,
    pub load_balancer_ips: Vec<IpAddr>,
    /// Who may use the load-balancer addresses; empty for everyone (`loadBalancerSourceRanges`).
    pub source_ranges: Vec<IpNet>,
    pub port: u16,
    pub node_port: Option<u16>,
    pub protocol: Protocol,
    /// `sessionAffinity: ClientIP` with this timeout in seconds (1 to 86400).
    pub affinity_timeout_s: Option<u32>,
    pub internal_policy: TrafficPolicy,
    pub external_policy: TrafficPolicy,
    pub endpoints: Vec<Endpoint>,
}

/// One address and port behind a service, with the conditions of its EndpointSlice. An unset `ready` means true,
/// and `publishNotReadyAddresses` makes it true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub address: IpAddr,
    pub port: u16,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    /// On this node.
    pub local: bool,
    /// Nearer ones are meant for this node (topology hints): this one is used under policy Local only.
    pub far: bool,
    pub node: Option<String>,
}

/// Where a connection can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    pub ip: Ipv4Addr,
    pub port: u16,
}

/// The endpoints in use. Ready ones; where there is none, those that still serve while they terminate
/// (KEP-1669). Decided apart for all nodes and for this one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub cluster: Vec<Backend>,
    pub local: Vec<Backend>,
    /// There is a usable endpoint somewhere: without a local one, policy Local then drops instead of refusing.
    pub any: bool,
}

pub fn choose(endpoints: &[Endpoint]) -> Chosen {
    let cluster = usable(endpoints, |e| !e.far);
    let local = usable(endpoints, |e| e.local);
    Chosen {
        any: !cluster.is_empty(),
        cluster,
        local,
    }
}

/// Sorted and without duplicates.
fn usable(endpoints: &[Endpoint], which: impl Fn(&Endpoint) -> bool) -> Vec<Backend> {
    let pick = |condition: fn(&Endpoint) -> bool| {
        let mut backends: Vec<Backend> = endpoints
            .iter()
            .filter(|e| condition(e) && which(e))
            .filter_map(|e| match e.address {
                IpAddr::V4(ip) => Some(Backend { ip, port: e.port }),
                IpAddr::V6(_) => None,
            })
            .collect();
        backends.sort_unstable();
        backends.dedup();
        backends
    };
    let ready = pick(|e| e.ready);
    if ready.is_empty() {
        pick(|e| e.serving && e.terminating)
    } else {
        ready
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn endpoint(last: u8, ready: bool, serving: bool, terminating: bool, local: bool) -> Endpoint {
        let address = IpAddr::from([10, 244, 0, last]);
        Endpoint {
            address,
            port: 80,
            ready,
            serving,
            terminating,
            local,
            far: false,
            node: None,
        }
    }

    fn last_octets(backends: &[Backend]) -> Vec<u8> {
        backends.iter().map(|b| b.ip.octets()[3]).collect()
    }

    #[test]
    fn ready_endpoints_win_over_terminating_ones_separately_for_local() {
        let all = [
            endpoint(3, true, true, false, false),
            endpoint(2, true, true, false, false),
            endpoint(2, true, true, false, false),
            endpoint(4, false, true, true, true),
            endpoint(5, false, false, true, true),
        ];
        let chosen = choose(&all);
        assert_eq!(last_octets(&chosen.cluster), [2, 3]);
        assert_eq!(last_octets(&chosen.local), [4]);
        assert!(chosen.any);
    }

    #[test]
    fn endpoints_that_neither_are_ready_nor_serve_are_none() {
        let all = [
            endpoint(4, false, false, true, true),
            endpoint(5, false, true, false, true),
        ];
        assert_eq!(choose(&all), Chosen::default());
    }
}
