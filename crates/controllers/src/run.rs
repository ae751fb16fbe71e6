//! All controllers of a process, wired.

use std::time::Duration;

use corten_client::{CancellationToken, Factory};
use corten_stdx::SharedClock;
use tokio::task::JoinSet;

use crate::core::Context;
use crate::core::context::Identities;
use crate::keys::Keys;
use crate::nodes::{ipam, lifecycle, pod_gc, tainted, ttl};
use crate::service_account_tokens::Filling;
use crate::{
    bootstrap, certificates, cluster_roles, cronjob, daemonset, deployment, disruption, endpoints, garbage,
    job, legacy_token_cleaner, load_balancer, namespace, protection, quota, replicaset,
    replication_controller, root_ca, service_account, service_account_tokens, service_cidrs, statefulset,
    storage_migration,
};

/// What the controllers need to be told.
#[derive(Clone)]
pub struct Config {
    /// The CA bundle (PEM) pods verify the server with; empty: it is not published.
    pub root_ca: String,
    /// The ranges pod addresses come from, one or one of each family; none: nodes get their ranges elsewhere.
    pub cluster_cidrs: Vec<ipnet::IpNet>,
    pub grace: lifecycle::Grace,
    pub clock: SharedClock,
    /// Whom each controller writes as; none: as the factory's client.
    pub identities: Option<Identities>,
    pub keys: Keys,
    /// After this long without use, tokens of Secrets made for accounts are cleaned up.
    pub legacy_token_period: Duration,
    /// StorageVersionMigrations are carried out.
    pub migrates: bool,
    /// Whether Services of type LoadBalancer get the addresses of nodes.
    pub load_balancer: bool,
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
            identities: None,
            keys: Keys::default(),
            legacy_token_period: legacy_token_cleaner::CLEAN_UP_PERIOD,
            migrates: false,
            load_balancer: false,
        }
    }
}

/// Runs every controller until `stop`, and returns when all have ended.
/// `factory` may be shared with the scheduler of the process.
pub async fn run_all(factory: Factory, config: Config, stop: CancellationToken) {
    let context = Context {
        factory,
        clock: config.clock.clone(),
        stop,
        identities: config.identities.clone(),
    };
    let mut tasks = JoinSet::new();
    workloads(&context, &mut tasks);
    derived(&context, &mut tasks, &config);
    housekeeping(&context, &mut tasks, &config);
    nodes(&context, &mut tasks, &config);
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a controller ended unexpectedly");
        }
    }
}

// The accounts are upstream's: its roles and bindings of every cluster name them.

fn workloads(context: &Context, tasks: &mut JoinSet<()>) {
    tasks.spawn(deployment::run(context.acting_as("deployment-controller")));
    tasks.spawn(replicaset::run(context.acting_as("replicaset-controller")));
    tasks.spawn(job::run(context.acting_as("job-controller")));
    tasks.spawn(statefulset::run(context.acting_as("statefulset-controller")));
    tasks.spawn(daemonset::run(context.acting_as("daemon-set-controller")));
    tasks.spawn(cronjob::run(context.acting_as("cronjob-controller")));
    tasks.spawn(replication_controller::run(
        context.acting_as("replication-controller"),
    ));
    tasks.spawn(crate::ttl::run(
        context.acting_as("ttl-after-finished-controller"),
    ));
}

/// What follows from other objects.
fn derived(context: &Context, tasks: &mut JoinSet<()>, config: &Config) {
    tasks.spawn(endpoints::run(context.clone()));
    tasks.spawn(endpoints::mirror::run(
        context.acting_as("endpointslicemirroring-controller"),
    ));
    tasks.spawn(service_account::run(
        context.acting_as("service-account-controller"),
    ));
    // Upstream's runs as the controller manager itself: it must be able to make everyone's tokens.
    let filling = config.keys.tokens.clone().map(|signer| Filling {
        signer,
        root_ca: config.root_ca.clone(),
    });
    let secrets = service_account_tokens::secrets(context);
    tasks.spawn(service_account_tokens::run(
        context.clone(),
        filling,
        secrets.clone(),
    ));
    tasks.spawn(legacy_token_cleaner::run(
        context.acting_as("legacy-service-account-token-cleaner"),
        context.clone(),
        secrets,
        config.legacy_token_period,
    ));
    tasks.spawn(cluster_roles::run(
        context.acting_as("clusterrole-aggregation-controller"),
    ));
    tasks.spawn(certificates::run(
        context.acting_as("certificate-controller"),
        config.keys.certificates.clone(),
    ));
    if config.load_balancer {
        tasks.spawn(load_balancer::run(context.acting_as("service-controller")));
    }
    if !config.root_ca.is_empty() {
        let context = context.acting_as("root-ca-cert-publisher");
        tasks.spawn(root_ca::run(context, config.root_ca.clone()));
    }
}

fn housekeeping(context: &Context, tasks: &mut JoinSet<()>, config: &Config) {
    if config.migrates {
        tasks.spawn(storage_migration::run(
            context.acting_as("storage-version-migrator-controller"),
        ));
    }
    tasks.spawn(garbage::run(context.acting_as("generic-garbage-collector")));
    tasks.spawn(namespace::run(context.acting_as("namespace-controller")));
    tasks.spawn(disruption::run(context.acting_as("disruption-controller")));
    tasks.spawn(quota::run(context.acting_as("resourcequota-controller")));
    tasks.spawn(protection::run(context.clone()));
    tasks.spawn(bootstrap::signer::run(context.acting_as("bootstrap-signer")));
    tasks.spawn(bootstrap::cleaner::run(context.acting_as("token-cleaner")));
    tasks.spawn(service_cidrs::run(context.acting_as("service-cidrs-controller")));
    tasks.spawn(pod_gc::run(context.acting_as("pod-garbage-collector")));
}

fn nodes(context: &Context, tasks: &mut JoinSet<()>, config: &Config) {
    let context = context.acting_as("node-controller");
    tasks.spawn(lifecycle::run(context.clone(), config.grace));
    tasks.spawn(tainted::run(context.clone()));
    tasks.spawn(ttl::run(context.acting_as("ttl-controller")));
    if !config.cluster_cidrs.is_empty() {
        tasks.spawn(ipam::run(context, config.cluster_cidrs.clone()));
    }
}
