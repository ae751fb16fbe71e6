//! Cluster IPs.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_net::netns::NetNs;
use corten_net::node::NodeNet;
use corten_net::proxy::{Protocol, Proxy, ServiceMap, TrafficPolicy};

use crate::lab::{Lab, Pod, Server, ask, ask_udp, ask_within, udp_client};
use crate::listing::assert_lists;
use crate::services::{self, PORT, VIP, both, name, only, service};

/// One node with three pods and a proxy.
struct World {
    lab: Lab,
    ns: NetNs,
    node: NodeNet,
    proxy: Proxy,
    pods: [Pod; 3],
}

fn world() -> World {
    let mut lab = Lab::new();
    let ns = lab.netns("node");
    let node = NodeNet::open(lab.node_config("node")).unwrap();
    let proxy = services::proxy(&lab.node_config("node"));
    let pods = ["a", "b", "c"].map(|name| lab.pod(&node, name));
    World {
        lab,
        ns,
        node,
        proxy,
        pods,
    }
}

fn answers(from: &NetNs, times: usize) -> BTreeSet<String> {
    (0..times).map(|_| ask(from, (VIP, PORT)).unwrap().name).collect()
}

#[test]
fn connections_spread_over_the_endpoints_from_pods_and_from_the_node() {
    let World {
        ns,
        node,
        mut proxy,
        pods: [a, b, c],
        lab: _lab,
    } = world();
    assert!(proxy.apply(&both(&[a.ip, b.ip])).unwrap().rebuilt);
    let ab = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    assert_eq!(answers(&c.ns, 40), ab);
    assert_eq!(answers(&ns, 40), ab);
    let udp: BTreeSet<String> = (0..40)
        .map(|_| ask_udp(&udp_client(&c.ns, (VIP, PORT))).unwrap().name)
        .collect();
    assert_eq!(udp, ab);
    assert_eq!(ask(&c.ns, (VIP, PORT)).unwrap().client, c.ip);
    assert_eq!(ask(&ns, (VIP, PORT)).unwrap().client, node.node_address());

    let applied = proxy.apply(&both(&[b.ip])).unwrap();
    assert!(!applied.rebuilt && applied.fronts == 2);
    assert_eq!(answers(&c.ns, 20), BTreeSet::from(["b".to_owned()]));
    assert_eq!(proxy.apply(&both(&[b.ip])).unwrap().elements, 0);
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    let World {
        mut proxy,
        pods: [a, b, _c],
        lab: _lab,
        ..
    } = world();
    proxy.apply(&both(&[a.ip])).unwrap();
    let reply = ask(&a.ns, (VIP, PORT)).unwrap();
    assert_eq!(reply.name, "a");
    assert_ne!(reply.client, a.ip);
    assert_eq!(ask_udp(&udp_client(&a.ns, (VIP, PORT))).unwrap().name, "a");
    assert_eq!(ask(&b.ns, (VIP, PORT)).unwrap().client, b.ip);
}

