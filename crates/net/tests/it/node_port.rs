//! Node ports and external IPs, from another machine (a second node's namespace).

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use corten_net::netns::NetNs;
use corten_net::node::{Config, NodeNet};
use corten_net::proxy::{Protocol, ServicePort, TrafficPolicy};

use crate::cluster::cluster;
use crate::lab::{Lab, ask, ask_udp, ask_within, udp_client};
use crate::services::{PORT, VIP, only, proxy, service};

const NODE_PORT: u16 = 30_080;

struct World {
    lab: Lab,
    config: Config,
    node: NodeNet,
    node_ns: NetNs,
    node_ip: Ipv4Addr,
    client: NetNs,
    client_ip: Ipv4Addr,
}

fn world() -> World {
    let lab = Lab::new();
    let net = cluster(&lab);
    let (here, there) = (net.add_node(0).unwrap(), net.add_node(1).unwrap());
    let config = lab.node_config_at(here.path.clone(), "node", 1);
    let node = NodeNet::open(config.clone()).unwrap();
    World {
        lab,
        config,
        node,
        node_ns: here.netns,
        node_ip: here.ip,
        client: there.netns,
        client_ip: there.ip,
    }
}

fn node_port(endpoint: IpAddr, policy: TrafficPolicy) -> ServicePort {
    let mut service = service(Protocol::Tcp, &[endpoint]);
    service.node_port = Some(NODE_PORT);
    service.external_policy = policy;
    service
}

#[test]
fn a_node_port_answers_from_everywhere() {
    let mut w = world();
    let (a, b) = (w.lab.pod(&w.node, "a"), w.lab.pod(&w.node, "b"));
    let mut proxy = proxy(&w.config);
    proxy
        .apply(&only(node_port(a.ip, TrafficPolicy::Cluster)))
        .unwrap();
    let reply = ask(&w.client, (w.node_ip, NODE_PORT)).unwrap();
    assert_eq!(reply.name, "a");
    assert_ne!(reply.client, IpAddr::V4(w.client_ip));
    for from in [&w.node_ns, &a.ns, &b.ns] {
        assert_eq!(ask(from, (w.node_ip, NODE_PORT)).unwrap().name, "a");
    }
    let mut udp = node_port(a.ip, TrafficPolicy::Cluster);
    udp.protocol = Protocol::Udp;
    proxy.apply(&only(udp.clone())).unwrap();
    let client = udp_client(&w.client, (w.node_ip, NODE_PORT));
    assert_eq!(ask_udp(&client).unwrap().name, "a");
    udp.endpoints[0].address = b.ip;
    proxy.apply(&only(udp)).unwrap();
    assert_eq!(ask_udp(&client).unwrap().name, "b");
}

#[test]
fn external_policy_local_keeps_the_client_address_and_drops_without_local_endpoints() {
    let mut w = world();
    let a = w.lab.pod(&w.node, "a");
    let mut proxy = proxy(&w.config);
    let mut service = node_port(a.ip, TrafficPolicy::Local);
    service.affinity_timeout_s = Some(10);
    proxy.apply(&only(service.clone())).unwrap();
    for _ in 0..3 {
        assert_eq!(
            ask(&w.client, (w.node_ip, NODE_PORT)).unwrap().client,
            IpAddr::V4(w.client_ip)
        );
    }
    service.endpoints[0].local = false;
    proxy.apply(&only(service)).unwrap();
    let brief = Duration::from_millis(300);
    let error = ask_within(&w.client, (w.node_ip, NODE_PORT), brief).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(ask(&w.node_ns, (w.node_ip, NODE_PORT)).unwrap().name, "a");
}

