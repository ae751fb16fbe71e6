//! The pod network of one node.

use std::io::ErrorKind;
use std::net::Ipv4Addr;

use corten_net::netns::NetNs;
use corten_net::node::{self, HostPort, NodeNet};

use crate::lab::{Lab, Server, ask};

#[test]
fn pods_and_node_reach_each_other_without_translation() {
    let mut lab = Lab::new();
    let ns = lab.netns("node");
    let node = NodeNet::open(lab.node_config("node")).unwrap();
    let (a, b) = (lab.pod(&node, "a"), lab.pod(&node, "b"));
    let reply = ask(&a.ns, (b.ip, 80)).unwrap();
    assert_eq!((reply.name.as_str(), reply.client), ("b", a.ip));
    assert_eq!(ask(&ns, (a.ip, 80)).unwrap().client, node.node_address());
    let _host = Server::start(&ns, (node.node_address(), 8080).into(), "host");
    assert_eq!(ask(&a.ns, (node.node_address(), 8080)).unwrap().client, a.ip);
}

#[test]
fn addresses_that_no_pod_has_are_unreachable_at_once() {
    let mut lab = Lab::new();
    let ns = lab.netns("node");
    let node = NodeNet::open(lab.node_config("node")).unwrap();
    let a = lab.pod(&node, "a");
    for from in [&ns, &a.ns] {
        for ip in [Ipv4Addr::new(10, 244, 1, 200), Ipv4Addr::new(10, 244, 9, 9)] {
            assert_eq!(
                ask(from, (ip, 80)).unwrap_err().kind(),
                ErrorKind::HostUnreachable
            );
        }
    }
    node.teardown("a").unwrap();
    assert_eq!(
        ask(&ns, (a.ip, 80)).unwrap_err().kind(),
        ErrorKind::HostUnreachable
    );
    node.teardown("a").unwrap();
}

#[test]
fn setting_up_twice_and_restarting_keep_the_address() {
    let mut lab = Lab::new();
    let ns = lab.netns("node");
    let node = NodeNet::open(lab.node_config("node")).unwrap();
    let a = lab.pod(&node, "a");
    drop(node);
    let node = NodeNet::open(lab.node_config("node")).unwrap();
    assert_eq!(ask(&ns, (a.ip, 80)).unwrap().name, "a");
    assert_eq!(node.addresses("a").unwrap().ips, [a.ip]);
    lab.netns("a2");
    assert_eq!(node.setup("a", &lab.path("a2")).unwrap().ips, [a.ip]);
    assert_eq!(node.retain(|id| id != "a").unwrap(), ["a"]);
    assert_eq!(node.addresses("a"), None);
}

#[test]
fn host_ports_lead_to_the_pod_until_it_goes() {
    let mut lab = Lab::new();
    let ns = lab.netns("node");
    let node = NodeNet::open(lab.node_config("node")).unwrap();
    let (a, b) = (lab.pod(&node, "a"), lab.pod(&node, "b"));
    let port = |host_ip, host_port| HostPort {
        host_ip,
        protocol: 6,
        host_port,
        pod_port: 80,
    };
    let (own, any) = (node.node_address(), Ipv4Addr::UNSPECIFIED);
    node.publish("a", vec![port(any, 8080), port(Ipv4Addr::LOCALHOST, 8081)])
        .unwrap();
    node.publish("b", vec![port(own, 8081)]).unwrap();
    drop(node);
    let node = NodeNet::open(lab.node_config("node")).unwrap();
    for (from, to, name) in [
        (&ns, (own, 8080), "a"),
        (&ns, (Ipv4Addr::LOCALHOST, 8080), "a"),
        (&ns, (Ipv4Addr::LOCALHOST, 8081), "a"),
        (&ns, (own, 8081), "b"),
        (&a.ns, (own, 8080), "a"),
        (&b.ns, (own, 8080), "a"),
    ] {
        assert_eq!(ask(from, to).unwrap().name, name, "{to:?}");
    }
    node.teardown("a").unwrap();
    assert!(ask(&ns, (own, 8080)).is_err());
    node.teardown("b").unwrap();
    assert!(ask(&ns, (own, 8081)).is_err());
    let left = node::leftovers(lab.cluster, Some(&lab.path("node"))).unwrap();
    assert!(!left.iter().any(|line| line.ends_with("-ports")), "{left:?}");
}

#[test]
fn a_failed_setup_leaves_nothing() {
    let mut lab = Lab::new();
    lab.netns("node");
    let node = NodeNet::open(lab.node_config("node")).unwrap();
    lab.pod(&node, "a");
    let before = node::leftovers(lab.cluster, Some(&lab.path("node"))).unwrap();
    assert!(node.setup("b", &lab.path("absent")).is_err());
    assert!(
        node.setup("b", &lab.path("a"))
            .unwrap_err()
            .to_string()
            .contains("already has an interface")
    );
    assert_eq!(
        node::leftovers(lab.cluster, Some(&lab.path("node"))).unwrap(),
        before
    );
    assert_eq!(node.addresses("b"), None);
}

#[test]
fn destroy_and_sweep_leave_the_namespace_as_it_was() {
    let mut lab = Lab::new();
    let ns = lab.netns("node");
    let before = state(&ns);
    let path = lab.path("node");
    let node = NodeNet::open(lab.node_config("node")).unwrap();
    lab.pod(&node, "a");
    node.add_local_address(Ipv4Addr::new(10, 96, 0, 10)).unwrap();
    assert!(node::leftovers(lab.cluster, Some(&path)).unwrap().len() > 6);
    node.destroy().unwrap();
    assert_eq!(state(&ns), before);
    assert!(!lab.path("node.pods").exists());

    let crashed = NodeNet::open(lab.node_config("node")).unwrap();
    lab.netns("b");
    crashed.setup("b", &lab.path("b")).unwrap();
    drop(crashed);
    node::sweep(lab.cluster, Some(&path)).unwrap();
    assert_eq!(node::leftovers(lab.cluster, Some(&path)).unwrap(), [""; 0]);
    assert_eq!(state(&ns), before);
    node::sweep(lab.cluster, Some(&path)).unwrap();
}

/// Routes and interfaces; `lo` stays up, which it was not in a fresh namespace, so counters and flags are not
/// part of it.
fn state(ns: &NetNs) -> (Vec<String>, Vec<String>) {
    ns.run(|| {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap();
        let names = read("dev")
            .lines()
            .filter_map(|l| Some(l.split_once(':')?.0.trim().to_owned()))
            .collect();
        let routes = read("route").lines().skip(1).map(str::to_owned).collect();
        Ok((routes, names))
    })
    .unwrap()
}
