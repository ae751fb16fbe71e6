//! The runtime's door to the pod network.

use async_trait::async_trait;
use corten_net::node::{HostPort, NodeNet};
use corten_runtime::cri::{PodIps, PodNetwork, PortMapping, Protocol};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Gives the runtime a node's network. Calls block for a millisecond or two, so they leave the async workers.
pub(crate) struct Network(pub(crate) Arc<NodeNet>);

#[async_trait]
impl PodNetwork for Network {
    async fn setup(&self, sandbox_id: &str, netns: &Path, _: &str, _: &str) -> Result<PodIps, String> {
        let (net, sandbox, netns) = (Arc::clone(&self.0), sandbox_id.to_owned(), netns.to_owned());
        let addresses = blocking(move || net.setup(&sandbox, &netns)).await?;
        Ok(PodIps(addresses.ips))
    }

    async fn publish(&self, sandbox_id: &str, ports: &[PortMapping]) -> Result<(), String> {
        let ports = ports.iter().map(host_port).collect::<Result<Vec<_>, _>>()?;
        let (net, sandbox) = (Arc::clone(&self.0), sandbox_id.to_owned());
        blocking(move || net.publish(&sandbox, ports)).await
    }

    async fn teardown(&self, sandbox_id: &str, _: &Path) -> Result<(), String> {
        let (net, sandbox) = (Arc::clone(&self.0), sandbox_id.to_owned());
        blocking(move || net.teardown(&sandbox)).await
    }
}

fn host_port(mapping: &PortMapping) -> Result<HostPort, String> {
    let port = |number: i32| u16::try_from(number).map_err(|_| format!("{number} is no port"));
    let any = matches!(mapping.host_ip.as_str(), "" | "0.0.0.0" | "::");
    let host_ip = match any {
        true => Ipv4Addr::UNSPECIFIED,
        false => mapping
            .host_ip
            .parse()
            .map_err(|_| format!("host IP {:?} is no IPv4 address", mapping.host_ip))?,
    };
    Ok(HostPort {
        host_ip,
        protocol: match mapping.protocol() {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        },
        host_port: port(mapping.host_port)?,
        pod_port: port(mapping.container_port)?,
    })
}

async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> corten_net::Result<T> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(f)
        .await
        .map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}

/// For taking everything down, when the network is swept as a whole.
pub(crate) struct NoNetwork;

#[async_trait]
impl PodNetwork for NoNetwork {
    async fn setup(&self, _: &str, _: &Path, _: &str, _: &str) -> Result<PodIps, String> {
        Err("the cluster is being taken down".to_owned())
    }

    async fn teardown(&self, _: &str, _: &Path) -> Result<(), String> {
        Ok(())
    }
}

/// Where a node keeps its addresses.
pub(crate) fn addresses_dir(node_dir: &Path) -> PathBuf {
    node_dir.join("addresses")
}
