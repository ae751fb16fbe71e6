//! `corten up --nodes N`: a network namespace with a bridge for the cluster, and a process in scopes of its own for each node.

use crate::agent::{self, AgentFile};
use crate::cluster::Cluster;
use crate::control_plane::{CONTEXT, ControlPlane, agents, until};
use crate::node::{ipv4, ipv4_net};
use crate::paths::Paths;
use anyhow::Context;
use async_trait::async_trait;
use corten_apiserver::{BoxIo, KubeletDialer, Target};
use corten_auth::pki::{Identity, Subject};
use corten_auth::{UserInfo, kubeconfig, users};
use corten_client::{CancellationToken, Factory};
use corten_net::ClusterId;
use corten_net::cluster::{ClusterNet, Config as NetConfig};
use corten_net::netns::NetNs;
use k8s_openapi::api::core::v1::Node;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// The cluster's network namespace.
pub(crate) struct Hub {
    net: Arc<ClusterNet>,
    nodes: Vec<std::path::PathBuf>,
}

impl Hub {
    pub(crate) fn open(cluster: &Cluster, paths: &Paths) -> anyhow::Result<Self> {
        let config = NetConfig {
            cluster: ClusterId::from_seed(&cluster.id),
            dir: paths.namespaces(),
            subnet: ipv4_net(cluster.node_cidr)?,
        };
        let net = ClusterNet::open(config).context("making the cluster's network")?;
        Ok(Self {
            net: Arc::new(net),
            nodes: Vec::new(),
        })
    }

    /// The API server's address as nodes see it.
    pub(crate) fn address(&self) -> IpAddr {
        IpAddr::V4(self.net.address())
    }

    pub(crate) fn listen(&self, at: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
        Ok(self.net.netns().listen_tcp(at)?)
    }

    pub(crate) fn dialer(&self) -> HubDialer {
        HubDialer(self.net.netns().clone())
    }

    /// Asks every agent to end. Their containers keep running.
    pub(crate) fn stop_agents(&self) {
        for node in &self.nodes {
            agent::terminate(node);
        }
    }
}

/// Reaches kubelets and pods from within the cluster's namespace.
pub(crate) struct HubDialer(NetNs);

#[async_trait]
impl KubeletDialer for HubDialer {
    async fn connect(&self, target: &Target) -> std::io::Result<BoxIo> {
        let ip: IpAddr = target.host.parse().map_err(std::io::Error::other)?;
        let stream = self
            .0
            .connect_tcp(SocketAddr::new(ip, target.port))
            .await
            .map_err(std::io::Error::other)?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// Starts every node's agent and waits until all nodes are Ready.
pub(crate) async fn start_agents(
    mut hub: Hub,
    cluster: &Cluster,
    paths: &Paths,
    plane: &ControlPlane,
    stop: &CancellationToken,
) -> anyhow::Result<Hub> {
    for index in 1..=cluster.nodes {
        let file = prepare(&hub, index, cluster, paths, plane)?;
        let dir = paths.node(&file.name);
        agent::end_and_wait(&dir)?;
        agent::spawn(paths, &file.name, &dir)?;
        hub.nodes.push(dir);
    }
    let factory = Factory::new(
        plane.client(UserInfo::new(users::CONTROLLER_MANAGER, []), agents::CONTROLLERS),
        stop.child_token(),
    );
    start_routes(&hub, &factory, stop);
    all_ready(&factory, usize::from(cluster.nodes)).await;
    Ok(hub)
}

/// The API server's way to pods leads through their nodes.
fn start_routes(hub: &Hub, factory: &Factory, stop: &CancellationToken) {
    let (net, factory, stop) = (Arc::clone(&hub.net), factory.clone(), stop.clone());
    tokio::spawn(async move {
        crate::feeds::routes::run(&factory, "", move |wanted| net.set_routes(wanted), stop).await;
    });
}

/// Everything an agent reads: its namespace, its settings, its identities.
fn prepare(
    hub: &Hub,
    index: u16,
    cluster: &Cluster,
    paths: &Paths,
    plane: &ControlPlane,
) -> anyhow::Result<AgentFile> {
    let namespace = hub.net.add_node(index)?;
    let name = format!("node-{index}");
    let ip = IpAddr::V4(namespace.ip);
    let dir = paths.node(&name);
    std::fs::create_dir_all(&dir)?;
    let server = format!("https://{}", SocketAddr::new(hub.address(), cluster.port));
    let pki = &plane.pki;
    let write = |file: &str, user: &str, identity: &Identity| {
        let entry = kubeconfig::Entry {
            name: CONTEXT,
            user,
            server: &server,
            ca_pem: pki.ca_pem(),
            identity,
        };
        kubeconfig::write(&dir.join(file), &entry)
    };
    write(
        agent::KUBELET_CONFIG,
        &format!("system:node:{name}"),
        &pki.kubelet(&name)?,
    )?;
    write(
        agent::PROXY_CONFIG,
        "system:kube-proxy",
        &pki.authority.issue(&Subject::client("system:kube-proxy", &[]))?,
    )?;
    let serving = pki.kubelet_serving(&name, &[ip])?;
    let file = AgentFile {
        cluster: cluster.clone(),
        index,
        ip,
        pod_cidr: cluster.pod_cidr(u32::from(index - 1))?,
        netns: hub_file(paths, index),
        cgroup: format!("{}/{name}", cluster.cgroup_root()).into(),
        serving_certificate: serving.certificate_pem().to_owned(),
        serving_key: serving.key_pem().to_owned(),
        ca_pem: pki.ca_pem().to_owned(),
        name,
    };
    ipv4(ip)?;
    file.save(&dir)?;
    Ok(file)
}

/// Where [`ClusterNet`] holds a node's namespace.
fn hub_file(paths: &Paths, index: u16) -> std::path::PathBuf {
    paths.namespaces().join(format!("node-{index}"))
}

async fn all_ready(factory: &Factory, wanted: usize) {
    let nodes = factory.informer::<Node>();
    until(&nodes, |nodes| {
        nodes.list().iter().filter(|node| is_ready(node)).count() >= wanted
    })
    .await;
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Ends agents, removes what runs in the nodes' scopes, then the scopes. Nothing there is fine.
pub(crate) fn destroy(cluster: &Cluster, paths: &Paths) -> anyhow::Result<()> {
    for index in 1..=cluster.nodes {
        let name = format!("node-{index}");
        let dir = paths.node(&name);
        if !dir.is_dir() {
            continue;
        }
        agent::end_and_wait(&dir)?;
        agent::destroy_scope(paths, &name, &dir)?;
        let cgroup = format!("{}/{name}", cluster.cgroup_root());
        corten_net::cluster::scope::remove_cgroups(Path::new(&cgroup))
            .with_context(|| format!("removing control groups of {name}"))?;
    }
    corten_net::cluster::destroy_at(&paths.namespaces()).context("removing the cluster's network")
}
