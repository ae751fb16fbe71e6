//! `corten down`: ends the cluster and removes everything it made outside its data directory, also after a crash.

use crate::cli::ClusterArgs;
use crate::cluster::Cluster;
use crate::control_plane::{CONTEXT, server_url};
use crate::paths::Paths;
use crate::{agent, lock, machine, many, up};
use anyhow::Context;
use corten_net::ClusterId;
use std::path::Path;

pub(crate) fn run(args: &ClusterArgs) -> anyhow::Result<()> {
    machine::require_root("down")?;
    let paths = Paths::new(&args.data_dir)?;
    let Some(cluster) = Cluster::load(&paths.root)? else {
        println!("no cluster in {}", paths.root.display());
        return Ok(());
    };
    end_server(&paths)?;
    if cluster.nodes > 1 {
        many::destroy(&cluster, &paths)?;
    } else {
        let dir = paths.node(&cluster.node_name);
        if dir.is_dir() {
            machine::runtime()?.block_on(agent::destroy(&dir, &cluster.cgroup_root()))?;
        }
        corten_net::node::sweep(ClusterId::from_seed(&cluster.id), None)
            .context("removing the pod network")?;
        let _ = std::fs::remove_dir_all(crate::pod_network::addresses_dir(&dir));
    }
    corten_net::cluster::scope::remove_cgroups(Path::new(&cluster.cgroup_root()))
        .context("removing control groups")?;
    if let Some(path) = up::user_kubeconfig() {
        corten_auth::kubeconfig::remove(&path, CONTEXT, Some(&server_url(&cluster)))
            .context("removing the kubectl context")?;
    }
    println!("the cluster is down; its data stays in {}", paths.root.display());
    Ok(())
}

/// Asks the server to end and waits until it has.
fn end_server(paths: &Paths) -> anyhow::Result<()> {
    if let Some(pid) = lock::running_pid(paths) {
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)
            .with_context(|| format!("ending the server (pid {pid})"))?;
        lock::wait_free(paths)?;
    }
    Ok(())
}
