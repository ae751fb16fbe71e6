//! A node: runtime, pod network, service proxy, DNS and kubelet, in whatever process and scope it was put.

use crate::cluster::Cluster;
use crate::control;
use crate::feeds;
use crate::parts::Parts;
use crate::pod_network::{Network, addresses_dir};
use anyhow::Context;
use corten_auth::pki::Identity;
use corten_client::{CancellationToken, Factory};
use corten_dns::{Forwarder, Records, Server as DnsServer, Sockets};
use corten_kubelet::server::Delegated;
use corten_kubelet::{Kernel, ServerConfig};
use corten_net::ClusterId;
use corten_net::node::NodeNet;
use corten_net::proxy::Proxy;
use corten_runtime::embedded::{Config as RuntimeConfig, Runtime};
use corten_runtime::image::PullOptions;
use corten_stdx::RealClock;
use ipnet::{IpNet, Ipv4Net};
use rustls::server::WebPkiClientVerifier;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::oneshot;

const DNS_PORT: u16 = 53;
/// Upstream's default.
const MAX_PODS: u32 = 110;
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What one node is told.
pub(crate) struct Config {
    pub(crate) cluster: Cluster,
    pub(crate) name: String,
    pub(crate) ip: IpAddr,
    pub(crate) dir: PathBuf,
    pub(crate) pod_cidr: Ipv4Net,
    /// Relative to every control-group hierarchy.
    pub(crate) cgroup: String,
    /// As `system:node:NAME`.
    pub(crate) kubelet: kube::Client,
    /// As `system:kube-proxy`.
    pub(crate) proxy: kube::Client,
    pub(crate) serving: Identity,
    pub(crate) ca_pem: String,
    pub(crate) listener: std::net::TcpListener,
}

/// A node that runs.
pub(crate) struct Node {
    parts: Parts,
    ready: oneshot::Receiver<()>,
}

impl Node {
    /// Resolves once the node is registered and Ready; an error if it ended instead.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        (&mut self.ready)
            .await
            .context("the node's agent ended before the node was Ready; see the log")
    }

    /// Until every part has ended, which they do when the token they were started with is cancelled.
    pub(crate) async fn ended(self) {
        self.parts.ended().await;
    }
}

/// Starts the node; its containers outlive it.
pub(crate) async fn start(config: Config, stop: CancellationToken) -> anyhow::Result<Node> {
    std::fs::create_dir_all(&config.dir).with_context(|| format!("making {}", config.dir.display()))?;
    let id = ClusterId::from_seed(&config.cluster.id);
    let net_config = net_config(&config, id)?;
    let dns_ip = ipv4(config.cluster.dns_ip()?)?;
    let proxy_config = corten_net::proxy::Config {
        cluster: id,
        netns: None,
        cluster_cidr: net_config.cluster_cidr,
        service_cidr: net_config.service_cidr,
    };
    let (net, proxy, sockets) = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let net = NodeNet::open(net_config)?;
        net.add_local_address(dns_ip)?;
        let sockets = Sockets::bind(SocketAddr::from((dns_ip, DNS_PORT)))?;
        Ok((Arc::new(net), Proxy::open(proxy_config)?, sockets))
    })
    .await?
    .context("setting up the node's network")?;
    let runtime = Runtime::open(runtime_config(&config, &net))
        .await
        .context("starting the container runtime")?;
    retain_networks(&runtime, &net).await?;
    control::serve(&config.dir, runtime.images().clone())?;

    let mut parts = Parts::default();
    let factory = Factory::new(config.proxy.clone(), stop.clone());
    start_feeds(&mut parts, &config, &factory, &net, proxy, sockets, &stop)?;
    let (announce, ready) = oneshot::channel();
    let kubelet = kubelet_config(config, runtime, announce)?;
    parts.spawn("kubelet", async move {
        if let Err(error) = corten_kubelet::run(kubelet, stop).await {
            tracing::error!(%error, "the kubelet could not start");
        }
    });
    Ok(Node { parts, ready })
}

fn start_feeds(
    parts: &mut Parts,
    config: &Config,
    factory: &Factory,
    net: &Arc<NodeNet>,
    proxy: Proxy,
    sockets: Sockets,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let dns_ip = config.cluster.dns_ip()?;
    let resolv_conf = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let forwarder = Forwarder::new(corten_dns::nameservers(&resolv_conf, &[dns_ip]));
    let server = DnsServer::start(sockets, Records::new(&config.cluster.domain, dns_ip), forwarder)?;
    let (names, end) = (factory.clone(), stop.clone());
    parts.spawn("dns feed", async move {
        feeds::names::run(&names, &server, end).await
    });

    let node = feeds::services::Node {
        name: config.name.clone(),
        zone: String::new(),
        own_addresses: vec![dns_ip],
    };
    let (services, end) = (factory.clone(), stop.clone());
    let pods = Factory::new(config.kubelet.clone(), stop.clone());
    parts.spawn("service feed", async move {
        feeds::services::run(&services, &pods, node, proxy, end).await
    });

    let (uplink, end) = (Arc::clone(net), stop.clone());
    parts.spawn("uplink", async move {
        tokio::select! {
            () = end.cancelled() => {}
            Err(error) = uplink.follow_uplink() => tracing::warn!(%error, "a change of the default route will not be followed"),
        }
    });

    let (routes, name, net, end) = (
        factory.clone(),
        config.name.clone(),
        Arc::clone(net),
        stop.clone(),
    );
    parts.spawn("route feed", async move {
        feeds::routes::run(&routes, &name, move |wanted| net.set_routes(wanted), end).await
    });
    Ok(())
}

