//! Services and their endpoints, as cluster DNS names them.

use super::dirty::Dirty;
use super::services::{informers, protocol, service_of, slices_of};
use corten_client::{CancellationToken, Factory, Key, Lister};
use corten_dns::{Endpoint, Port, Protocol, Server, Target};
use corten_net::proxy::Protocol as NetProtocol;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::net::IpAddr;

/// Keeps the server's records at what the API says, until `stop`. A namespace has a name while it has a service, which
/// is when anyone can ask for one in it.
pub(crate) async fn run(factory: &Factory, server: &Server, stop: CancellationToken) {
    let (services, slices) = informers(factory);
    let dirty = Dirty::new();
    let marks = dirty.clone();
    services.on_event(move |event| marks.mark(Key::of(event.object().as_ref())));
    let marks = dirty.clone();
    slices.on_event(move |event| {
        if let Some(key) = service_of(event.object()) {
            marks.mark(key);
        }
    });
    tokio::join!(services.synced(), slices.synced());
    loop {
        let changed = tokio::select! {
            () = stop.cancelled() => return,
            changed = dirty.take() => changed,
        };
        server.update(|records| {
            for key in &changed {
                let target = services
                    .get_key(key)
                    .and_then(|service| target(&service, key, &slices));
                records.set_service(key.ns(), key.name(), target.as_ref());
                records.set_namespace(key.ns(), !services.in_namespace(key.ns()).is_empty());
            }
        });
    }
}

fn target(service: &Service, key: &Key, slices: &Lister<EndpointSlice>) -> Option<Target> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return Some(Target::ExternalName(spec.external_name.clone()?));
    }
    if spec.cluster_ip.as_deref() == Some("None") {
        return Some(Target::Headless {
            endpoints: slices_of(slices, key)
                .iter()
                .flat_map(|slice| published(slice))
                .collect(),
        });
    }
    let listed = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    let mut ips: Vec<IpAddr> = listed.filter_map(|ip| ip.parse().ok()).collect();
    ips.sort_unstable();
    ips.dedup();
    (!ips.is_empty()).then(|| Target::ClusterIp {
        ips,
        ports: ports(spec),
    })
}

fn ports(spec: &ServiceSpec) -> Vec<Port> {
    let of_port = |port: &k8s_openapi::api::core::v1::ServicePort| {
        Some(Port {
            name: port.name.clone().unwrap_or_default(),
            protocol: dns_protocol(protocol(port.protocol.as_deref())?),
            port: u16::try_from(port.port).ok()?,
        })
    };
    spec.ports.iter().flatten().filter_map(of_port).collect()
}

fn dns_protocol(protocol: NetProtocol) -> Protocol {
    match protocol {
        NetProtocol::Tcp => Protocol::Tcp,
        NetProtocol::Udp => Protocol::Udp,
        NetProtocol::Sctp => Protocol::Sctp,
    }
}

/// The endpoints of a slice that are ready (which includes all where the service publishes unready ones).
fn published(slice: &EndpointSlice) -> Vec<Endpoint> {
    let ports: Vec<Port> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| {
            Some(Port {
                name: port.name.clone().unwrap_or_default(),
                protocol: dns_protocol(protocol(port.protocol.as_deref())?),
                port: u16::try_from(port.port?).ok()?,
            })
        })
        .collect();
    let ready = slice
        .endpoints
        .iter()
        .flatten()
        .filter(|e| e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true));
    ready
        .flat_map(|endpoint| endpoint.addresses.iter().map(move |address| (endpoint, address)))
        .filter_map(|(endpoint, address)| {
            Some(Endpoint {
                ip: address.parse().ok()?,
                hostname: endpoint.hostname.clone(),
                ports: ports.clone(),
            })
        })
        .collect()
}
