//! `corten up`: from nothing, or from what an earlier run left, to a cluster that is ready.

use crate::cli::{RoleName, UpArgs};
use crate::cluster::{Cluster, Ranges};
use crate::control_plane::{self, CONTEXT, ControlPlane, Front, Settings, agents, with_entry};
use crate::many::{self, Hub};
use crate::paths::Paths;
use crate::serving::Serving;
use crate::{audit, detach, features, lock, logging, machine, node};
use anyhow::Context;
use clap::ValueEnum;
use corten_apiserver::{DirectDialer, KubeletDialer};
use corten_auth::{UserInfo, kubeconfig};
use corten_client::CancellationToken;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

pub(crate) fn run(args: &UpArgs) -> anyhow::Result<()> {
    let began = Instant::now();
    machine::require_root("up")?;
    let paths = Paths::new(&args.cluster.data_dir)?;
    if args.detach {
        return detach::start(&paths);
    }
    let outcome = serve(args, &paths, began);
    if let (true, Err(error)) = (args.detached, &outcome) {
        // The starter shows what comes on standard output; the log gets it as well.
        println!("Error: {error:#}");
    }
    outcome
}

fn serve(args: &UpArgs, paths: &Paths, began: Instant) -> anyhow::Result<()> {
    let audit = audit::options(&args.audit)?;
    if args.detached {
        detach::leave_session();
    }
    logging::init(&args.log)?;
    machine::stay_small();
    let settings = Settings {
        audit,
        features: features::of(&args.features)?,
        serving: Serving::of(&args.serving)?,
        controllers: args.controllers.clone(),
    };
    let _lock = lock::take(paths)?;
    let cluster = Cluster::load_or_choose(args, free_ranges)?;
    machine::runtime()?.block_on(async {
        let stop = CancellationToken::new();
        let ended = machine::ends()?;
        let running = start(&cluster, paths, &roles(args), settings, &stop).await;
        let running = match running {
            Ok(running) => running,
            Err(error) => {
                stop.cancel();
                return Err(error);
            }
        };
        if !args.no_kubeconfig {
            merge_kubeconfig(&cluster, &running.plane)?;
        }
        say_ready(&cluster, paths, began, !args.no_kubeconfig);
        if args.detached {
            detach::release()?;
        }
        tokio::spawn(machine::settle());
        ended.await;
        tracing::info!("stopping; containers keep running");
        running.stop(&stop).await;
        Ok(())
    })
}

/// What runs after a start.
struct Running {
    plane: ControlPlane,
    node: Option<node::Node>,
    hub: Option<Hub>,
}

impl Running {
    async fn stop(self, stop: &CancellationToken) {
        self.plane.stopping();
        if let Some(hub) = &self.hub {
            hub.stop_agents();
        }
        stop.cancel();
        if let Some(node) = self.node {
            node.ended().await;
        }
        self.plane.ended().await;
    }
}

/// The roles that this process takes.
fn roles(args: &UpArgs) -> Vec<RoleName> {
    let wanted = |role: &RoleName| {
        let value = role.to_possible_value();
        !value.is_some_and(|value| args.without.iter().any(|name| value.matches(name, false)))
    };
    RoleName::ALL.into_iter().filter(wanted).collect()
}

async fn start(
    cluster: &Cluster,
    paths: &Paths,
    roles: &[RoleName],
    settings: Settings,
    stop: &CancellationToken,
) -> anyhow::Result<Running> {
    let listener = machine::listen(cluster.port, "--port")?;
    if cluster.nodes > 1 {
        return start_many(cluster, paths, roles, settings, listener, stop).await;
    }
    let ip = match cluster.node_ip.or_else(machine::default_address) {
        Some(ip) => ip,
        None => cluster.fallback_node_ip()?,
    };
    let front = Front {
        listeners: vec![listener],
        advertise: ip,
        dialer: Arc::new(DirectDialer),
        settings,
    };
    let plane = control_plane::start(cluster, paths, front, roles, stop.clone()).await?;
    let mut node = node::start(single(cluster, paths, &plane, ip)?, stop.clone()).await?;
    let (ready, ()) = tokio::join!(node.ready(), plane.accepts_pods(stop));
    ready?;
    Ok(Running {
        plane,
        node: Some(node),
        hub: None,
    })
}