fn net_config(config: &Config, id: ClusterId) -> anyhow::Result<corten_net::node::Config> {
    Ok(corten_net::node::Config {
        cluster: id,
        netns: None,
        state_dir: addresses_dir(&config.dir),
        cluster_cidr: ipv4_net(config.cluster.cluster_cidr)?,
        pod_cidr: config.pod_cidr,
        service_cidr: ipv4_net(config.cluster.service_cidr)?,
        mtu: None,
    })
}

fn runtime_config(config: &Config, net: &Arc<NodeNet>) -> RuntimeConfig {
    RuntimeConfig {
        root: config.dir.clone(),
        state_dir: run_dir(&config.dir),
        cgroup_root: format!("/{}", config.cgroup),
        keeper_command: keeper_command(),
        network: Arc::new(Network(Arc::clone(net))),
        pull: PullOptions {
            plain_http: config.cluster.insecure_registries.iter().cloned().collect(),
            mirrors: config.cluster.registry_mirrors.clone(),
        },
    }
}

/// The runtime's small state below a node's directory.
pub(crate) fn run_dir(node_dir: &Path) -> PathBuf {
    node_dir.join("run")
}

pub(crate) fn keeper_command() -> Vec<std::ffi::OsString> {
    vec!["/proc/self/exe".into(), "keeper".into()]
}

/// Gives back the addresses of sandboxes that did not survive.
async fn retain_networks(runtime: &Runtime, net: &Arc<NodeNet>) -> anyhow::Result<()> {
    use corten_runtime::cri::RuntimeService;
    let sandboxes = runtime.list_pod_sandbox(None).await?;
    let alive: std::collections::HashSet<String> = sandboxes.into_iter().map(|sandbox| sandbox.id).collect();
    let net = Arc::clone(net);
    tokio::task::spawn_blocking(move || net.retain(|sandbox| alive.contains(sandbox))).await??;
    Ok(())
}

fn kubelet_config(
    config: Config,
    runtime: Runtime,
    announce: oneshot::Sender<()>,
) -> anyhow::Result<corten_kubelet::Config> {
    let runtime = Arc::new(runtime);
    let server = kubelet_server(&config)?;
    Ok(corten_kubelet::Config {
        node_name: config.name,
        node_ips: vec![config.ip],
        client: config.kubelet,
        runtime: runtime.clone(),
        images: runtime.clone(),
        streaming: runtime,
        root_dir: config.dir.join("kubelet"),
        log_dir: config.dir.join("logs"),
        cluster_dns: vec![config.cluster.dns_ip()?],
        cluster_domain: config.cluster.domain,
        resolv_conf: RESOLV_CONF.into(),
        server: Some(server),
        cgroup_root: format!("/{}", config.cgroup),
        max_pods: MAX_PODS,
        limits: config.cluster.kubelet_limits,
        pod_cidrs: vec![config.pod_cidr.to_string()],
        labels: BTreeMap::new(),
        taints: Vec::new(),
        clock: RealClock::shared(),
        kernel: Kernel::default(),
        ready: Some(Box::new(move || {
            let _ = announce.send(());
        })),
    })
}

/// TLS with the node's own certificate; a client certificate is optional and must be of the cluster's CA.
fn kubelet_server(config: &Config) -> anyhow::Result<ServerConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in Identity::new(config.ca_pem.clone(), String::new()).chain()? {
        roots.add(certificate)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()?;
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(config.serving.chain()?, config.serving.key()?)
        .context("the kubelet's certificate")?;
    Ok(ServerConfig {
        listener: tokio::net::TcpListener::from_std(config.listener.try_clone()?)?,
        tls: Arc::new(tls),
        access: Arc::new(Delegated::new(config.kubelet.clone(), RealClock::shared())),
    })
}

pub(crate) fn ipv4(ip: IpAddr) -> anyhow::Result<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Ok(ip),
        IpAddr::V6(ip) => anyhow::bail!("{ip}: only IPv4 ranges are served by now"),
    }
}

pub(crate) fn ipv4_net(net: IpNet) -> anyhow::Result<Ipv4Net> {
    match net {
        IpNet::V4(net) => Ok(net),
        IpNet::V6(net) => anyhow::bail!("{net}: only IPv4 ranges are served by now"),
    }
}
