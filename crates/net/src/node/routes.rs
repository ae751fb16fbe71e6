//! Routes to the other nodes' pods: the difference between what is installed and what is wanted.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::rt::{Kind, PROTOCOL, Route};

/// Name of a node to where its pods are.
pub type NodeRoutes = BTreeMap<String, NodeRoute>;

/// Another node: its pods' range and the address, on a link shared with this node, that takes their packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeRoute {
    pub cidr: Ipv4Net,
    pub node_ip: Ipv4Addr,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RoutePlan {
    pub remove: Vec<Route>,
    /// Added or, for a range whose node moved, replaced.
    pub put: Vec<Route>,
}

/// Compares the routes of cluster metric `metric` that lead through a gateway with the wanted ones.
pub fn plan(installed: &[Route], wanted: &NodeRoutes, metric: u32) -> RoutePlan {
    let mut want: BTreeMap<Ipv4Net, Ipv4Addr> =
        wanted.values().map(|r| (r.cidr.trunc(), r.node_ip)).collect();
    let mut plan = RoutePlan::default();
    for route in installed {
        let ours = route.protocol == PROTOCOL && route.metric == metric && route.kind == Kind::Unicast;
        if !ours || route.gateway.is_none() {
            continue;
        }
        match want.get(&route.to) {
            Some(node_ip) if route.gateway == Some(*node_ip) => {
                want.remove(&route.to);
            }
            Some(_) => {}
            None => plan.remove.push(*route),
        }
    }
    plan.put = want
        .into_iter()
        .map(|(to, ip)| Route {
            gateway: Some(ip),
            ..Route::to(to, Kind::Unicast, metric)
        })
        .collect();
    plan
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn via(to: &str, gateway: &str, metric: u32) -> Route {
        let gateway = Some(gateway.parse().unwrap());
        Route {
            gateway,
            ..Route::to(to.parse().unwrap(), Kind::Unicast, metric)
        }
    }

    #[test]
    fn only_the_difference_is_changed_and_only_ours() {
        let installed = [
            via("10.244.1.0/24", "10.0.0.1", 7),
            via("10.244.2.0/24", "10.0.0.2", 7),
            via("10.244.3.0/24", "10.0.0.3", 7),
            via("10.244.9.0/24", "10.0.0.9", 8),
            Route::to("10.244.0.0/16".parse().unwrap(), Kind::Unreachable, 7),
        ];
        let wanted = NodeRoutes::from([
            (
                "a".into(),
                NodeRoute {
                    cidr: "10.244.1.0/24".parse().unwrap(),
                    node_ip: "10.0.0.1".parse().unwrap(),
                },
            ),
            (
                "b".into(),
                NodeRoute {
                    cidr: "10.244.2.0/24".parse().unwrap(),
                    node_ip: "10.0.0.22".parse().unwrap(),
                },
            ),
            (
                "d".into(),
                NodeRoute {
                    cidr: "10.244.4.0/24".parse().unwrap(),
                    node_ip: "10.0.0.4".parse().unwrap(),
                },
            ),
        ]);
        let got = plan(&installed, &wanted, 7);
        assert_eq!(got.remove, [installed[2]]);
        assert_eq!(
            got.put,
            [
                via("10.244.2.0/24", "10.0.0.22", 7),
                via("10.244.4.0/24", "10.0.0.4", 7)
            ]
        );
        assert_eq!(plan(&got.put, &NodeRoutes::new(), 7).remove.len(), 2);
    }
}
