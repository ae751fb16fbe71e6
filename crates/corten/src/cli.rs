//! The command line as data: every flag, its default and its meaning, in one place.

use clap::{Args, Parser, Subcommand};
use corten_kubelet::{EvictionHard, ImageGc, Limits};
use std::net::IpAddr;
use std::path::PathBuf;

/// Where a cluster's data lives unless `--data-dir` says otherwise.
pub(crate) const DEFAULT_DATA_DIR: &str = "/var/lib/corten";

/// Kubernetes, whole, in one binary.
#[derive(Parser)]
#[command(name = "corten", version, propagate_version = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start a cluster on this machine: control plane and node
    Up(Box<UpArgs>),
    /// Run roles of a control plane on their own, here or for another API server
    Server(Box<ServerArgs>),
    /// Stop the cluster and remove everything it made outside its data directory
    Down(ClusterArgs),
    /// Say what is running
    Status(ClusterArgs),
    /// Import, list and remove container images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Measure: start, pod start, writes, reads and watches of a running cluster
    Bench(BenchArgs),
    /// One node of `up --nodes N`, run in its own namespaces
    #[command(hide = true)]
    Agent(AgentArgs),
    /// The process that parents a node's containers
    #[command(hide = true, disable_help_flag = true)]
    Keeper(KeeperArgs),
    /// Print a completion script
    Completion {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
}

/// What every command needs to find its cluster.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ClusterArgs {
    /// The cluster's data directory
    #[arg(long, default_value = DEFAULT_DATA_DIR, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
}

/// A role of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RoleName {
    /// The API server, and the store beside it
    Apiserver,
    /// What kube-controller-manager does
    Controllers,
    /// What kube-scheduler does
    Scheduler,
}

impl RoleName {
    pub(crate) const ALL: [Self; 3] = [Self::Apiserver, Self::Controllers, Self::Scheduler];
}

/// What gives Services of type LoadBalancer their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LoadBalancer {
    /// Nothing here: they stay pending, or another controller serves them
    None,
    /// The addresses of the nodes, which lead their ports to their endpoints
    Node,
}

/// The ranges cluster IPs come from; the first decides the default family.
pub(crate) type ServiceRanges = (ipnet::IpNet, Option<ipnet::IpNet>);

#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// The roles to run [default: all]
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    pub(crate) only: Vec<RoleName>,
    /// The API server that controllers and scheduler work for [default: that of this data directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Port of the API server
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Address under which pods and nodes reach the API server [default: the address of the default route]
    #[arg(long, value_name = "IP")]
    pub(crate) advertise_address: Option<IpAddr>,
    /// Addresses for pods; with --kubeconfig, nodes get their share of it only if it is given
    #[arg(long, value_name = "CIDR")]
    pub(crate) cluster_cidr: Option<ipnet::IpNet>,
    /// Addresses for services; with a second range of the other family, services may have addresses of both
    #[arg(long, value_name = "CIDR[,CIDR]", value_parser = parse_service_ranges)]
    pub(crate) service_cidr: Option<ServiceRanges>,
    /// What gives Services of type LoadBalancer their addresses [default: node; with --kubeconfig, none]
    #[arg(long, value_name = "KIND")]
    pub(crate) service_load_balancer: Option<LoadBalancer>,
    /// Give each controller a service account of its own, by tokens the kubeconfig's user may request
    #[arg(long, requires = "kubeconfig")]
    pub(crate) use_service_account_credentials: bool,
    /// What pods are given to verify the API server with
    #[arg(long, value_name = "FILE", requires = "kubeconfig")]
    pub(crate) root_ca_file: Option<PathBuf>,
    /// The key that signs tokens of service accounts
    #[arg(long, value_name = "FILE", requires = "kubeconfig")]
    pub(crate) service_account_private_key_file: Option<PathBuf>,
    /// The CA that signs certificates of clients and kubelets
    #[arg(long, value_name = "FILE", requires_all = ["kubeconfig", "cluster_signing_key_file"])]
    pub(crate) cluster_signing_cert_file: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "cluster_signing_cert_file")]
    pub(crate) cluster_signing_key_file: Option<PathBuf>,
    /// Log lines of this level and above: error, warn, info, debug, trace, or per-crate directives
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "CORTEN_LOG")]
    pub(crate) log: String,
    #[command(flatten)]
    pub(crate) features: FeatureArgs,
    #[command(flatten)]
    pub(crate) serving: ServingArgs,
    #[command(flatten)]
    pub(crate) controllers: ControllerArgs,
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
}

