//! The pod network of one node: routed veth pairs, no bridge (RUNTIME.md: same-node service connections need no
//! bridge netfilter then, and a pod costs one netlink message and a route).
//!
//! All calls are synchronous and take a millisecond or two; from async code use `spawn_blocking`.

mod base;
mod host_ports;
mod ipam;
mod pod;
mod routes;
mod uplink;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::Ipv4Net;
use parking_lot::Mutex;
use tokio::io::unix::AsyncFd;

pub use host_ports::HostPort;
pub use ipam::gateway;
pub use pod::GATEWAY;
pub(crate) use routes::plan as plan_routes;
pub use routes::{NodeRoute, NodeRoutes};

use crate::error::{Context, Error, Result};
use crate::ids::ClusterId;
use crate::netlink::Messages;
use crate::netns::NetNs;
use crate::nft::Nft;
use crate::rt::{self, RouteMonitor, Rt};
use host_ports::HostPorts;
use ipam::Ipam;
use pod::Wiring;
use uplink::Claims;

/// Where there is no uplink to take it from.
const DEFAULT_MTU: u32 = 1500;

#[derive(Debug, Clone)]
pub struct Config {
    pub cluster: ClusterId,
    /// The node's network namespace; `None` is the calling thread's.
    pub netns: Option<PathBuf>,
    /// Directory of the address pool, nothing else's; made when missing.
    pub state_dir: PathBuf,
    /// All pods of the cluster.
    pub cluster_cidr: Ipv4Net,
    /// This node's pods. At least a /30; its first address becomes the node's own, on `lo`.
    pub pod_cidr: Ipv4Net,
    pub service_cidr: Ipv4Net,
    /// `None` takes the uplink's.
    pub mtu: Option<u32>,
}

/// What a pod got. One address today; a second one when there is IPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodAddresses {
    pub ips: Vec<IpAddr>,
}

/// One node's pod network, installed.
#[derive(Debug)]
pub struct NodeNet {
    config: Config,
    mtu: u32,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    rt: Rt,
    nft: Nft,
    ipam: Ipam,
    host_ports: HostPorts,
    claims: Claims,
}

impl NodeNet {
    /// Installs the node's part, or takes over what an earlier process left.
    pub fn open(config: Config) -> Result<Self> {
        check(&config)?;
        let (mut rt, mut nft) = sockets(config.netns.as_deref())?;
        let mut claims = base::install(&mut rt, &mut nft, &config)?;
        let uplink = base::uplink(&mut rt)?;
        if let Some(link) = &uplink {
            claims.take(&mut rt, &mut nft, config.cluster, link)?;
        }
        let mtu = config.mtu.or(uplink.map(|l| l.mtu)).unwrap_or(DEFAULT_MTU);
        let ipam = Ipam::open(config.state_dir.clone(), config.pod_cidr)?;
        let host_ports = HostPorts::open(&config.state_dir, config.cluster, &mut nft, &ipam)?;
        Ok(Self {
            config,
            mtu,
            inner: Mutex::new(Inner {
                rt,
                nft,
                ipam,
                host_ports,
                claims,
            }),
        })
    }

