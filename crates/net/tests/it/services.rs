//! Desired states for the proxy tests.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use corten_net::node::Config as NodeConfig;
use corten_net::proxy::{
    Config, Endpoint, Protocol, Proxy, ServiceMap, ServicePort, ServicePortName, TrafficPolicy,
};

pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 5);
pub const PORT: u16 = 8080;

pub fn proxy(node: &NodeConfig) -> Proxy {
    Proxy::open(Config {
        cluster: node.cluster,
        netns: node.netns.clone(),
        cluster_cidr: node.cluster_cidr,
        service_cidr: node.service_cidr,
    })
    .unwrap()
}

pub fn name(name: &str) -> ServicePortName {
    ServicePortName {
        namespace: "default".into(),
        name: name.into(),
        port: String::new(),
    }
}

pub fn endpoint(address: IpAddr) -> Endpoint {
    Endpoint {
        address,
        port: 80,
        ready: true,
        serving: true,
        terminating: false,
        local: true,
        far: false,
        node: None,
    }
}

pub fn service(protocol: Protocol, endpoints: &[IpAddr]) -> ServicePort {
    ServicePort {
        cluster_ips: vec![VIP.into()],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        port: PORT,
        node_port: None,
        protocol,
        affinity_timeout_s: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        endpoints: endpoints.iter().copied().map(endpoint).collect(),
    }
}

pub fn only(service: ServicePort) -> ServiceMap {
    ServiceMap::unit(name("web"), Arc::new(service))
}

/// The same service on TCP and UDP.
pub fn both(endpoints: &[IpAddr]) -> ServiceMap {
    [
        (name("tcp"), Arc::new(service(Protocol::Tcp, endpoints))),
        (name("udp"), Arc::new(service(Protocol::Udp, endpoints))),
    ]
    .into_iter()
    .collect()
}
