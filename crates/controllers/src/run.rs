//! All controllers of a process, wired.

use corten_client::{CancellationToken, Factory};
use corten_stdx::SharedClock;
use tokio::task::JoinSet;

use crate::core::Context;
use crate::nodes::{ipam, lifecycle, pod_gc, tainted};
use crate::{
    cluster_roles, cronjob, daemonset, deployment, disruption, endpoints, garbage, job, namespace,
    protection, quota, replicaset, replication_controller, root_ca, service_account, service_account_tokens,
    statefulset, ttl,
};

/// What the controllers need to be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The CA bundle (PEM) pods verify the server with; empty: it is not published.
    pub root_ca: String,
    /// The ranges pod addresses come from, one or one of each family; none: nodes get their ranges elsewhere.
    pub cluster_cidrs: Vec<ipnet::IpNet>,
    pub grace: lifecycle::Grace,
    pub clock: SharedClock,
}

impl Config {
    /// What is needed least.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self {
            root_ca: String::new(),
            cluster_cidrs: Vec::new(),
            grace: lifecycle::Grace::default(),
            clock,
        }
    }
}

/// Runs every controller until `stop`, and returns when all have ended.
/// `factory` may be shared with the scheduler of the process.
pub async fn run_all(factory: Factory, config: Config, stop: CancellationToken) {
    let context = Context {
        factory,
        clock: config.clock,
        stop,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(deployment::run(context.clone()));
    tasks.spawn(replicaset::run(context.clone()));
    tasks.spawn(endpoints::run(context.clone()));
    tasks.spawn(garbage::run(context.clone()));
    tasks.spawn(namespace::run(context.clone()));
    tasks.spawn(service_account::run(context.clone()));
    tasks.spawn(job::run(context.clone()));
    tasks.spawn(statefulset::run(context.clone()));
    tasks.spawn(daemonset::run(context.clone()));
    tasks.spawn(cronjob::run(context.clone()));
    tasks.spawn(disruption::run(context.clone()));
    tasks.spawn(replication_controller::run(context.clone()));
    tasks.spawn(quota::run(context.clone()));
    tasks.spawn(ttl::run(context.clone()));
    tasks.spawn(cluster_roles::run(context.clone()));
    tasks.spawn(protection::run(context.clone()));
    tasks.spawn(endpoints::mirror::run(context.clone()));
    tasks.spawn(service_account_tokens::run(context.clone()));
    tasks.spawn(lifecycle::run(context.clone(), config.grace));
    tasks.spawn(tainted::run(context.clone()));
    tasks.spawn(pod_gc::run(context.clone()));
    if !config.cluster_cidrs.is_empty() {
        tasks.spawn(ipam::run(context.clone(), config.cluster_cidrs.clone()));
    }
    if !config.root_ca.is_empty() {
        tasks.spawn(root_ca::run(context.clone(), config.root_ca.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a controller ended unexpectedly");
        }
    }
}
