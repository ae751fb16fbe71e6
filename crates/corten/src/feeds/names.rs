//! Services, endpoints and namespaces, as cluster DNS names them.

use super::dirty::Dirty;
use super::services::{informers, protocol, slices_of};
use corten_client::{CancellationToken, Factory, Key, Lister};
use corten_dns::{Desired, Endpoint, Port, Protocol, Records, Server, Service as Named, Target};
use corten_net::proxy::Protocol as NetProtocol;
use k8s_openapi::api::core::v1::{Namespace, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::net::IpAddr;
use std::sync::Arc;

/// Keeps the server's records at what the API says, until `stop`.
pub(crate) async fn run(factory: &Factory, domain: &str, server_ip: IpAddr, server: Arc<Server>, stop: CancellationToken) {
    let (services, slices) = informers(factory);
    let namespaces = factory.informer::<Namespace>();
    let dirty = Dirty::new();
    let (of_services, of_slices, of_namespaces) = (dirty.clone(), dirty.clone(), dirty.clone());
    services.on_event(move |_| of_services.mark(()));
    slices.on_event(move |_| of_slices.mark(()));
    namespaces.on_event(move |_| of_namespaces.mark(()));
    tokio::join!(services.synced(), slices.synced(), namespaces.synced());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = dirty.take() => {}
        }
        let desired = Desired {
            domain: domain.to_owned(),
            server_ip,
            namespaces: namespaces.list().iter().filter_map(|ns| ns.metadata.name.clone()).collect(),
            services: services.list().iter().filter_map(|service| named(service, &slices)).collect(),
        };
        let server = Arc::clone(&server);
        // Thousands of services take milliseconds to build, which belongs on no worker that answers requests.
        let built = tokio::task::spawn_blocking(move || server.set_records(Records::build(&desired))).await;
        if built.is_err() {
            tracing::error!("building DNS records panicked; the old ones stay");
        }
    }
}

fn named(service: &Service, slices: &Lister<EndpointSlice>) -> Option<Named> {
    let spec = service.spec.as_ref()?;
    let (namespace, name) = (service.metadata.namespace.clone()?, service.metadata.name.clone()?);
    let target = if spec.type_.as_deref() == Some("ExternalName") {
        Target::ExternalName(spec.external_name.clone()?)
    } else if spec.cluster_ip.as_deref() == Some("None") {
        let key = Key::new(&namespace, &name);
        Target::Headless { endpoints: slices_of(slices, &key).iter().flat_map(|slice| published(slice)).collect() }
    } else {
        let listed = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
        let mut ips: Vec<IpAddr> = listed.filter_map(|ip| ip.parse().ok()).collect();
        ips.sort_unstable();
        ips.dedup();
        if ips.is_empty() {
            return None;
        }
        Target::ClusterIp { ips, ports: ports(spec) }
    };
    Some(Named { namespace, name, target })
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
    let ready = slice.endpoints.iter().filter(|e| e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true));
    ready
        .flat_map(|endpoint| endpoint.addresses.iter().map(move |address| (endpoint, address)))
        .filter_map(|(endpoint, address)| {
            Some(Endpoint { ip: address.parse().ok()?, hostname: endpoint.hostname.clone(), ports: ports.clone() })
        })
        .collect()
}
