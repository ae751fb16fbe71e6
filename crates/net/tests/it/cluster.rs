//! Several nodes on one machine.

use std::io::ErrorKind;

use corten_net::cluster::{self, ClusterNet, Config};
use corten_net::node::{NodeNet, NodeRoute, NodeRoutes};

use crate::lab::{Lab, Server, ask};
use crate::services::{PORT, VIP, both, proxy};

pub fn cluster(lab: &Lab) -> ClusterNet {
    let subnet = "10.89.0.0/24".parse().unwrap();
    ClusterNet::open(Config {
        cluster: lab.cluster,
        dir: lab.path("net"),
        subnet,
    })
    .unwrap()
}

/// Lets go of the namespaces whatever happens in a test.
impl Drop for Lab {
    fn drop(&mut self) {
        self.release();
        let _ = cluster::destroy_at(&self.path("net"));
    }
}

#[test]
fn nodes_reach_each_other_and_nothing_else() {
    let lab = Lab::new();
    let net = cluster(&lab);
    let nodes: Vec<_> = (0..3).map(|i| net.add_node(i).unwrap()).collect();
    let _api = Server::start(net.netns(), (net.address(), 6443).into(), "api");
    let _one = Server::start(&nodes[1].netns, (nodes[1].ip, 10250).into(), "one");
    assert_eq!(
        ask(&nodes[0].netns, (net.address(), 6443)).unwrap().client,
        nodes[0].ip
    );
    assert_eq!(ask(&nodes[2].netns, (nodes[1].ip, 10250)).unwrap().name, "one");
    assert_eq!(ask(net.netns(), (nodes[1].ip, 10250)).unwrap().name, "one");
    let outside = ask(&nodes[0].netns, ([192, 0, 2, 1], 80)).unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::NetworkUnreachable);
}

#[test]
fn pods_talk_across_nodes_without_translation_and_share_services() {
    let mut lab = Lab::new();
    let net = cluster(&lab);
    let sites: Vec<_> = (0..2u8)
        .map(|i| {
            let ns = net.add_node(u16::from(i)).unwrap();
            let config = lab.node_config_at(ns.path.clone(), &format!("n{i}"), i + 1);
            (ns, NodeNet::open(config.clone()).unwrap(), config)
        })
        .collect();
    let route = |i: usize| NodeRoute {
        cidr: sites[i].2.pod_cidr,
        node_ip: sites[i].0.ip,
    };
    sites[0]
        .1
        .set_routes(&NodeRoutes::from([("n1".into(), route(1))]))
        .unwrap();
    sites[1]
        .1
        .set_routes(&NodeRoutes::from([("n0".into(), route(0))]))
        .unwrap();
    let (a, b) = (lab.pod(&sites[0].1, "a"), lab.pod(&sites[1].1, "b"));
    assert_eq!(ask(&a.ns, (b.ip, 80)).unwrap().client, a.ip);
    assert_eq!(ask(&sites[0].0.netns, (b.ip, 80)).unwrap().name, "b");

    let mut proxy = proxy(&sites[0].2);
    proxy.apply(&both(&[b.ip])).unwrap();
    assert_eq!(ask(&a.ns, (VIP, PORT)).unwrap().client, a.ip);
    assert_eq!(
        ask(&sites[0].0.netns, (VIP, PORT)).unwrap().client,
        sites[0].1.node_address()
    );

    net.set_routes(&NodeRoutes::from([
        ("n0".into(), route(0)),
        ("n1".into(), route(1)),
    ]))
    .unwrap();
    assert_eq!(ask(net.netns(), (a.ip, 80)).unwrap().name, "a");
    sites[0].1.set_routes(&NodeRoutes::new()).unwrap();
    assert_eq!(
        ask(&a.ns, (b.ip, 80)).unwrap_err().kind(),
        ErrorKind::HostUnreachable
    );
}

#[test]
fn a_service_can_lead_to_the_cluster_namespace() {
    let mut lab = Lab::new();
    let net = cluster(&lab);
    let ns = net.add_node(0).unwrap();
    let config = lab.node_config_at(ns.path.clone(), "n0", 1);
    let node = NodeNet::open(config.clone()).unwrap();
    let a = lab.pod(&node, "a");
    let _api = Server::start(net.netns(), (net.address(), 80).into(), "api");
    let mut proxy = proxy(&config);
    proxy.apply(&both(&[net.address().into()])).unwrap();
    assert_eq!(ask(&a.ns, (VIP, PORT)).unwrap().client, ns.ip);
    assert_eq!(ask(&ns.netns, (VIP, PORT)).unwrap().client, ns.ip);
}

#[test]
fn a_later_process_takes_over_and_destroy_removes_all() {
    let lab = Lab::new();
    let net = cluster(&lab);
    let node = net.add_node(0).unwrap();
    drop(net);
    let net = cluster(&lab);
    assert_eq!(net.nodes().unwrap().len(), 1);
    let _server = Server::start(net.netns(), (net.address(), 6443).into(), "api");
    assert_eq!(
        ask(&net.add_node(0).unwrap().netns, (net.address(), 6443))
            .unwrap()
            .client,
        node.ip
    );
    net.remove_node(0).unwrap();
    assert!(net.nodes().unwrap().is_empty());
    drop(node);
    assert_eq!(net.add_node(0).unwrap().ip, net.node_address(0).unwrap());
    net.destroy().unwrap();
    assert!(!lab.path("net").exists());
    cluster::destroy_at(&lab.path("net")).unwrap();
}
