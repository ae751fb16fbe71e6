//! What a cluster is, once and for all: chosen at its first start, kept in `cluster.json`, read at every later one.

use crate::cli::{LoadBalancer, UpArgs};
use anyhow::{Context, bail};
use corten_kubelet::Limits;
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Upstream's default port of the API server.
const DEFAULT_PORT: u16 = 6443;
/// Upstream's default of `--node-monitor-grace-period`.
const DEFAULT_GRACE_S: f64 = 50.0;
/// The address within the service range that DNS answers on, as kubeadm chooses it.
const DNS_INDEX: usize = 10;

/// Length of a node's share of the pod range (upstream's `--node-cidr-mask-size-ipv4`).
const NODE_MASK: u8 = 24;

/// Address ranges that are free on this machine.
pub(crate) struct Ranges {
    pub(crate) pods: IpNet,
    pub(crate) services: IpNet,
    pub(crate) nodes: IpNet,
}

/// A cluster's lasting choices.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cluster {
    /// Eight hexadecimal digits that mark everything this cluster makes on the machine.
    pub(crate) id: String,
    pub(crate) port: u16,
    /// `None`: 10250, or a free port where that is taken.
    pub(crate) kubelet_port: Option<u16>,
    pub(crate) nodes: u16,
    pub(crate) node_name: String,
    pub(crate) node_ip: Option<IpAddr>,
    pub(crate) cluster_cidr: IpNet,
    pub(crate) service_cidr: IpNet,
    /// Of the other family.
    #[serde(default)]
    pub(crate) second_service_cidr: Option<IpNet>,
    /// Addresses of the nodes of `--nodes N`.
    pub(crate) node_cidr: IpNet,
    pub(crate) domain: String,
    #[serde(default)]
    pub(crate) insecure_registries: Vec<String>,
    /// By registry.
    #[serde(default)]
    pub(crate) registry_mirrors: BTreeMap<String, Vec<String>>,
    pub(crate) node_monitor_grace_s: f64,
    #[serde(default)]
    pub(crate) kubelet_limits: Limits,
    /// `None`: never said, which means node addresses.
    #[serde(default)]
    pub(crate) service_load_balancer: Option<LoadBalancer>,
}