impl ServerArgs {
    pub(crate) fn roles(&self) -> Vec<RoleName> {
        if self.only.is_empty() {
            RoleName::ALL.to_vec()
        } else {
            self.only.clone()
        }
    }
}

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Return once the cluster is ready and leave it running
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Nodes on this machine, each in network, mount and cgroup scopes of its own; 1 runs in this machine's network
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) nodes: Option<u16>,
    /// Port of the API server
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Port of the node's kubelet server [default: 10250, or a free one where that is taken]
    #[arg(long, value_name = "PORT")]
    pub(crate) kubelet_port: Option<u16>,
    /// Address under which the node is known [default: the address of the default route]
    #[arg(long, value_name = "IP")]
    pub(crate) node_ip: Option<IpAddr>,
    /// Name of the node [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// Addresses for pods [default: the first range nothing on this machine uses]
    #[arg(long, value_name = "CIDR")]
    pub(crate) cluster_cidr: Option<ipnet::IpNet>,
    /// Addresses for services [default: the first range nothing on this machine uses]
    #[arg(long, value_name = "CIDR")]
    pub(crate) service_cidr: Option<ipnet::IpNet>,
    /// A second range, of the other family: a control plane without nodes of ours may have one.
    #[arg(skip)]
    pub(crate) second_service_cidr: Option<ipnet::IpNet>,
    /// DNS domain of the cluster
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) cluster_domain: Option<String>,
    /// Registries that may be spoken to over plain HTTP, beside those on loopback
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(crate) insecure_registry: Vec<String>,
    /// Ask HOST[:PORT] for a registry's images before the registry itself, * for every registry's
    #[arg(long, value_name = "REGISTRY=HOST", value_delimiter = ',', value_parser = parse_mirror)]
    pub(crate) registry_mirror: Vec<(String, String)>,
    /// How long a node may be silent before it is NotReady
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) node_monitor_grace_period: Option<std::time::Duration>,
    /// What gives Services of type LoadBalancer their addresses [default: node]
    #[arg(long, value_name = "KIND")]
    pub(crate) service_load_balancer: Option<LoadBalancer>,
    /// Leave a role to another process: it takes the role's lease
    #[arg(long, value_name = "ROLE", value_delimiter = ',', value_parser = ["controllers", "scheduler"])]
    pub(crate) without: Vec<String>,
    /// Do not add the context `corten` to ~/.kube/config
    #[arg(long)]
    pub(crate) no_kubeconfig: bool,
    /// Log lines of this level and above: error, warn, info, debug, trace, or per-crate directives
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "CORTEN_LOG")]
    pub(crate) log: String,
    /// Set by `--detach` for the process it starts
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
    #[command(flatten)]
    pub(crate) features: FeatureArgs,
    #[command(flatten)]
    pub(crate) serving: ServingArgs,
    #[command(flatten)]
    pub(crate) controllers: ControllerArgs,
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
    #[command(flatten)]
    pub(crate) kubelet: KubeletArgs,
}

/// When a node is full; upstream's flags of the kubelet, kept with the cluster.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Kubelet")]
pub(crate) struct KubeletArgs {
    /// How little may be left before a node is under pressure; 0% switches a threshold off [default:
    /// memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%]
    #[arg(long, value_name = "SIGNAL<LIMIT,...>")]
    pub(crate) eviction_hard: Option<EvictionHard>,
    /// Percent of the disk in use from which unused images are removed, 100 for never [default: 85]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) image_gc_high_threshold: Option<u8>,
    /// Percent of the disk in use down to which they are [default: 80]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) image_gc_low_threshold: Option<u8>,
}

impl KubeletArgs {
    /// `before`, but for what the flags say.
    pub(crate) fn limits(&self, before: Limits) -> anyhow::Result<Limits> {
        let ImageGc { high, low } = before.image_gc;
        let image_gc = ImageGc {
            high: self.image_gc_high_threshold.unwrap_or(high),
            low: self.image_gc_low_threshold.unwrap_or(low),
        };
        if image_gc.low >= image_gc.high {
            anyhow::bail!(
                "--image-gc-low-threshold {} must be lower than --image-gc-high-threshold {}",
                image_gc.low,
                image_gc.high
            );
        }
        Ok(Limits {
            eviction_hard: self.eviction_hard.clone().unwrap_or(before.eviction_hard),
            image_gc,
        })
    }
}

