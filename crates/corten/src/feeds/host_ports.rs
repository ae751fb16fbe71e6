//! Host ports of this node's pods, as services that lead to one pod each.

use super::services::protocol;
use corten_net::proxy::{Endpoint, ServicePort, ServicePortName, TrafficPolicy};
use k8s_openapi::api::core::v1::{ContainerPort, Pod};
use std::net::{IpAddr, Ipv4Addr};

/// A pod's name among services: no service can have it.
pub(crate) fn name_of(pod: &str) -> String {
    format!("pod/{pod}")
}

/// What a pod asks for, from the moment it has an address until it has ended; as upstream, whether it is ready or not,
/// and of its (not init) containers only. Nothing for a pod in the node's network: it listens there itself. Host
/// addresses in 127.0.0.0/8 are not served.
pub(crate) fn of_pod(pod: &Pod) -> Vec<(ServicePortName, ServicePort)> {
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else {
        return Vec::new();
    };
    let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let address = status.pod_ip.as_ref().and_then(|ip| ip.parse().ok());
    let (Some(namespace), Some(name), Some(address)) = (&pod.metadata.namespace, &pod.metadata.name, address)
    else {
        return Vec::new();
    };
    if ended || spec.host_network == Some(true) {
        return Vec::new();
    }
    let ports = spec
        .containers
        .iter()
        .flat_map(|container| container.ports.iter().flatten());
    let served = ports.filter_map(|port| {
        let id = format!(
            "{}/{}/{}",
            port.protocol.as_deref().unwrap_or("TCP"),
            port.host_ip.as_deref().unwrap_or(""),
            port.host_port?
        );
        let name = ServicePortName {
            namespace: namespace.clone(),
            name: name_of(name),
            port: id,
        };
        Some((name, of_port(port, address)?))
    });
    served.collect()
}

fn of_port(port: &ContainerPort, address: IpAddr) -> Option<ServicePort> {
    let host_port = port
        .host_port
        .and_then(|p| u16::try_from(p).ok())
        .filter(|p| *p > 0)?;
    let host_ip = match port.host_ip.as_deref() {
        None | Some("") => Ipv4Addr::UNSPECIFIED,
        Some(ip) => ip.parse().ok().filter(|ip: &Ipv4Addr| !ip.is_loopback())?,
    };
    let everywhere = host_ip.is_unspecified();
    Some(ServicePort {
        cluster_ips: Vec::new(),
        external_ips: if everywhere {
            Vec::new()
        } else {
            vec![host_ip.into()]
        },
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        port: host_port,
        node_port: everywhere.then_some(host_port),
        protocol: protocol(port.protocol.as_deref())?,
        affinity_timeout_s: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Local,
        endpoints: vec![Endpoint {
            address,
            port: u16::try_from(port.container_port).ok()?,
            ready: true,
            serving: true,
            terminating: false,
            local: true,
            far: false,
            node: None,
        }],
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn ports(spec: serde_json::Value, status: serde_json::Value) -> Vec<(ServicePortName, ServicePort)> {
        let metadata = json!({"namespace": "default", "name": "web"});
        of_pod(
            &serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap(),
        )
    }

    #[test]
    fn a_pod_serves_its_host_ports_while_it_has_an_address() {
        let spec = json!({"containers": [{"name": "a", "ports": [
            {"containerPort": 80, "hostPort": 8080, "protocol": "TCP"},
            {"containerPort": 53, "hostPort": 5353, "hostIP": "192.0.2.1", "protocol": "UDP"},
            {"containerPort": 81, "hostPort": 81, "hostIP": "127.0.0.1"},
            {"containerPort": 9090},
        ]}]});
        let found = ports(spec.clone(), json!({"phase": "Running", "podIP": "10.244.0.5"}));
        let [(first, everywhere), (_, one)] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(
            (first.name.as_str(), first.port.as_str()),
            ("pod/web", "TCP//8080")
        );
        assert_eq!(
            (everywhere.node_port, everywhere.endpoints[0].port),
            (Some(8080), 80)
        );
        assert_eq!((one.node_port, one.port), (None, 5353));
        assert_eq!(one.external_ips, ["192.0.2.1".parse::<IpAddr>().unwrap()]);

        assert!(ports(spec.clone(), json!({"phase": "Pending"})).is_empty());
        assert!(ports(spec.clone(), json!({"phase": "Failed", "podIP": "10.244.0.5"})).is_empty());
        let mut host = spec;
        host["hostNetwork"] = true.into();
        assert!(ports(host, json!({"phase": "Running", "podIP": "10.244.0.5"})).is_empty());
    }
}