impl Cluster {
    /// The cluster of this data directory, if one was ever started there.
    pub(crate) fn load(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = file(data_dir);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let cluster = serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} is damaged; restore it or start with another --data-dir",
                path.display()
            )
        })?;
        Ok(Some(cluster))
    }

    /// The cluster to start: the one kept here with what the flags may change, or a new one. `in_use` are the ranges
    /// that something on this machine has already.
    pub(crate) fn load_or_choose(
        args: &UpArgs,
        ranges: impl FnOnce() -> anyhow::Result<Ranges>,
    ) -> anyhow::Result<Self> {
        let mut cluster = match Self::load(&args.cluster.data_dir)? {
            Some(cluster) => cluster,
            None => Self::choose(args, ranges)?,
        };
        cluster.refuse_changes(args)?;
        cluster.second_service_cidr = cluster.second_service_cidr.or(args.second_service_cidr);
        cluster.port = args.port.unwrap_or(cluster.port);
        cluster.kubelet_port = args.kubelet_port.or(cluster.kubelet_port);
        if let Some(grace) = args.node_monitor_grace_period {
            cluster.node_monitor_grace_s = grace.as_secs_f64();
        }
        cluster.kubelet_limits = args.kubelet.limits(cluster.kubelet_limits)?;
        cluster.service_load_balancer = args.service_load_balancer.or(cluster.service_load_balancer);
        if !args.insecure_registry.is_empty() {
            cluster.insecure_registries.clone_from(&args.insecure_registry);
        }
        if !args.registry_mirror.is_empty() {
            cluster.registry_mirrors = mirrors(args);
        }
        cluster.save(&args.cluster.data_dir)?;
        Ok(cluster)
    }

    fn choose(args: &UpArgs, ranges: impl FnOnce() -> anyhow::Result<Ranges>) -> anyhow::Result<Self> {
        let free = ranges()?;
        let (cluster_cidr, service_cidr) = (
            args.cluster_cidr.unwrap_or(free.pods),
            args.service_cidr.unwrap_or(free.services),
        );
        if cluster_cidr.contains(&service_cidr) || service_cidr.contains(&cluster_cidr) {
            bail!(
                "--cluster-cidr {cluster_cidr} and --service-cidr {service_cidr} overlap; choose ranges apart"
            );
        }
        Ok(Self {
            id: uuid::Uuid::new_v4().simple().to_string()[..8].to_owned(),
            port: args.port.unwrap_or(DEFAULT_PORT),
            kubelet_port: args.kubelet_port,
            nodes: args.nodes.unwrap_or(1),
            node_name: args.node_name.clone().unwrap_or(host_name()?),
            node_ip: args.node_ip,
            cluster_cidr,
            service_cidr,
            second_service_cidr: args.second_service_cidr,
            node_cidr: free.nodes,
            domain: args
                .cluster_domain
                .clone()
                .unwrap_or_else(|| "cluster.local".to_owned()),
            insecure_registries: args.insecure_registry.clone(),
            registry_mirrors: mirrors(args),
            node_monitor_grace_s: DEFAULT_GRACE_S,
            kubelet_limits: Limits::default(),
            service_load_balancer: None,
        })
    }

    /// What objects in the store already rest on cannot be changed by a flag.
    fn refuse_changes(&self, args: &UpArgs) -> anyhow::Result<()> {
        let place = args.cluster.data_dir.display();
        let refuse = |flag: &str, wanted: String, has: String| -> anyhow::Result<()> {
            bail!(
                "--{flag} {wanted}: the cluster in {place} was made with {has}; leave the flag out, or use another --data-dir"
            )
        };
        if let Some(nodes) = args.nodes.filter(|n| *n != self.nodes) {
            refuse("nodes", nodes.to_string(), self.nodes.to_string())?;
        }
        if let Some(cidr) = args.cluster_cidr.filter(|c| *c != self.cluster_cidr) {
            refuse("cluster-cidr", cidr.to_string(), self.cluster_cidr.to_string())?;
        }
        if let Some(cidr) = args.service_cidr.filter(|c| *c != self.service_cidr) {
            refuse("service-cidr", cidr.to_string(), self.service_cidr.to_string())?;
        }
        let second = (args.second_service_cidr).zip(self.second_service_cidr);
        if let Some((wanted, has)) = second.filter(|(wanted, has)| wanted != has) {
            refuse("service-cidr", wanted.to_string(), has.to_string())?;
        }
        if let Some(name) = args.node_name.as_ref().filter(|n| **n != self.node_name) {
            refuse("node-name", name.clone(), self.node_name.clone())?;
        }
        Ok(())
    }

    /// Writes the choices so that a crash leaves the old file or the new one.
    fn save(&self, data_dir: &Path) -> anyhow::Result<()> {
        let path = file(data_dir);
        let mut temporary = tempfile::NamedTempFile::new_in(data_dir)
            .with_context(|| format!("writing into {}", data_dir.display()))?;
        serde_json::to_writer_pretty(&mut temporary, self)?;
        temporary.as_file().sync_all()?;
        temporary
            .persist(&path)
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(())
    }

    /// The ranges of cluster IPs, that of the default family first.
    pub(crate) fn service_cidrs(&self) -> impl Iterator<Item = IpNet> {
        [self.service_cidr].into_iter().chain(self.second_service_cidr)
    }

    /// The address that cluster DNS answers on.
    pub(crate) fn dns_ip(&self) -> anyhow::Result<IpAddr> {
        self.service_cidr
            .hosts()
            .nth(DNS_INDEX - 1)
            .with_context(|| format!("--service-cidr {}: too small for DNS", self.service_cidr))
    }

    /// The address of the `kubernetes` Service: the first of the range.
    pub(crate) fn kubernetes_ip(&self) -> anyhow::Result<IpAddr> {
        self.service_cidr
            .hosts()
            .next()
            .with_context(|| format!("--service-cidr {}: no address in it", self.service_cidr))
    }

    /// The share of the pod range of the node of this index.
    pub(crate) fn pod_cidr(&self, index: u32) -> anyhow::Result<Ipv4Net> {
        let range = crate::node::ipv4_net(self.cluster_cidr)?;
        let too_small = || format!("--cluster-cidr {range}: no /{NODE_MASK} for node {index} in it");
        range
            .subnets(NODE_MASK)
            .with_context(too_small)?
            .nth(index as usize)
            .with_context(too_small)
    }

    /// An address for a node that has none: the first of the pod range, which no pod is given.
    pub(crate) fn fallback_node_ip(&self) -> anyhow::Result<IpAddr> {
        self.cluster_cidr
            .hosts()
            .next()
            .with_context(|| format!("--cluster-cidr {}: no address in it", self.cluster_cidr))
    }

    pub(crate) fn node_monitor_grace(&self) -> Duration {
        Duration::from_secs_f64(self.node_monitor_grace_s)
    }

    /// The parent of every control group of this cluster, relative to each hierarchy.
    pub(crate) fn cgroup_root(&self) -> String {
        format!("corten-{}", self.id)
    }
}

fn mirrors(args: &UpArgs) -> BTreeMap<String, Vec<String>> {
    let mut mirrors: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (registry, host) in &args.registry_mirror {
        mirrors.entry(registry.clone()).or_default().push(host.clone());
    }
    mirrors
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("cluster.json")
}

/// The host's name in the form a Node's name must have.
fn host_name() -> anyhow::Result<String> {
    let name = nix::unistd::gethostname().context("reading the host name")?;
    let name = name.to_string_lossy().to_lowercase();
    if corten_meta::names::is_dns1123_subdomain(&name).is_empty() {
        return Ok(name);
    }
    bail!("the host name {name:?} cannot name a node; give one with --node-name")
}
