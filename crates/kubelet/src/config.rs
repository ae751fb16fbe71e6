//! What a node agent is told when it starts.

use crate::server::Access;
use crate::thresholds::Limits;
use corten_runtime::cri::{ImageService, RuntimeService, Streaming};
use corten_stdx::SharedClock;
use k8s_openapi::api::core::v1::Taint;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The agent of one node.
pub struct Config {
    pub node_name: String,
    /// The primary first; at least one.
    pub node_ips: Vec<IpAddr>,
    /// Where the agent reports to; its identity is `system:node:<name>`.
    pub client: kube::Client,
    pub runtime: Arc<dyn RuntimeService>,
    pub images: Arc<dyn ImageService>,
    pub streaming: Arc<dyn Streaming>,
    /// State of pods: volumes, hosts files, termination messages.
    pub root_dir: PathBuf,
    /// Container logs, upstream's `/var/log/pods`.
    pub log_dir: PathBuf,
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_domain: String,
    /// The node's resolver settings, for pods that want them; usually `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// The HTTPS server; without it there are no logs, no exec and no statistics.
    pub server: Option<ServerConfig>,
    /// Absolute within the cgroup hierarchy; pods live in `kubepods` below it.
    pub cgroup_root: String,
    pub max_pods: u32,
    pub limits: Limits,
    /// Written into the Node when it is registered.
    pub pod_cidrs: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub clock: SharedClock,
    pub kernel: Kernel,
    /// Called once, when the node is registered and Ready.
    pub ready: Option<Box<dyn FnOnce() + Send + Sync>>,
}

/// Which kernel effects are possible. Both, but in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    pub mounts: bool,
    pub cgroups: bool,
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            mounts: true,
            cgroups: true,
        }
    }
}

/// The kubelet's own HTTPS server (port 10250 upstream).
pub struct ServerConfig {
    /// Bound already, so that nobody has to guess ports.
    pub listener: tokio::net::TcpListener,
    /// Client certificates are asked for, not required.
    pub tls: Arc<rustls::ServerConfig>,
    pub access: Arc<dyn Access>,
}