    /// Follows the default route from interface to interface (a laptop that moves from cable to wireless), until
    /// the kernel's messages end, which is an error. Run it as a task of its own.
    pub async fn follow_uplink(self: Arc<Self>) -> Result<()> {
        let monitor = in_namespace(self.config.netns.as_deref(), RouteMonitor::open)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; the monitor owns its descriptor and never swaps it"
        )]
        let monitor = AsyncFd::new(monitor).context("watching routes")?;
        loop {
            let this = Arc::clone(&self);
            let refreshed = tokio::task::spawn_blocking(move || this.refresh_uplink()).await;
            if let Err(error) = refreshed
                .map_err(std::io::Error::other)
                .context("following the uplink")?
            {
                tracing::warn!(%error, "pods may not reach what is outside the cluster");
            }
            loop {
                let mut ready = monitor.readable().await.context("watching routes")?;
                let changed = monitor.get_ref().default_route_changed();
                ready.clear_ready();
                if changed {
                    break;
                }
            }
        }
    }

    /// Makes the interface of the default route forward, if it does not.
    fn refresh_uplink(&self) -> Result<()> {
        let inner = &mut *self.inner.lock();
        match base::uplink(&mut inner.rt)? {
            Some(link) => inner
                .claims
                .take(&mut inner.rt, &mut inner.nft, self.config.cluster, &link),
            None => Ok(()),
        }
    }

    /// The node's own address in its pod range: source of its packets to pods and services.
    pub fn node_address(&self) -> Ipv4Addr {
        gateway(self.config.pod_cidr)
    }

    /// Wires a sandbox whose network namespace is at `netns`. Again for a sandbox that has an address: the same
    /// address, with a working interface. A failure leaves nothing behind.
    pub fn setup(&self, sandbox: &str, netns: &Path) -> Result<PodAddresses> {
        let pod = NetNs::open(netns)?;
        let wiring = Wiring {
            cluster: self.config.cluster,
            node_address: self.node_address(),
            mtu: self.mtu,
        };
        let inner = &mut *self.inner.lock();
        let known = inner.ipam.get(sandbox).is_some();
        let ip = inner.ipam.allocate(sandbox)?;
        if let Err(e) = pod::wire(&mut inner.rt, wiring, &pod, ip) {
            let _ = pod::remove(&mut inner.rt, self.config.cluster, ip);
            if !known {
                let _ = inner.ipam.release(sandbox);
            }
            return Err(e);
        }
        Ok(PodAddresses {
            ips: vec![IpAddr::V4(ip)],
        })
    }

    /// Leads ports of the node to a sandbox that is set up, until its teardown.
    pub fn publish(&self, sandbox: &str, ports: Vec<HostPort>) -> Result<()> {
        let inner = &mut *self.inner.lock();
        let Some(ip) = inner.ipam.get(sandbox) else {
            return Err(Error::Invalid(format!("sandbox {sandbox} has no address")));
        };
        pod::route_loopback(&mut inner.rt, self.config.cluster, ip)?;
        inner
            .host_ports
            .publish(&mut inner.nft, &inner.ipam, sandbox, ports)
    }

    /// Addresses of a sandbox that is set up.
    pub fn addresses(&self, sandbox: &str) -> Option<PodAddresses> {
        let ip = self.inner.lock().ipam.get(sandbox)?;
        Some(PodAddresses {
            ips: vec![IpAddr::V4(ip)],
        })
    }

    /// Takes a sandbox off the network and frees its address; unknown is fine. Its interface goes when its
    /// namespace does, which the caller removes.
    pub fn teardown(&self, sandbox: &str) -> Result<()> {
        let inner = &mut *self.inner.lock();
        let Some(ip) = inner.ipam.get(sandbox) else {
            return Ok(());
        };
        inner.host_ports.withdraw(&mut inner.nft, &inner.ipam, sandbox)?;
        pod::unroute(&mut inner.rt, self.config.cluster, ip)?;
        inner.ipam.release(sandbox).map(|_| ())
    }

    /// Tears down every sandbox that is not alive (after a crash or reboot); returns those.
    pub fn retain(&self, alive: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let inner = &mut *self.inner.lock();
        let dead: Vec<(String, Ipv4Addr)> = inner
            .ipam
            .sandboxes()
            .filter(|(id, _)| !alive(id))
            .map(|(id, ip)| (id.to_owned(), ip))
            .collect();
        for (sandbox, ip) in &dead {
            inner.host_ports.withdraw(&mut inner.nft, &inner.ipam, sandbox)?;
            pod::unroute(&mut inner.rt, self.config.cluster, *ip)?;
            pod::remove(&mut inner.rt, self.config.cluster, *ip)?;
            inner.ipam.release(sandbox)?;
        }
        Ok(dead.into_iter().map(|(id, _)| id).collect())
    }

    /// Makes the routes to other nodes' pods these. A node that cannot be routed to is reported after all others
    /// are done.
    pub fn set_routes(&self, wanted: &NodeRoutes) -> Result<()> {
        let inner = &mut *self.inner.lock();
        let plan = routes::plan(&inner.rt.routes()?, wanted, self.config.cluster.route_metric());
        let mut outcome = Ok(());
        for route in &plan.remove {
            let mut messages = Messages::new();
            rt::delete_route(&mut messages, route);
            outcome = outcome.and(inner.rt.apply_unless(
                "removing a route to a node",
                messages,
                &[nix::errno::Errno::ESRCH],
            ));
        }
        for route in &plan.put {
            let mut messages = Messages::new();
            rt::replace_route(&mut messages, route);
            outcome = outcome.and(inner.rt.apply(&format!("routing to {}", route.to), messages));
        }
        outcome.and(self.forward_between_nodes(inner, wanted))
    }

    /// Packets from other nodes' pods arrive on the links that lead to those nodes.
    fn forward_between_nodes(&self, inner: &mut Inner, wanted: &NodeRoutes) -> Result<()> {
        let mut towards = std::collections::BTreeSet::new();
        for node in wanted.values() {
            towards.extend(inner.rt.route_to(node.node_ip)?.and_then(|r| r.interface));
        }
        towards.remove(&rt::LOOPBACK_INDEX);
        if towards.is_empty() {
            return Ok(());
        }
        for link in inner.rt.links()?.iter().filter(|l| towards.contains(&l.index)) {
            inner
                .claims
                .take(&mut inner.rt, &mut inner.nft, self.config.cluster, link)?;
        }
        Ok(())
    }

    /// Gives this node a service's address of its own (the cluster DNS address), so that a server can bind it.
    pub fn add_local_address(&self, ip: Ipv4Addr) -> Result<()> {
        let mut messages = Messages::new();
        rt::address(&mut messages, &base::local_address(self.config.cluster, ip));
        self.inner
            .lock()
            .rt
            .apply(&format!("adding address {ip} to lo"), messages)
    }

    /// Removes everything, pods' interfaces included, and the address pool.
    pub fn destroy(self) -> Result<()> {
        let inner = &mut *self.inner.lock();
        base::sweep(&mut inner.rt, &mut inner.nft, self.config.cluster)?;
        let _ = std::fs::remove_dir_all(&self.config.state_dir);
        Ok(())
    }
}