#[test]
fn what_nobody_serves_is_refused_at_once() {
    let World {
        ns,
        node,
        mut proxy,
        pods: [a, ..],
        lab: _lab,
    } = world();
    let dns = Ipv4Addr::new(10, 96, 0, 10);
    node.add_local_address(dns).unwrap();
    let _server = Server::start(&ns, (dns, 53).into(), "dns");
    proxy.apply(&both(&[])).unwrap();
    for from in [&ns, &a.ns] {
        for to in [(VIP, PORT), (VIP, 1), (Ipv4Addr::new(10, 96, 7, 7), 80)] {
            let start = Instant::now();
            assert_eq!(ask(from, to).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            assert!(start.elapsed() < Duration::from_millis(500));
        }
        // The kernel tells a sender on the same machine at once that its packet was refused.
        let error = ask_udp(&udp_client(from, (VIP, PORT))).unwrap_err().kind();
        assert!(
            [ErrorKind::ConnectionRefused, ErrorKind::PermissionDenied].contains(&error),
            "{error:?}"
        );
        assert_eq!(ask(from, (dns, 53)).unwrap().name, "dns");
        assert_eq!(ask_udp(&udp_client(from, (dns, 53))).unwrap().name, "dns");
    }
    proxy.apply(&both(&[a.ip])).unwrap();
    assert_eq!(ask(&ns, (VIP, PORT)).unwrap().name, "a");
}

#[test]
fn an_endpoint_can_be_the_node_itself() {
    let World {
        ns,
        node,
        mut proxy,
        pods: [a, ..],
        lab: _lab,
    } = world();
    let host = Ipv4Addr::new(192, 0, 2, 7);
    node.add_local_address(host).unwrap();
    let _server = Server::start(&ns, (host, 80).into(), "host");
    proxy.apply(&both(&[host.into()])).unwrap();
    for from in [&a.ns, &ns] {
        assert_eq!(ask(from, (VIP, PORT)).unwrap().name, "host");
        assert_eq!(ask_udp(&udp_client(from, (VIP, PORT))).unwrap().name, "host");
    }
    assert_eq!(ask(&a.ns, (VIP, PORT)).unwrap().client, a.ip);
}

#[test]
fn a_client_with_affinity_stays_until_its_endpoint_goes() {
    let World {
        ns,
        mut proxy,
        pods: [a, b, c],
        lab,
        ..
    } = world();
    let sticky = |endpoints: &[IpAddr]| {
        let mut service = service(Protocol::Tcp, endpoints);
        service.affinity_timeout_s = Some(60);
        only(service)
    };
    proxy.apply(&sticky(&[a.ip, b.ip])).unwrap();
    for client in [&c.ns, &ns, &a.ns, &b.ns] {
        assert_eq!(answers(client, 12).len(), 1);
    }
    let first = ask(&c.ns, (VIP, PORT)).unwrap().name;
    let (gone, left) = if first == "a" { (a.ip, b.ip) } else { (b.ip, a.ip) };
    proxy.apply(&sticky(&[left])).unwrap();
    let second = answers(&c.ns, 5);
    assert!(second.len() == 1 && !second.contains(&first));
    proxy.apply(&sticky(&[left, gone])).unwrap();
    assert_eq!(answers(&c.ns, 12), second);
    assert_lists(&ns, &lab.cluster.service_table());
}

#[test]
fn a_udp_client_moves_on_when_its_endpoint_goes() {
    let World {
        ns,
        mut proxy,
        pods: [a, b, c],
        lab: _lab,
        ..
    } = world();
    proxy.apply(&both(&[a.ip])).unwrap();
    for from in [&c.ns, &ns] {
        let client = udp_client(from, (VIP, PORT));
        proxy.apply(&both(&[a.ip])).unwrap();
        assert_eq!(ask_udp(&client).unwrap().name, "a");
        proxy.apply(&both(&[b.ip])).unwrap();
        assert_eq!(ask_udp(&client).unwrap().name, "b");
    }
}

#[test]
fn internal_policy_local_uses_this_node_only() {
    let World {
        mut proxy,
        pods: [a, b, c],
        lab: _lab,
        ..
    } = world();
    let mut local = service(Protocol::Tcp, &[a.ip, b.ip]);
    local.internal_policy = TrafficPolicy::Local;
    local.endpoints[0].local = false;
    proxy.apply(&only(local.clone())).unwrap();
    assert_eq!(answers(&c.ns, 20), BTreeSet::from(["b".to_owned()]));
    local.endpoints[1].local = false;
    proxy.apply(&only(local)).unwrap();
    let error = ask_within(&c.ns, (VIP, PORT), Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[test]
fn a_table_that_someone_removed_is_made_again() {
    let World {
        lab,
        mut proxy,
        pods: [a, b, c],
        ..
    } = world();
    proxy.apply(&both(&[a.ip])).unwrap();
    services::proxy(&lab.node_config("node")).remove().unwrap();
    assert!(proxy.apply(&both(&[a.ip, b.ip])).unwrap().rebuilt);
    assert_eq!(answers(&c.ns, 40).len(), 2);
    // A new process takes over the kernel's state whatever it is.
    let mut second = services::proxy(&lab.node_config("node"));
    assert_eq!(answers(&c.ns, 40).len(), 2);
    assert!(second.apply(&both(&[b.ip])).unwrap().rebuilt);
    assert_eq!(answers(&c.ns, 10), BTreeSet::from(["b".to_owned()]));
}

#[test]
fn many_services_come_and_go_in_one_transaction() {
    let World {
        mut proxy,
        pods: [a, b, c],
        lab: _lab,
        ..
    } = world();
    let many: ServiceMap = (0..2000u16)
        .map(|i| {
            let mut service = service(Protocol::Tcp, &[a.ip, b.ip][..usize::from(i % 2) + 1]);
            service.cluster_ips = vec![IpAddr::from([10, 96, 1 + (i / 250) as u8, (i % 250) as u8])];
            (name(&format!("s{i}")), Arc::new(service))
        })
        .collect();
    proxy.apply(&many).unwrap();
    assert_eq!(
        ask(&c.ns, (Ipv4Addr::new(10, 96, 8, 248), PORT)).unwrap().name,
        "a"
    );
    proxy.apply(&ServiceMap::new()).unwrap();
    assert!(ask(&c.ns, (Ipv4Addr::new(10, 96, 8, 248), PORT)).is_err());
    assert!(!proxy.apply(&many).unwrap().rebuilt);
    assert!(ask(&c.ns, (Ipv4Addr::new(10, 96, 8, 249), PORT)).is_ok());
}
