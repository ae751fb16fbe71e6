//! `corten agent`: one node of `corten up --nodes N`, in a process and scopes of its own.

use crate::cli::AgentArgs;
use crate::cluster::Cluster;
use crate::control_plane::agents;
use crate::paths::Paths;
use crate::pod_network::NoNetwork;
use crate::{logging, machine, node};
use anyhow::Context;
use corten_auth::pki::Identity;
use corten_client::CancellationToken;
use corten_net::cluster::scope::{Scope, enter, rejoin};
use corten_runtime::embedded::{Config as RuntimeConfig, Runtime};
use corten_runtime::image::PullOptions;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) const KUBELET_CONFIG: &str = "kubelet.kubeconfig";
pub(crate) const PROXY_CONFIG: &str = "proxy.kubeconfig";
const FILE: &str = "agent.json";
const PID: &str = "agent.pid";
const LOG: &str = "agent.log";

/// What the server tells an agent. Holds a key: 0600.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentFile {
    pub(crate) cluster: Cluster,
    pub(crate) name: String,
    pub(crate) index: u16,
    pub(crate) ip: IpAddr,
    pub(crate) pod_cidr: Ipv4Net,
    pub(crate) netns: PathBuf,
    pub(crate) cgroup: PathBuf,
    pub(crate) serving_certificate: String,
    pub(crate) serving_key: String,
    pub(crate) ca_pem: String,
}

impl AgentFile {
    pub(crate) fn save(&self, dir: &Path) -> anyhow::Result<()> {
        let path = dir.join(FILE);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    fn load(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(FILE);
        let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged; `corten up` writes it anew", path.display()))
    }
}

/// The process. Enters the node's scopes before it has a second thread.
pub(crate) fn run(args: &AgentArgs) -> anyhow::Result<()> {
    machine::require_root("agent")?;
    let paths = Paths::new(&args.cluster.data_dir)?;
    let dir = paths.node(&args.node_name);
    let file = AgentFile::load(&dir)?;
    let scope = Scope {
        netns: file.netns.clone(),
        hostname: file.name.clone(),
        cgroup: file.cgroup.clone(),
    };
    match keeper_pid(&dir) {
        // The containers' mounts are in the scopes that the keeper lives in: a new agent must see them.
        Some(keeper) => rejoin(&scope, keeper)?,
        None => enter(&scope)?,
    }
    if args.destroy {
        return machine::runtime()?.block_on(destroy(&dir, &file.cluster.cgroup_root()));
    }
    std::fs::write(dir.join(PID), std::process::id().to_string())?;
    logging::init(&args.log)?;
    machine::stay_small();
    machine::runtime()?.block_on(serve(file, dir))
}

async fn serve(file: AgentFile, dir: PathBuf) -> anyhow::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let client = async |name: &str, agent| corten_client::from_kubeconfig(&dir.join(name), agent).await;
    let config = node::Config {
        ip: file.ip,
        pod_cidr: file.pod_cidr,
        cgroup: file.cluster.cgroup_root(),
        kubelet: client(KUBELET_CONFIG, agents::KUBELET).await?,
        proxy: client(PROXY_CONFIG, agents::PROXY).await?,
        serving: Identity::new(file.serving_certificate, file.serving_key),
        ca_pem: file.ca_pem,
        listener: machine::listen_kubelet(file.cluster.kubelet_port)?,
        cluster: file.cluster,
        name: file.name,
        dir: dir.clone(),
    };
    let node = node::start(config, stop.clone()).await?;
    tokio::spawn(machine::settle());
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    stop.cancel();
    node.ended().await;
    Ok(())
}

/// Removes containers, mounts, namespaces and control groups of a node. Images and logs stay.
pub(crate) async fn destroy(dir: &Path, cgroup: &str) -> anyhow::Result<()> {
    let config = RuntimeConfig {
        root: dir.to_owned(),
        state_dir: node::run_dir(dir),
        cgroup_root: format!("/{cgroup}"),
        keeper_command: node::keeper_command(),
        network: Arc::new(NoNetwork),
        pull: PullOptions::default(),
    };
    let runtime = Runtime::open(config)
        .await
        .context("finding the node's containers")?;
    runtime
        .destroy_all()
        .await
        .context("removing the node's containers")?;
    corten_kubelet::unmount_all(&dir.join("kubelet")).context("unmounting volumes")?;
    Ok(())
}

/// Starts the process of a node that [`AgentFile::save`] has described.
pub(crate) fn spawn(paths: &Paths, name: &str, dir: &Path) -> anyhow::Result<()> {
    let path = dir.join(LOG);
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| path.display().to_string())?;
    command(paths, name)?
        .stderr(log)
        .spawn()
        .with_context(|| format!("starting the agent of {name}"))?;
    Ok(())
}

/// Runs [`destroy`] within the node's scopes.
pub(crate) fn destroy_scope(paths: &Paths, name: &str, dir: &Path) -> anyhow::Result<()> {
    if !dir.join(FILE).exists() {
        return Ok(());
    }
    let output = command(paths, name)?
        .arg("--destroy")
        .stderr(Stdio::piped())
        .output()?;
    anyhow::ensure!(
        output.status.success(),
        "taking down {name}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn command(paths: &Paths, name: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("agent")
        .arg("--data-dir")
        .arg(&paths.root)
        .arg("--node-name")
        .arg(name);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

/// The running agent of a node: its pid file names a process that is an agent.
fn pid(dir: &Path) -> Option<nix::unistd::Pid> {
    let pid: i32 = std::fs::read_to_string(dir.join(PID)).ok()?.trim().parse().ok()?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let is_agent = command.split(|byte| *byte == 0).nth(1) == Some(b"agent");
    is_agent.then(|| nix::unistd::Pid::from_raw(pid))
}

/// Asks a node's agent to end.
pub(crate) fn terminate(dir: &Path) {
    if let Some(pid) = pid(dir) {
        // Gone in between is as good.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    }
}

/// Ends a node's agent, if one runs, and waits for it.
pub(crate) fn end_and_wait(dir: &Path) -> anyhow::Result<()> {
    let Some(pid) = pid(dir) else { return Ok(()) };
    let Some(handle) = rustix::process::Pid::from_raw(pid.as_raw()) else {
        return Ok(());
    };
    let Ok(descriptor) = rustix::process::pidfd_open(handle, rustix::process::PidfdFlags::empty()) else {
        return Ok(());
    };
    terminate(dir);
    let mut wait = [rustix::event::PollFd::new(
        &descriptor,
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut wait, None)?;
    let _ = std::fs::remove_file(dir.join(PID));
    Ok(())
}

/// The process behind the keeper's socket.
fn keeper_pid(dir: &Path) -> Option<i32> {
    use std::os::fd::AsRawFd;
    let run = std::fs::File::open(node::run_dir(dir)).ok()?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", run.as_raw_fd())).join("keeper.sock");
    let stream = std::os::unix::net::UnixStream::connect(path).ok()?;
    let peer = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials).ok()?;
    Some(peer.pid())
}
