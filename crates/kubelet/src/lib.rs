//! The node agent: runs the pods that the API assigns to this node and reports what becomes of them.
//!
//! Owns: pod workers and their state machine, volumes, probes, the Node object and its lease, the kubelet's HTTPS
//! server. Must never know: how the runtime runs containers, how pod addresses are chosen, what a controller is; it never
//! talks to another kubelet. Read first: `machine/mod.rs` (what is decided) and `worker/mod.rs` (how it is carried out).

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod cgroups;
mod config;
mod context;
mod env;
mod gc;
mod hooks;
mod images;
mod logs;
mod machine;
mod node;
mod objects;
mod pleg;
mod pod;
mod pods;
mod probes;
mod quantity;
pub mod server;
mod spec;
mod status;
mod termination;
mod thresholds;
mod time;
mod volumes;
mod worker;

pub use config::{Config, Kernel, ServerConfig};
pub use node::KUBELET_VERSION;
pub use thresholds::{EvictionHard, ImageGc, Limits};
pub use volumes::unmount_all;

use cgroups::PodCgroups;
use context::Context;
use corten_client::events::Recorder;
use corten_client::watch::Source;
use corten_client::{Caller, CancellationToken, Informer};
use images::Images;
use machine::NodeFacts;
use node::{Machine, Reporter, Shape};
use pods::Pods;
use std::sync::Arc;
use std::time::Duration;
use volumes::Volumes;

/// Why an agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("cgroups under {root}: {message}")]
    Cgroup { root: String, message: String },
}

/// Runs the agent of one node until `stop`. Containers keep running after it: the next agent finds them.
///
/// # Errors
/// When the node's directories or cgroups cannot be set up. Everything after that is retried.
pub async fn run(mut config: Config, stop: CancellationToken) -> Result<(), Error> {
    let ready = config.ready.take();
    let server = config.server.take();
    let port = server
        .as_ref()
        .and_then(|s| s.listener.local_addr().ok())
        .map_or(0, |a| a.port());
    let version = wait_for_runtime(&config, &stop).await;
    // What the file system there holds is the node's ephemeral storage.
    std::fs::create_dir_all(&config.root_dir).map_err(|source| Error::Io {
        what: config.root_dir.display().to_string(),
        source,
    })?;
    let machine = Machine::detect(&config.root_dir, version);
    let cx = context(&config, &machine, &stop)?;
    let found = loop {
        match pleg::read_all(&*cx.runtime).await {
            Ok(found) => break found,
            Err(error) => tracing::warn!(error = error.rpc_text(), "runtime not readable; trying again"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = cx.clock.sleep(Duration::from_millis(200)) => {}
        }
    };
    let pods = Pods::new(Arc::clone(&cx), found, stop.clone());
    let reporter = reporter(&config, &cx, machine, port);
    start_watching(&cx, &pods, &stop);
    if let Some(server) = server {
        server::start(server, Arc::clone(&cx), Arc::clone(&pods), stop.clone());
    }
    if let Some(status) = reporter.register(&stop).await {
        tokio::spawn(node::renew(
            cx.caller.clone(),
            cx.node_name.clone(),
            Arc::clone(&cx.clock),
            stop.clone(),
        ));
        if let Some(ready) = ready {
            ready();
        }
        tokio::join!(reporter.run(status, stop.clone()), gc::run(&cx, &pods, &stop));
    }
    Ok(())
}

/// The runtime may come up at the same time: `corten://<version>` once it answers.
async fn wait_for_runtime(config: &Config, stop: &CancellationToken) -> String {
    loop {
        match config.runtime.version().await {
            Ok(v) => return format!("{}://{}", v.runtime_name, v.runtime_version),
            Err(error) => tracing::info!(error = error.rpc_text(), "waiting for the container runtime"),
        }
        tokio::select! {
            () = stop.cancelled() => return String::new(),
            () = config.clock.sleep(Duration::from_millis(100)) => {}
        }
    }
}

fn context(config: &Config, machine: &Machine, stop: &CancellationToken) -> Result<Arc<Context>, Error> {
    let io = |what: &std::path::Path| {
        let what = what.display().to_string();
        move |source| Error::Io { what, source }
    };
    let facts = Arc::new(NodeFacts {
        host_ips: config.node_ips.iter().map(ToString::to_string).collect(),
        memory_bytes: machine.memory_bytes,
        cpu_milli: machine.cpus * 1000,
    });
    std::fs::create_dir_all(&config.log_dir).map_err(io(&config.log_dir))?;
    let volumes = Volumes::open(&config.root_dir, &config.client, config.kernel.mounts)
        .map_err(io(&config.root_dir))?;
    let cgroup = |message: String| Error::Cgroup {
        root: config.cgroup_root.clone(),
        message,
    };
    let kernel = match config.kernel.cgroups {
        true => Some(corten_sys::cgroup::Cgroups::detect().map_err(|e| cgroup(e.to_string()))?),
        false => None,
    };
    let cgroups = PodCgroups::new(&config.cgroup_root, kernel);
    cgroups.prepare(&facts).map_err(cgroup)?;
    let source = Source::all::<k8s_openapi::api::core::v1::Service>();
    let clock = Arc::clone(&config.clock);
    let host_dns = std::fs::read_to_string(&config.resolv_conf).unwrap_or_default();
    Ok(Arc::new(Context {
        node_name: config.node_name.clone(),
        facts,
        runtime: Arc::clone(&config.runtime),
        streaming: Arc::clone(&config.streaming),
        images: Images::new(Arc::clone(&config.images), Arc::clone(&clock)),
        volumes,
        cgroups,
        allocatable: machine.allocatable(config.max_pods, &config.limits.eviction_hard),
        services: Informer::start(config.client.clone(), source, stop.clone()),
        caller: Caller::from(config.client.clone()),
        recorder: Recorder::new(
            config.client.clone(),
            "kubelet",
            &config.node_name,
            Arc::clone(&clock),
            stop.clone(),
        ),
        clock,
        cluster_dns: config.cluster_dns.iter().map(ToString::to_string).collect(),
        cluster_domain: config.cluster_domain.clone(),
        host_dns: spec::dns::parse(&host_dns),
        logs: config.log_dir.clone(),
        limits: config.limits.clone(),
        seccomp: config.root_dir.join("seccomp"),
    }))
}

fn reporter(config: &Config, cx: &Arc<Context>, machine: Machine, port: u16) -> Reporter {
    Reporter {
        shape: Shape {
            name: config.node_name.clone(),
            addresses: cx.facts.host_ips.clone(),
            machine,
            max_pods: config.max_pods,
            eviction_hard: config.limits.eviction_hard.clone(),
            labels: config.labels.clone(),
            taints: config.taints.clone(),
            pod_cidrs: config.pod_cidrs.clone(),
            port,
            root: config.root_dir.clone(),
        },
        caller: cx.caller.clone(),
        runtime: Arc::clone(&cx.runtime),
        images: Arc::clone(&config.images),
        recorder: cx.recorder.clone(),
        clock: Arc::clone(&cx.clock),
    }
}

fn start_watching(cx: &Arc<Context>, pods: &Arc<Pods>, stop: &CancellationToken) {
    tokio::spawn(Arc::clone(pods).run());
    let (cx, pods, stop) = (Arc::clone(cx), Arc::clone(pods), stop.clone());
    tokio::spawn(async move {
        let tell = |uid: &str, event| pods.event(uid, event);
        pleg::follow(&*cx.runtime, &stop, tell, || pods.relist()).await;
    });
}
