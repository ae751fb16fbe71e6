//! Other nodes' pod ranges, as routes of this node.

use super::dirty::Dirty;
use corten_client::{CancellationToken, Factory, Lister};
use corten_net::node::{NodeRoute, NodeRoutes};
use k8s_openapi::api::core::v1::Node;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Keeps the routes at what the API says of all nodes but this one, until `stop`.
pub(crate) async fn run<F>(factory: &Factory, own_name: &str, set: F, stop: CancellationToken)
where
    F: Fn(&NodeRoutes) -> corten_net::Result<()> + Send + Sync + 'static,
{
    let nodes = factory.informer::<Node>();
    let dirty = Dirty::new();
    let marks = dirty.clone();
    nodes.on_event(move |_| marks.mark(()));
    nodes.synced().await;
    let set = Arc::new(set);
    let mut installed = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = dirty.take() => {}
        }
        let wanted = wanted(&nodes, own_name);
        if installed.as_ref() == Some(&wanted) {
            continue;
        }
        let (set, routes) = (Arc::clone(&set), wanted.clone());
        match tokio::task::spawn_blocking(move || set(&routes)).await {
            Ok(Ok(())) => installed = Some(wanted),
            Ok(Err(error)) => {
                tracing::warn!(%error, "routes to other nodes could not be set; the next change tries again")
            }
            Err(error) => tracing::error!(%error, "setting routes panicked"),
        }
    }
}

fn wanted(nodes: &Lister<Node>, own_name: &str) -> NodeRoutes {
    let others = nodes
        .list()
        .into_iter()
        .filter(|node| node.metadata.name.as_deref() != Some(own_name));
    others
        .filter_map(|node| {
            let name = node.metadata.name.clone()?;
            let cidr = node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()?;
            Some((
                name,
                NodeRoute {
                    cidr,
                    node_ip: internal_ip(&node)?,
                },
            ))
        })
        .collect()
}

fn internal_ip(node: &Node) -> Option<Ipv4Addr> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    addresses
        .iter()
        .filter(|a| a.type_ == "InternalIP")
        .find_map(|a| a.address.parse().ok())
}
