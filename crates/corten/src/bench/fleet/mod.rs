//! The controllers at scale: one Deployment of many pods, many Deployments at once, a namespace full of objects, and a
//! cluster as large as upstream's limits.

mod follow;
mod hollow;
mod namespace;
mod pods;
mod roll;

use super::report;
use super::target::{Cpu, Target};
use crate::cli::BenchArgs;
use hollow::{Fleet, Size};
use pods::Count;
use serde_json::json;
use std::time::{Duration, Instant};

/// Pods of one Deployment.
const PODS: usize = 10_000;
/// Nodes for them; upstream's default of 110 pods each is raised so that they hold what is measured.
const NODES: usize = 100;
const PODS_PER_NODE: usize = 250;
/// What upstream says a cluster may have.
const CROWD_NODES: usize = 5_000;
const CROWD_PODS: usize = 150_000;
const CROWD_REPLICAS: usize = 100;
/// Until what load leaves behind has been given back.
const SETTLE: Duration = Duration::from_secs(45);

/// The time in the words of a chrono format.
fn now(format: &str) -> String {
    k8s_openapi::jiff::Timestamp::now().strftime(format).to_string()
}

/// One Deployment of many pods, many Deployments, one namespace.
pub(super) async fn measure(target: &Target, args: &BenchArgs) -> anyhow::Result<()> {
    let size = Size {
        nodes: NODES,
        pods_per_node: PODS_PER_NODE,
        place: args.place,
    };
    let mut fleet = Fleet::start(target, size).await?;
    let outcome = async {
        scale(target, &mut fleet).await?;
        roll::measure(target, &mut fleet).await
    }
    .await;
    fleet.end(target).await?;
    outcome?;
    namespace::measure(target).await
}

/// Nodes and pods as many as upstream allows, and the memory that takes.
pub(super) async fn crowd(target: &Target, args: &BenchArgs) -> anyhow::Result<()> {
    let pods = args.pods.unwrap_or(CROWD_PODS);
    let nodes = (pods * CROWD_NODES).div_ceil(CROWD_PODS);
    report::memory(target, "before the crowd");
    let size = Size {
        nodes,
        pods_per_node: 110,
        place: args.place,
    };
    let mut fleet = Fleet::start(target, size).await?;
    let stopwatch = Stopwatch::start(target);
    let path = deployments(target);
    let owners = pods.div_ceil(CROWD_REPLICAS);
    let (namespace, each) = (target.namespace.clone(), pods / owners.max(1));
    super::load::drive(target, owners, "create a Deployment", 1, move |index| {
        (
            "POST",
            path.clone(),
            deployment(&namespace, &format!("d{index}"), each),
        )
    })
    .await?;
    let wanted = owners * each;
    fleet.until(|c| c.created >= wanted).await?;
    stopwatch.stage("crowd: pods created", wanted);
    fleet.until(|c| c.running >= wanted).await?;
    stopwatch.stage(&format!("crowd: pods running on {nodes} nodes"), wanted);
    report::memory(target, "with the crowd");
    tokio::time::sleep(SETTLE).await;
    report::memory(target, "45 s later");
    fleet.end(target).await
}

/// What all stages that began together are measured by.
struct Stopwatch<'a> {
    target: &'a Target,
    cpu: Cpu,
    began: Instant,
}

impl<'a> Stopwatch<'a> {
    fn start(target: &'a Target) -> Self {
        Self {
            target,
            cpu: target.cpu(),
            began: Instant::now(),
        }
    }

    /// Prints what has been reached.
    fn stage(&self, name: &str, count: usize) {
        let wall = self.began.elapsed().as_secs_f64();
        let cpu = self.target.cpu().since(self.cpu);
        let each = |time: Duration| time.as_secs_f64() * 1e3 / count as f64;
        let server = cpu
            .server
            .map_or_else(String::new, |time| format!("server {:.3} ms, ", each(time)));
        println!(
            "{name:<36} {count:>6} in {wall:>6.2} s {:>9.1}/s | CPU each: {server}client {:.3} ms",
            count as f64 / wall,
            each(cpu.client)
        );
    }
}

fn deployments(target: &Target) -> String {
    format!("/apis/apps/v1/namespaces/{}/deployments", target.namespace)
}

fn deployment(namespace: &str, name: &str, replicas: usize) -> String {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": hollow::template(name, namespace)}})
    .to_string()
}

/// What `kubectl scale` does, from nothing to many pods, and back.
async fn scale(target: &Target, fleet: &mut Fleet) -> anyhow::Result<()> {
    let path = deployments(target);
    let mut connection = target.connect().await?;
    let none = deployment(&target.namespace, "big", 0);
    connection.send("POST", &path, none).await?;
    report::memory(target, "before 10,000 pods");
    let path = format!("{path}/big/scale");
    let to = |replicas: usize| json!({"spec": {"replicas": replicas}}).to_string();
    let stopwatch = Stopwatch::start(target);
    connection.send("PATCH", &path, to(PODS)).await?;
    for (name, reached) in [
        ("scale: pods created", (|c| c.created) as fn(&Count) -> usize),
        ("scale: pods on nodes", |c| c.scheduled),
        ("scale: pods running", |c| c.running),
    ] {
        fleet.until(|c| reached(c) >= PODS).await?;
        stopwatch.stage(name, PODS);
    }
    report::memory(target, "with 10,000 pods");
    let stopwatch = Stopwatch::start(target);
    connection.send("PATCH", &path, to(0)).await?;
    let count = fleet.until(|c| c.gone >= PODS).await?;
    stopwatch.stage("scale: pods gone", PODS);
    if count.resumed > 0 {
        println!(
            "scale: the pod watch was closed and opened again {} times",
            count.resumed
        );
    }
    anyhow::ensure!(count.created == PODS, "{count:?}: pods were made twice");
    Ok(())
}