/// What is switched on beyond upstream's defaults; upstream's flags.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Features")]
pub(crate) struct FeatureArgs {
    /// Features to switch on or off: StorageVersionMigrator=true
    #[arg(long, value_name = "NAME=BOOL,...")]
    pub(crate) feature_gates: Vec<String>,
    /// Built-in APIs to switch on or off: storagemigration.k8s.io/v1beta1=true, api/beta=true
    #[arg(long, value_name = "GROUP/VERSION=BOOL,...")]
    pub(crate) runtime_config: Vec<String>,
}

/// How the API server serves, for this start; upstream's flags.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "API server")]
pub(crate) struct ServingArgs {
    /// How long events are kept; 0s for ever [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) event_ttl: Option<std::time::Duration>,
    /// With the next, the seats that priority and fairness shares out [default: 400]
    #[arg(long, value_name = "N")]
    pub(crate) max_requests_inflight: Option<u32>,
    /// See above [default: 200]
    #[arg(long, value_name = "N")]
    pub(crate) max_mutating_requests_inflight: Option<u32>,
    /// After what time a request is given up that is neither a watch nor a stream [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) request_timeout: Option<std::time::Duration>,
    /// Seconds a watch that names no timeout lasts at least; at most twice as many; 0 for ever [default: 1800]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) min_request_timeout: Option<u32>,
    /// Tokens that let users in: a CSV file of token, user name, user uid and groups ("a,b")
    #[arg(long, value_name = "FILE")]
    pub(crate) token_auth_file: Option<PathBuf>,
}

/// What controllers do; upstream's flags.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Controllers")]
pub(crate) struct ControllerArgs {
    /// How long a token of a Secret that was made for an account may be unused before it is put out of use, and then before
    /// it is deleted [default: 8760h]
    #[arg(long, value_name = "DURATION", value_parser = parse_period)]
    pub(crate) legacy_service_account_token_clean_up_period: Option<std::time::Duration>,
}

impl ControllerArgs {
    pub(crate) fn apply(&self, config: &mut corten_controllers::Config) {
        if let Some(period) = self.legacy_service_account_token_clean_up_period {
            config.legacy_token_period = period;
        }
    }
}

