//! `corten server`: the roles of a control plane on their own; without `--kubeconfig` those beside the store of a data
//! directory, with it controllers and scheduler of another API server, upstream's included.

use crate::cli::{LoadBalancer, RoleName, ServerArgs, UpArgs};
use crate::cluster::Cluster;
use crate::control_plane::{self, Front, Settings, agents};
use crate::keys::KeyFiles;
use crate::paths::Paths;
use crate::roles::{Candidate, Role};
use crate::serving::Serving;
use crate::{audit, features, lock, logging, machine, up};
use anyhow::{Context, bail};
use corten_apiserver::DirectDialer;
use corten_client::{CancellationToken, Factory, Remote};
use corten_controllers::nodes::lifecycle::Grace;
use corten_stdx::{RealClock, SharedClock};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

pub(crate) fn run(args: &ServerArgs) -> anyhow::Result<()> {
    logging::init(&args.log)?;
    machine::stay_small();
    match &args.kubeconfig {
        Some(file) => machine::runtime()?.block_on(remote(args, file)),
        None => local(args),
    }
}

/// With the store of a data directory, hence with its API server.
fn local(args: &ServerArgs) -> anyhow::Result<()> {
    let roles = args.roles();
    if !roles.contains(&RoleName::Apiserver) {
        bail!("--only without apiserver needs an API server to work for: name it with --kubeconfig FILE");
    }
    let (features, serving) = (features::of(&args.features)?, Serving::of(&args.serving)?);
    let paths = Paths::new(&args.cluster.data_dir)?;
    let _lock = lock::take(&paths)?;
    let chosen = UpArgs {
        cluster: args.cluster.clone(),
        port: args.port,
        node_ip: args.advertise_address,
        cluster_cidr: args.cluster_cidr,
        service_cidr: args.service_cidr.map(|(first, _)| first),
        second_service_cidr: args.service_cidr.and_then(|(_, second)| second),
        service_load_balancer: args.service_load_balancer,
        ..UpArgs::default()
    };
    let cluster = Cluster::load_or_choose(&chosen, up::free_ranges)?;
    let audit = audit::options(&args.audit)?;
    machine::runtime()?.block_on(async {
        let (stop, ended) = (CancellationToken::new(), machine::ends()?);
        let listener = machine::listen(cluster.port, "--port")?;
        let advertise = cluster.node_ip.or_else(machine::default_address);
        let front = Front {
            listeners: vec![listener],
            advertise: advertise.unwrap_or(IpAddr::from([127, 0, 0, 1])),
            dialer: Arc::new(DirectDialer),
            settings: Settings {
                audit,
                features,
                serving,
                controllers: args.controllers.clone(),
            },
        };
        let plane = control_plane::start(&cluster, &paths, front, &roles, stop.clone()).await?;
        println!("serving {}", control_plane::server_url(&cluster));
        println!("  kubectl   --kubeconfig {}", paths.admin_kubeconfig().display());
        tokio::spawn(machine::settle());
        ended.await;
        plane.stopping();
        stop.cancel();
        plane.ended().await;
        Ok(())
    })
}

/// For another API server. Ends with an error when a lease is lost: whoever supervises starts it again.
async fn remote(args: &ServerArgs, kubeconfig: &Path) -> anyhow::Result<()> {
    let names = args.roles();
    if names.contains(&RoleName::Apiserver) {
        bail!("--kubeconfig names another API server: choose with --only controllers,scheduler");
    }
    let open = async |agent: &str| {
        let server = Remote::open(kubeconfig, agent).await;
        server.with_context(|| kubeconfig.display().to_string())
    };
    let clock: SharedClock = RealClock::shared();
    let host = nix::unistd::gethostname().context("reading the host name")?;
    let candidate = Candidate::remote(&host.to_string_lossy(), clock.clone());
    let (stop, ended) = (CancellationToken::new(), machine::ends()?);
    let signalled = stop.clone();
    tokio::spawn(async move {
        ended.await;
        signalled.cancel();
    });
    let mut running = tokio::task::JoinSet::new();
    let mut shared = None;
    for name in names {
        let role = match name {
            RoleName::Controllers => {
                let server = open(agents::CONTROLLERS).await?;
                Role::controllers(server.client(), config(args, &server, &clock)?)
            }
            RoleName::Scheduler => Role::scheduler(open(agents::SCHEDULER).await?.client(), clock.clone()),
            RoleName::Apiserver => continue,
        };
        // All roles read as whom the kubeconfig names: one cache does for them.
        let informers = shared.get_or_insert_with(|| Factory::new(role.client.clone(), stop.child_token()));
        let informers = informers.acting_as(role.client.clone());
        let (candidate, stop, lease) = (candidate.clone(), stop.child_token(), role.lease);
        running.spawn(async move { role.once(candidate, informers, stop).await.then_some(lease) });
    }
    let mut lost = None;
    while let Some(ended) = running.join_next().await {
        if let Some(lease) = ended? {
            lost = Some(lease);
            stop.cancel();
        }
    }
    match lost {
        Some(lease) => bail!("the lease {lease} was lost to another, or could not be renewed in time"),
        None => Ok(()),
    }
}

fn config(
    args: &ServerArgs,
    server: &Remote,
    clock: &SharedClock,
) -> anyhow::Result<corten_controllers::Config> {
    let mut config = corten_controllers::Config::new(clock.clone());
    if let Some(file) = &args.root_ca_file {
        config.root_ca = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    }
    config.cluster_cidrs = args.cluster_cidr.into_iter().collect();
    config.grace = Grace::default();
    config.load_balancer = args.service_load_balancer == Some(LoadBalancer::Node);
    config.keys = KeyFiles::read(args)?;
    config.migrates = features::gates(&args.features.feature_gates)?;
    args.controllers.apply(&mut config);
    if args.use_service_account_credentials {
        let server = server.clone();
        config.identities = Some(Arc::new(move |account: &str| {
            server.service_account("kube-system", account)
        }));
    }
    Ok(config)
}