#[test]
fn a_node_port_without_endpoints_refuses() {
    let mut w = world();
    let a = w.lab.pod(&w.node, "a");
    let mut proxy = proxy(&w.config);
    let mut service = node_port(a.ip, TrafficPolicy::Cluster);
    service.endpoints[0].ready = false;
    service.endpoints[0].serving = false;
    proxy.apply(&only(service)).unwrap();
    for from in [&w.client, &w.node_ns, &a.ns] {
        let error = ask(from, (w.node_ip, NODE_PORT)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn an_external_ip_is_served_where_it_arrives() {
    let mut w = world();
    let a = w.lab.pod(&w.node, "a");
    let external = Ipv4Addr::new(203, 0, 113, 7);
    let mut proxy = proxy(&w.config);
    let mut service = node_port(a.ip, TrafficPolicy::Cluster);
    service.external_ips = vec![external.into()];
    w.node.add_local_address(external).unwrap();
    proxy.apply(&only(service)).unwrap();
    assert_eq!(ask(&a.ns, (external, 8080)).unwrap().name, "a");
    assert_eq!(ask(&w.node_ns, (external, 8080)).unwrap().name, "a");
}

/// As the kubelet's node asks for it: no cluster IP, one local endpoint.
fn host_port(pod: IpAddr) -> ServicePort {
    let mut service = node_port(pod, TrafficPolicy::Local);
    service.cluster_ips.clear();
    service
}

#[test]
fn a_host_port_leads_to_its_pod_on_all_addresses_or_one() {
    let mut w = world();
    let (a, b) = (w.lab.pod(&w.node, "a"), w.lab.pod(&w.node, "b"));
    let other = Ipv4Addr::new(192, 0, 2, 9);
    w.node.add_local_address(other).unwrap();
    let mut proxy = proxy(&w.config);
    proxy.apply(&only(host_port(a.ip))).unwrap();
    let reply = ask(&w.client, (w.node_ip, NODE_PORT)).unwrap();
    assert_eq!(
        (reply.name.as_str(), reply.client),
        ("a", IpAddr::V4(w.client_ip))
    );
    for from in [&w.node_ns, &a.ns, &b.ns] {
        for to in [w.node_ip, other] {
            assert_eq!(ask(from, (to, NODE_PORT)).unwrap().name, "a");
        }
    }
    let mut restricted = host_port(a.ip);
    restricted.node_port = None;
    restricted.external_ips = vec![w.node_ip.into()];
    restricted.port = NODE_PORT;
    proxy.apply(&only(restricted)).unwrap();
    assert_eq!(ask(&w.client, (w.node_ip, NODE_PORT)).unwrap().name, "a");
    for from in [&w.node_ns, &b.ns] {
        assert_eq!(ask(from, (w.node_ip, NODE_PORT)).unwrap().name, "a");
        let error = ask(from, (other, NODE_PORT)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_load_balancer_address_answers_allowed_sources_only() {
    let mut w = world();
    let a = w.lab.pod(&w.node, "a");
    let balancer = Ipv4Addr::new(203, 0, 113, 8);
    w.node.add_local_address(balancer).unwrap();
    let mut proxy = proxy(&w.config);
    let mut service = node_port(a.ip, TrafficPolicy::Cluster);
    service.load_balancer_ips = vec![balancer.into()];
    let brief = Duration::from_millis(300);
    let mut check = |ranges: &[&str], served: bool| {
        service.source_ranges = ranges.iter().map(|r| r.parse().unwrap()).collect();
        proxy.apply(&only(service.clone())).unwrap();
        match ask_within(&a.ns, (balancer, 8080), brief) {
            Ok(reply) => assert!(served && reply.name == "a", "{ranges:?}"),
            Err(error) => assert!(!served && error.kind() == ErrorKind::TimedOut, "{error}"),
        }
        // Cluster IP and node port are for everyone.
        assert_eq!(ask(&a.ns, (VIP, PORT)).unwrap().name, "a");
        assert_eq!(ask(&w.client, (w.node_ip, NODE_PORT)).unwrap().name, "a");
    };
    let pods = w.config.pod_cidr.to_string();
    check(&[], true);
    check(&["192.0.2.0/24"], false);
    check(&["192.0.2.0/24", &pods], true);
    check(&["192.0.2.0/25", "198.51.100.0/24"], false);
    check(&["192.0.2.0/25", "0.0.0.0/0"], true);
    check(&["192.0.2.0/25"], false);
    check(&["2001:db8::/32"], true);
}

#[test]
fn a_node_s_own_address_balances() {
    let mut w = world();
    let (a, b) = (w.lab.pod(&w.node, "a"), w.lab.pod(&w.node, "b"));
    let mut proxy = proxy(&w.config);
    let mut service = node_port(a.ip, TrafficPolicy::Cluster);
    service.node_port = None;
    service.load_balancer_ips = vec![w.node_ip.into()];
    proxy.apply(&only(service.clone())).unwrap();
    for from in [&w.client, &w.node_ns, &a.ns, &b.ns] {
        assert_eq!(ask(from, (w.node_ip, PORT)).unwrap().name, "a");
    }
    service.external_policy = TrafficPolicy::Local;
    proxy.apply(&only(service.clone())).unwrap();
    let reply = ask(&w.client, (w.node_ip, PORT)).unwrap();
    assert_eq!(reply.client, IpAddr::V4(w.client_ip));
    service.endpoints.clear();
    proxy.apply(&only(service)).unwrap();
    let error = ask(&w.client, (w.node_ip, PORT)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}