/// The one node, in this process and this machine's own network.
fn single(
    cluster: &Cluster,
    paths: &Paths,
    plane: &ControlPlane,
    ip: IpAddr,
) -> anyhow::Result<node::Config> {
    let name = cluster.node_name.clone();
    Ok(node::Config {
        ip,
        dir: paths.node(&name),
        pod_cidr: cluster.pod_cidr(0)?,
        cgroup: cluster.cgroup_root(),
        kubelet: plane.client(UserInfo::node(&name), agents::KUBELET),
        proxy: plane.client(UserInfo::new("system:kube-proxy", []), agents::PROXY),
        serving: plane.pki.kubelet_serving(&name, &[ip])?,
        ca_pem: plane.pki.ca_pem().to_owned(),
        listener: machine::listen_kubelet(cluster.kubelet_port)?,
        cluster: cluster.clone(),
        name,
    })
}

async fn start_many(
    cluster: &Cluster,
    paths: &Paths,
    roles: &[RoleName],
    settings: Settings,
    listener: std::net::TcpListener,
    stop: &CancellationToken,
) -> anyhow::Result<Running> {
    let hub = Hub::open(cluster, paths)?;
    let inside = hub.listen(SocketAddr::new(hub.address(), cluster.port))?;
    let dialer: Arc<dyn KubeletDialer> = Arc::new(hub.dialer());
    let front = Front {
        listeners: vec![listener, inside],
        advertise: hub.address(),
        dialer,
        settings,
    };
    let plane = control_plane::start(cluster, paths, front, roles, stop.clone()).await?;
    let (hub, ()) = tokio::join!(
        many::start_agents(hub, cluster, paths, &plane, stop),
        plane.accepts_pods(stop)
    );
    let hub = hub?;
    Ok(Running {
        plane,
        node: None,
        hub: Some(hub),
    })
}

/// Ranges that nothing on the machine uses. Another cluster shows by its routes, also where only its containers run.
pub(crate) fn free_ranges() -> anyhow::Result<Ranges> {
    let ranges = corten_net::cidr::pick(None, &[]).context("choosing address ranges")?;
    Ok(Ranges {
        pods: IpNet::V4(ranges.pods),
        services: IpNet::V4(ranges.services),
        nodes: IpNet::V4(ranges.nodes),
    })
}

fn merge_kubeconfig(cluster: &Cluster, plane: &ControlPlane) -> anyhow::Result<()> {
    let Some(path) = user_kubeconfig() else {
        return Ok(());
    };
    with_entry(cluster, &plane.pki, |entry| kubeconfig::merge(&path, entry))
        .with_context(|| format!("adding the context to {}", path.display()))
}

/// `~/.kube/config`.
pub(crate) fn user_kubeconfig() -> Option<std::path::PathBuf> {
    Some(std::path::PathBuf::from(std::env::var_os("HOME")?).join(".kube/config"))
}

fn say_ready(cluster: &Cluster, paths: &Paths, began: Instant, merged: bool) {
    let file = paths.admin_kubeconfig();
    println!("{} in {:.2} s", detach::READY, began.elapsed().as_secs_f64());
    match cluster.nodes {
        1 => println!("  node      {}, Kubernetes v1.36.2", cluster.node_name),
        nodes => println!("  nodes     {nodes}, Kubernetes v1.36.2"),
    }
    println!("  server    {}", control_plane::server_url(cluster));
    if merged {
        println!(
            "  kubectl   context \"{CONTEXT}\" in ~/.kube/config (or --kubeconfig {})",
            file.display()
        );
    } else {
        println!("  kubectl   --kubeconfig {}", file.display());
    }
    println!("  next      kubectl create deployment web --image=nginx && kubectl get pods -w");
}
