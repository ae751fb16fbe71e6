//! A machine with a default route. It is itself a pod of an outer network, so that "outside" is here too.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_net::netns::NetNs;
use corten_net::node::{self, Config, NodeNet};
use corten_net::{ClusterId, cidr};

use crate::lab::{Lab, Pod, ask, ask_within};

struct World {
    lab: Lab,
    outer: NodeNet,
    machine: Pod,
    outside: Pod,
}

fn world() -> World {
    let mut lab = Lab::new();
    lab.netns("outer");
    let mut config = lab.node_config("outer");
    config.cluster_cidr = "172.20.0.0/16".parse().unwrap();
    config.pod_cidr = "172.20.1.0/24".parse().unwrap();
    config.service_cidr = "172.21.0.0/16".parse().unwrap();
    let outer = NodeNet::open(config).unwrap();
    let (machine, outside) = (lab.pod(&outer, "machine"), lab.pod(&outer, "outside"));
    World {
        lab,
        outer,
        machine,
        outside,
    }
}

fn inner(lab: &Lab, seed: &str) -> Config {
    let machine: PathBuf = lab.path("machine");
    let ranges = cidr::pick(Some(&machine), &[]).unwrap();
    Config {
        cluster: ClusterId::from_seed(&format!("{}{seed}", lab.cluster)),
        netns: Some(machine),
        state_dir: lab.path(&format!("{seed}.pods")),
        cluster_cidr: ranges.pods,
        pod_cidr: ipnet::Ipv4Net::new(ranges.pods.network(), 24).unwrap(),
        service_cidr: ranges.services,
        mtu: None,
    }
}

fn forwarding(ns: &NetNs) -> String {
    ns.run(|| Ok(std::fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/forwarding").unwrap()))
        .unwrap()
}

#[test]
fn pods_leave_the_cluster_from_the_node_address_and_services_do_not() {
    let mut w = world();
    let node = NodeNet::open(inner(&w.lab, "a")).unwrap();
    let pod = w.lab.pod(&node, "pod");
    assert_eq!(ask(&pod.ns, (w.outside.ip, 80)).unwrap().client, w.machine.ip);
    assert_eq!(
        ask(&w.outside.ns, (w.machine.ip, 80)).unwrap().client,
        w.outside.ip
    );
    // Nobody serves these; the default route would have taken them to the outer node.
    for ip in [[10, 96, 0, 1], [10, 244, 3, 3]] {
        let brief = Duration::from_millis(200);
        let from_pod = ask_within(&pod.ns, (IpAddr::from(ip), 80), brief);
        let from_machine = ask_within(&w.machine.ns, (IpAddr::from(ip), 80), brief);
        assert!(from_pod.is_err() && from_machine.is_err());
    }
    assert!(w.outer.addresses("machine").is_some());
}

#[test]
fn forwarding_of_the_uplink_ends_with_the_last_cluster_that_needed_it() {
    let w = world();
    let eth0 = &w.machine.ns;
    assert_eq!(forwarding(eth0).trim(), "0");
    let a = inner(&w.lab, "a");
    let first = NodeNet::open(a.clone()).unwrap();
    assert_eq!(forwarding(eth0).trim(), "1");
    let b = inner(&w.lab, "b");
    assert_ne!(b.cluster_cidr, a.cluster_cidr);
    let second = NodeNet::open(b.clone()).unwrap();
    drop(first);
    let first = NodeNet::open(a).unwrap();
    first.destroy().unwrap();
    assert_eq!(forwarding(eth0).trim(), "1");
    drop(second);
    node::sweep(b.cluster, Some(&w.lab.path("machine"))).unwrap();
    assert_eq!(forwarding(eth0).trim(), "0");
}

#[tokio::test]
async fn a_default_route_that_comes_later_is_followed() {
    let mut lab = Lab::new();
    lab.netns("outer");
    let mut outer = lab.node_config("outer");
    outer.cluster_cidr = "172.20.0.0/16".parse().unwrap();
    outer.pod_cidr = "172.20.1.0/24".parse().unwrap();
    let outer = NodeNet::open(outer).unwrap();
    let machine = lab.netns("machine");
    let node = Arc::new(NodeNet::open(inner(&lab, "a")).unwrap());
    let following = tokio::spawn(Arc::clone(&node).follow_uplink());
    outer.setup("machine", &lab.path("machine")).unwrap();
    let start = Instant::now();
    while forwarding(&machine).trim() != "1" {
        assert!(start.elapsed() < Duration::from_secs(5) && !following.is_finished());
        tokio::task::yield_now().await;
    }
    following.abort();
}
