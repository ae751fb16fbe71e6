//! Several nodes on one machine: a namespace with a bridge, which has no route to anywhere, and one namespace per
//! node, joined to it. All are held by bind mounts in one directory, so that they outlive any process and a
//! later one takes them over.
//!
//! ```text
//! <dir>/cluster        bridge, first address of the subnet: where the API server listens
//! <dir>/node-<index>   eth0, address 2 + index of the subnet: where node <index>'s agent runs
//! ```

mod cgroups;
pub mod scope;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use crate::error::{Context, Error, Result};
use crate::ids::ClusterId;
use crate::netlink::Messages;
use crate::netns::NetNs;
use crate::node::{NodeRoutes, plan_routes};
use crate::rt::{self, Address, LinkConf, Rt, Veth};

const HUB: &str = "cluster";
const NODE_PREFIX: &str = "node-";
const UPLINK: &str = "eth0";
const MTU: u32 = 1500;

#[derive(Debug, Clone)]
pub struct Config {
    pub cluster: ClusterId,
    /// Where namespaces are held; made when missing. Should not be on a shared mount's way to other namespaces.
    pub dir: PathBuf,
    /// Addresses of the bridge and the nodes.
    pub subnet: Ipv4Net,
}

/// The cluster's namespace with its bridge.
#[derive(Debug)]
pub struct ClusterNet {
    config: Config,
    hub: NetNs,
}

/// One node's namespace.
#[derive(Debug, Clone)]
pub struct NodeNs {
    pub index: u16,
    /// Where it is held.
    pub path: PathBuf,
    pub netns: NetNs,
    pub ip: Ipv4Addr,
}

impl ClusterNet {
    /// Makes the namespace and the bridge, or takes over what is there.
    pub fn open(config: Config) -> Result<Self> {
        std::fs::create_dir_all(&config.dir).with_context(|| format!("creating {}", config.dir.display()))?;
        let path = config.dir.join(HUB);
        if let Some(hub) = NetNs::held_at(&path)? {
            return Ok(Self { config, hub });
        }
        NetNs::release(&path)?;
        let this = Self {
            hub: NetNs::create_at(&path)?,
            config,
        };
        let built = this.build_bridge();
        if built.is_err() {
            let _ = NetNs::release(&path);
        }
        built.map(|()| this)
    }

    fn build_bridge(&self) -> Result<()> {
        let mut rt = self.hub.run(Rt::open)?;
        let name = self.config.cluster.bridge();
        let mut messages = Messages::new();
        rt::set_link(&mut messages, rt::LOOPBACK_INDEX, LinkConf::default());
        rt::bridge(&mut messages, &name, mac(0x02, self.address()));
        rt.apply("creating the cluster's bridge", messages)?;
        let interface = rt.require_link(&name)?.index;
        let mut messages = Messages::new();
        rt::address(
            &mut messages,
            &Address {
                net: self.net(self.address()),
                interface,
                label: None,
            },
        );
        rt.apply("addressing the cluster's bridge", messages)
    }

    /// The namespace in which the API server listens.
    pub fn netns(&self) -> &NetNs {
        &self.hub
    }

