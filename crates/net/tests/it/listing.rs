//! Other people's tools in a namespace with our tables. Debian's `nft` must list them.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Output};
use std::sync::Arc;

use corten_net::netns::NetNs;
use corten_net::node::NodeNet;
use corten_net::proxy::{Protocol, ServiceMap, ServicePort, TrafficPolicy};

use crate::lab::Lab;
use crate::services::{name, proxy, service};

fn nft(ns: &NetNs, arguments: &[&str]) -> Output {
    let mut command = Command::new("nft");
    ns.run(|| Ok(command.args(arguments).output().unwrap())).unwrap()
}

/// Each combination of protocol, policy and affinity, with node port and external IP; and one without endpoints.
fn representative() -> ServiceMap {
    let pods = [[10, 244, 1, 7], [10, 244, 1, 8], [10, 244, 2, 9]].map(IpAddr::from);
    let mut all: Vec<ServicePort> = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        for policy in [TrafficPolicy::Cluster, TrafficPolicy::Local] {
            for affinity in [None, Some(10_800)] {
                let mut service = service(protocol, &pods);
                service.endpoints[2].local = false;
                service.external_policy = policy;
                service.internal_policy = policy;
                service.affinity_timeout_s = affinity;
                all.push(service);
            }
        }
    }
    all.push(service(Protocol::Tcp, &[]));
    let numbered = all.into_iter().zip(1u8..);
    let distinct = numbered.map(|(mut service, i)| {
        service.cluster_ips = vec![Ipv4Addr::new(10, 96, 1, i).into()];
        service.external_ips = vec![Ipv4Addr::new(203, 0, 113, i).into()];
        service.load_balancer_ips = vec![Ipv4Addr::new(198, 51, 100, i).into()];
        service.source_ranges = vec!["192.0.2.0/24".parse().unwrap(); usize::from(i % 2)];
        service.node_port = Some(30_000 + u16::from(i));
        (name(&format!("s{i}")), Arc::new(service))
    });
    distinct.collect()
}

/// Panics where `nft` fails, or does not show the table.
pub fn assert_lists(ns: &NetNs, table: &str) {
    for arguments in [
        &["list", "tables"][..],
        &["list", "ruleset"],
        &["-j", "list", "ruleset"],
    ] {
        let output = nft(ns, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{arguments:?}: {} {errors}",
            output.status
        );
        // As JSON it warns of statements that it has no JSON for.
        assert!(
            errors.is_empty() || arguments[0] == "-j",
            "{arguments:?}: {errors}"
        );
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(table), "{arguments:?}: {text}");
    }
}

#[test]
fn the_nft_command_lists_our_tables() {
    let mut lab = Lab::new();
    let ns = lab.netns("node");
    let config = lab.node_config("node");
    let _node = NodeNet::open(config.clone()).unwrap();
    proxy(&config).apply(&representative()).unwrap();
    assert_lists(&ns, &config.cluster.service_table());
    lab.release();
}
