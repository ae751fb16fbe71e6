//! `corten status`: what of a cluster runs, without asking more than it must.

use crate::cli::ClusterArgs;
use crate::cluster::Cluster;
use crate::control_plane::{agents, server_url};
use crate::lock;
use crate::paths::Paths;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};

pub(crate) fn run(args: &ClusterArgs) -> anyhow::Result<()> {
    let paths = Paths::new(&args.data_dir)?;
    let Some(cluster) = Cluster::load(&paths.root)? else {
        println!(
            "no cluster in {}; start one with `corten up --data-dir {}`",
            paths.root.display(),
            paths.root.display()
        );
        return Ok(());
    };
    println!("data      {}", paths.root.display());
    println!("server    {}", server_url(&cluster));
    println!("pods      {}", cluster.cluster_cidr);
    println!("services  {}", cluster.service_cidr);
    let Some(pid) = lock::running_pid(&paths) else {
        println!("state     stopped; containers keep running until `corten down`, start with `corten up`");
        return Ok(());
    };
    println!("state     running (pid {pid})");
    crate::block_on(nodes(&paths))
}

async fn nodes(paths: &Paths) -> anyhow::Result<()> {
    let client = corten_client::from_kubeconfig(&paths.admin_kubeconfig(), agents::CORTEN).await?;
    for node in Api::<Node>::all(client).list(&ListParams::default()).await? {
        let status = node.status.unwrap_or_default();
        let ready = status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_ == "Ready" && c.status == "True");
        let version = status
            .node_info
            .map(|info| info.kubelet_version)
            .unwrap_or_default();
        println!(
            "node      {} {} {version}",
            node.metadata.name.unwrap_or_default(),
            if ready { "Ready" } else { "NotReady" }
        );
    }
    Ok(())
}