/// Removes everything of a cluster from a network namespace by its names, as `corten down` does after a crash.
/// `None` is the calling thread's namespace. Nothing there is fine.
pub fn sweep(cluster: ClusterId, netns: Option<&Path>) -> Result<()> {
    let (mut rt, mut nft) = sockets(netns)?;
    base::sweep(&mut rt, &mut nft, cluster)
}

/// What of a cluster is in a network namespace, one line each: empty after [`sweep`].
pub fn leftovers(cluster: ClusterId, netns: Option<&Path>) -> Result<Vec<String>> {
    let (mut rt, mut nft) = sockets(netns)?;
    base::leftovers(&mut rt, &mut nft, cluster)
}

fn sockets(netns: Option<&Path>) -> Result<(Rt, Nft)> {
    in_namespace(netns, || Ok((Rt::open()?, Nft::open()?)))
}

fn in_namespace<T: Send>(netns: Option<&Path>, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    match netns {
        Some(path) => NetNs::open(path)?.run(f),
        None => f(),
    }
}

fn check(config: &Config) -> Result<()> {
    let (pods, cluster, services) = (config.pod_cidr, config.cluster_cidr, config.service_cidr);
    if !cluster.contains(&pods) || pods.prefix_len() > 30 {
        return Err(Error::Invalid(format!(
            "node pod range {pods} must be in {cluster} and at least a /30"
        )));
    }
    if cluster.contains(&services.network()) || services.contains(&cluster.network()) {
        return Err(Error::Invalid(format!(
            "service range {services} and pod range {cluster} overlap"
        )));
    }
    Ok(())
}