    /// The bridge's address: the API server's, as nodes see it.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.config.subnet.network()) + 1)
    }

    /// Address of a node, there or not.
    pub fn node_address(&self, index: u16) -> Result<Ipv4Addr> {
        let ip = Ipv4Addr::from(u32::from(self.config.subnet.network()) + 2 + u32::from(index));
        if ip >= self.config.subnet.broadcast() {
            return Err(Error::Invalid(format!(
                "{} has no room for node {index}",
                self.config.subnet
            )));
        }
        Ok(ip)
    }

    /// Makes a node's namespace and joins it to the bridge, or takes over what is there.
    pub fn add_node(&self, index: u16) -> Result<NodeNs> {
        let ip = self.node_address(index)?;
        let path = self.config.dir.join(format!("{NODE_PREFIX}{index}"));
        if let Some(netns) = NetNs::held_at(&path)? {
            return Ok(NodeNs {
                index,
                path,
                netns,
                ip,
            });
        }
        NetNs::release(&path)?;
        let node = NodeNs {
            index,
            netns: NetNs::create_at(&path)?,
            path,
            ip,
        };
        let joined = self.join(&node);
        if joined.is_err() {
            let _ = NetNs::release(&node.path);
        }
        joined.map(|()| node)
    }

    fn join(&self, node: &NodeNs) -> Result<()> {
        use std::os::fd::AsRawFd;
        let mut hub = self.hub.run(Rt::open)?;
        let name = self.config.cluster.node_port(node.index);
        // The port of an earlier namespace that the kernel has not taken away yet.
        if let Some(old) = hub.link(&name)? {
            let mut messages = Messages::new();
            rt::delete_link(&mut messages, old.index);
            hub.apply_unless(
                "removing an old bridge port",
                messages,
                &[nix::errno::Errno::ENODEV],
            )?;
        }
        let mut messages = Messages::new();
        let veth = Veth {
            name: &name,
            mac: mac(0x06, node.ip),
            mtu: MTU,
            group: 0,
            master: Some(hub.require_link(&self.config.cluster.bridge())?.index),
            peer_name: UPLINK,
            peer_mac: mac(0x0a, node.ip),
            peer_netns: node.netns.as_raw_fd(),
        };
        rt::veth(&mut messages, &veth);
        hub.apply("joining a node to the bridge", messages)?;
        let mut inside = node.netns.run(Rt::open)?;
        let interface = inside.require_link(UPLINK)?.index;
        let mut messages = Messages::new();
        rt::set_link(&mut messages, rt::LOOPBACK_INDEX, LinkConf::default());
        // The node's pods are reached through it, and all of this namespace is ours.
        let conf = LinkConf {
            forwarding: Some(true),
            rp_filter: None,
            ..LinkConf::default()
        };
        rt::set_link(&mut messages, interface, conf);
        rt::address(
            &mut messages,
            &Address {
                net: self.net(node.ip),
                interface,
                label: None,
            },
        );
        inside.apply("configuring a node's interface", messages)
    }

    fn net(&self, ip: Ipv4Addr) -> Ipv4Net {
        Ipv4Net::new(ip, self.config.subnet.prefix_len()).unwrap_or(self.config.subnet)
    }

    /// Nodes that are held here, by index.
    pub fn nodes(&self) -> Result<Vec<NodeNs>> {
        let mut nodes = Vec::new();
        for index in held_nodes(&self.config.dir)? {
            let path = self.config.dir.join(format!("{NODE_PREFIX}{index}"));
            if let Some(netns) = NetNs::held_at(&path)? {
                nodes.push(NodeNs {
                    index,
                    path,
                    netns,
                    ip: self.node_address(index)?,
                });
            }
        }
        Ok(nodes)
    }

    /// Lets go of a node's namespace; it ends when its processes have.
    pub fn remove_node(&self, index: u16) -> Result<()> {
        release_node(&self.config.dir, index)
    }

    /// Makes the cluster's namespace reach pods through their nodes (the API server's proxying to pods).
    pub fn set_routes(&self, wanted: &NodeRoutes) -> Result<()> {
        let mut rt = self.hub.run(Rt::open)?;
        let plan = plan_routes(&rt.routes()?, wanted, self.config.cluster.route_metric());
        let mut messages = Messages::new();
        plan.remove
            .iter()
            .for_each(|r| rt::delete_route(&mut messages, r));
        plan.put.iter().for_each(|r| rt::replace_route(&mut messages, r));
        rt.apply("routing to pods", messages)
    }

    /// Lets go of all namespaces and removes the directory.
    pub fn destroy(self) -> Result<()> {
        destroy_at(&self.config.dir)
    }
}

/// As [`ClusterNet::destroy`], knowing only the directory (`corten down` after a crash). Nothing there is fine.
pub fn destroy_at(dir: &Path) -> Result<()> {
    for index in held_nodes(dir)? {
        release_node(dir, index)?;
    }
    NetNs::release(&dir.join(HUB))?;
    match std::fs::remove_dir(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn release_node(dir: &Path, index: u16) -> Result<()> {
    let path = dir.join(format!("{NODE_PREFIX}{index}"));
    NetNs::release(&scope::cgroup_namespace(&path))?;
    NetNs::release(&path)
}

fn held_nodes(dir: &Path) -> Result<Vec<u16>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("reading {}", dir.display()))?,
    };
    let index = |name: std::ffi::OsString| name.to_str()?.strip_prefix(NODE_PREFIX)?.parse().ok();
    let mut nodes: Vec<u16> = entries.flatten().filter_map(|e| index(e.file_name())).collect();
    nodes.sort_unstable();
    Ok(nodes)
}

fn mac(first: u8, ip: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = ip.octets();
    [first, 0x58, a, b, c, d]
}