/// What is audited; upstream's flags.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Audit log")]
pub(crate) struct AuditArgs {
    /// Which requests are audited: a file with a Policy of audit.k8s.io/v1
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_policy_file: Option<PathBuf>,
    /// Where audit events are written, one JSON object a line; - is standard output
    #[arg(long, value_name = "FILE", requires = "audit_policy_file")]
    pub(crate) audit_log_path: Option<PathBuf>,
    /// Days after which audit logs that were set aside are removed; 0 never
    #[arg(long, value_name = "DAYS", default_value_t = 366)]
    pub(crate) audit_log_maxage: u32,
    /// Audit logs set aside that are kept; 0 all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) audit_log_maxbackup: usize,
    /// Megabytes after which the audit log is set aside; 0 never
    #[arg(long, value_name = "MB", default_value_t = 100)]
    pub(crate) audit_log_maxsize: u64,
    /// Where audit events are sent in batches: a kubeconfig file
    #[arg(long, value_name = "FILE", requires = "audit_policy_file")]
    pub(crate) audit_webhook_config_file: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum ImageCommand {
    /// Import a docker-archive or OCI-layout tar
    Import {
        /// The tar file
        file: PathBuf,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// List images
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// Remove an image
    Rm {
        /// Name, digest or id
        image: String,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
}

#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// What to measure
    #[arg(value_parser = ["start", "restart", "pods", "writes", "reads", "watch", "memory", "lists", "idle", "controllers", "crowd"], default_values_t = ["idle", "pods", "writes", "reads", "watch"].map(str::to_owned))]
    pub(crate) what: Vec<String>,
    /// Objects to create, and pods to start divided by 100
    #[arg(long, default_value_t = 2000)]
    pub(crate) objects: usize,
    /// Objects for `memory` and `restart`
    #[arg(long, default_value_t = 100_000)]
    pub(crate) many: usize,
    /// Megabytes of objects for `lists`
    #[arg(long, default_value_t = 1000)]
    pub(crate) megabytes: usize,
    /// Connections
    #[arg(long, default_value_t = 16)]
    pub(crate) connections: usize,
    /// Image for the pods, already imported
    #[arg(long)]
    pub(crate) image: Option<String>,
    /// Another API server to measure, by kubeconfig
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The processes whose memory and processor time count as the server's
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub(crate) server_pid: Vec<i32>,
    /// Give pods of `controllers` and `crowd` their nodes from here: for a cluster without a scheduler
    #[arg(long)]
    pub(crate) place: bool,
    /// Pods of `crowd`; nodes are a thirtieth
    #[arg(long)]
    pub(crate) pods: Option<usize>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct AgentArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// The node's name: its directory is DATA/nodes/NAME
    #[arg(long)]
    pub(crate) node_name: String,
    /// Remove the node's containers instead of running it
    #[arg(long)]
    pub(crate) destroy: bool,
    /// Log level
    #[arg(long, default_value = "info", env = "CORTEN_LOG")]
    pub(crate) log: String,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct KeeperArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) rest: Vec<std::ffi::OsString>,
}

/// `REGISTRY=HOST[:PORT]`.
fn parse_mirror(text: &str) -> Result<(String, String), String> {
    let host = |text: &str| {
        !text.is_empty() && !text.contains(['/', '=', '@']) && !text.contains(char::is_whitespace)
    };
    match text.split_once('=') {
        Some((registry, mirror)) if host(registry) && host(mirror) => Ok((registry.into(), mirror.into())),
        _ => Err(format!(
            "{text:?} is not REGISTRY=HOST[:PORT] such as docker.io=mirror.lan:5000; plain HTTP is allowed with --insecure-registry"
        )),
    }
}

/// Parses `40s`, `5m`, `1h30m` as Go's durations; a bare number has no unit and is refused.
fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 40s, 5m or 1h30m");
    let (mut total, mut number) = (0f64, String::new());
    let mut units = 0;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c.is_ascii_digit() || c == '.' {
            number.push(c);
            continue;
        }
        let milli = c == 'm' && rest.next_if_eq(&'s').is_some();
        let scale = match (c, milli) {
            ('m', true) => 0.001,
            ('s', _) => 1.0,
            ('m', _) => 60.0,
            ('h', _) => 3600.0,
            _ => return Err(wrong()),
        };
        total += number.parse::<f64>().map_err(|_| wrong())? * scale;
        number.clear();
        units += 1;
    }
    if units == 0 || !number.is_empty() {
        return Err(wrong());
    }
    std::time::Duration::try_from_secs_f64(total).map_err(|_| wrong())
}

/// A duration that is not none.
fn parse_period(text: &str) -> Result<std::time::Duration, String> {
    let period = parse_duration(text)?;
    if period.is_zero() {
        return Err(format!("invalid CleanUpPeriod: {text}"));
    }
    Ok(period)
}

/// One range, or two of different families.
fn parse_service_ranges(text: &str) -> Result<ServiceRanges, String> {
    let range = |text: &str| {
        text.parse::<ipnet::IpNet>()
            .map_err(|_| format!("{text:?} is not a range such as 10.96.0.0/16"))
    };
    let Some((first, second)) = text.split_once(',') else {
        return Ok((range(text)?, None));
    };
    let (first, second) = (range(first)?, range(second)?);
    if first.addr().is_ipv4() == second.addr().is_ipv4() {
        return Err(format!(
            "{first} and {second} are of the same family; a second range is for the other one"
        ));
    }
    Ok((first, Some(second)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{parse_duration, parse_service_ranges};
    use std::time::Duration;

    #[test]
    fn service_ranges_are_one_or_one_of_each_family() {
        assert_eq!(
            parse_service_ranges("10.96.0.0/16").map(|(_, second)| second),
            Ok(None)
        );
        let (first, second) = parse_service_ranges("fd00::/112,10.96.0.0/16").unwrap();
        assert_eq!(
            (first.to_string(), second.map(|range| range.to_string())),
            ("fd00::/112".to_owned(), Some("10.96.0.0/16".to_owned()))
        );
        for wrong in [
            "",
            "x",
            "10.96.0.0/16,",
            "10.96.0.0/16,10.97.0.0/16",
            "10.96.0.0/16,fd00::/112,fd01::/112",
        ] {
            assert!(parse_service_ranges(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_go_s() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "5", "m", "5x", "1h5"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
