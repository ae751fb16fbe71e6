//! The controllers at scale: one Deployment of many pods, many Deployments at once, a namespace full of objects.

mod hollow;

use super::report;
use super::target::{Cpu, Target};
use crate::cli::BenchArgs;
use hollow::Fleet;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Pods of one Deployment.
const PODS: usize = 10_000;
/// Deployments rolled at once, of one pod each.
const DEPLOYMENTS: usize = 1_000;
/// Objects in the namespace that goes.
const OBJECTS: usize = 10_000;

pub(super) async fn measure(target: &Target, _args: &BenchArgs) -> anyhow::Result<()> {
    let mut fleet = Fleet::start(target).await?;
    let outcome = async {
        scale(target, &mut fleet).await?;
        roll(target, &mut fleet).await
    }
    .await;
    fleet.end(target).await?;
    outcome?;
    delete(target).await
}

fn deployments(target: &Target) -> String {
    format!("/apis/apps/v1/namespaces/{}/deployments", target.namespace)
}

fn deployment(target: &Target, name: &str, replicas: usize) -> String {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": hollow::template(name, &target.namespace)}})
    .to_string()
}

fn stage(name: &str, count: usize, wall: Duration, cpu: Option<Cpu>) {
    let rate = count as f64 / wall.as_secs_f64();
    let cpu = cpu.and_then(|c| Some((c.server?, c.client)));
    let cpu = cpu.map_or_else(String::new, |(server, client)| {
        let each = |time: Duration| time.as_secs_f64() * 1e3 / count as f64;
        format!(
            " | CPU each: server {:.3} ms, client {:.3} ms",
            each(server),
            each(client)
        )
    });
    println!(
        "{name:<36} {count:>6} in {:>6.2} s {rate:>9.1}/s{cpu}",
        wall.as_secs_f64()
    );
}

/// `kubectl scale` of one Deployment from nothing to many pods, and back.
async fn scale(target: &Target, fleet: &mut Fleet) -> anyhow::Result<()> {
    let path = deployments(target);
    let mut connection = target.connect().await?;
    connection
        .send("POST", &path, deployment(target, "big", 0))
        .await?;
    report::memory(target, "before 10,000 pods");
    let to = |replicas: usize| json!({"spec": {"replicas": replicas}}).to_string();
    let (cpu, began) = (target.cpu(), Instant::now());
    connection
        .send("PATCH", &format!("{path}/big/scale"), to(PODS))
        .await?;
    fleet.until(|c| c.created >= PODS).await?;
    stage(
        "scale: pods created",
        PODS,
        began.elapsed(),
        Some(target.cpu().since(cpu)),
    );
    fleet.until(|c| c.scheduled >= PODS).await?;
    stage(
        "scale: pods scheduled",
        PODS,
        began.elapsed(),
        Some(target.cpu().since(cpu)),
    );
    fleet.until(|c| c.running >= PODS).await?;
    stage(
        "scale: pods running",
        PODS,
        began.elapsed(),
        Some(target.cpu().since(cpu)),
    );
    report::memory(target, "with 10,000 pods");
    let (cpu, began) = (target.cpu(), Instant::now());
    connection
        .send("PATCH", &format!("{path}/big/scale"), to(0))
        .await?;
    fleet.until(|c| c.gone >= PODS).await?;
    stage(
        "scale: pods gone",
        PODS,
        began.elapsed(),
        Some(target.cpu().since(cpu)),
    );
    anyhow::ensure!(
        fleet.count().created == PODS,
        "{:?}: pods were made twice",
        fleet.count()
    );
    Ok(())
}

/// A new template for many Deployments at once.
async fn roll(target: &Target, fleet: &mut Fleet) -> anyhow::Result<()> {
    let path = deployments(target);
    let before = fleet.count().running;
    let make = |index: usize| ("POST", path.clone(), deployment(target, &format!("d{index}"), 1));
    let bodies: Vec<_> = (0..DEPLOYMENTS).map(make).collect();
    super::load::drive(target, DEPLOYMENTS, "create a Deployment", 1, move |i| {
        bodies[i].clone()
    })
    .await?;
    fleet.until(|c| c.running >= before + DEPLOYMENTS).await?;
    let events = format!("{path}?watch=1&labelSelector=");
    let mut events = target.connect().await?.watch(&events).await?;
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}}).to_string();
    let (cpu, began) = (target.cpu(), Instant::now());
    let patching = super::load::drive(target, DEPLOYMENTS, "patch its template", 1, move |i| {
        ("PATCH", format!("{path}/d{i}"), patch.clone())
    });
    let watching = async {
        let mut done = std::collections::HashSet::new();
        while done.len() < DEPLOYMENTS {
            let event: Value = serde_json::from_slice(events.next().await?)?;
            let (object, status) = (&event["object"], &event["object"]["status"]);
            let new = object["spec"]["template"]["metadata"]["annotations"]["v"] == "2";
            let observed = status["observedGeneration"] == object["metadata"]["generation"];
            let counts = ["replicas", "updatedReplicas", "availableReplicas"];
            if new && observed && counts.iter().all(|c| status[c] == 1) {
                done.insert(object["metadata"]["name"].as_str().unwrap_or_default().to_owned());
            }
        }
        anyhow::Ok(())
    };
    let (patched, watched) = tokio::join!(patching, watching);
    patched.and(watched)?;
    stage(
        "roll: Deployments rolled",
        DEPLOYMENTS,
        began.elapsed(),
        Some(target.cpu().since(cpu)),
    );
    Ok(())
}

/// A namespace that goes with all that is in it.
async fn delete(target: &Target) -> anyhow::Result<()> {
    let name = format!("{}-full", target.namespace);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string();
    let mut connection = target.connect().await?;
    connection.send("POST", "/api/v1/namespaces", namespace).await?;
    let path = format!("/api/v1/namespaces/{name}/configmaps");
    super::load::drive(target, OBJECTS, "create a ConfigMap", 1, move |i| {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{i}")}});
        ("POST", path.clone(), body.to_string())
    })
    .await?;
    let events = format!("/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3D{name}");
    let mut events = target.connect().await?.watch(&events).await?;
    let (cpu, began) = (target.cpu(), Instant::now());
    connection
        .send("DELETE", &format!("/api/v1/namespaces/{name}"), "")
        .await?;
    loop {
        let event: Value = serde_json::from_slice(events.next().await?)?;
        if event["type"] == "DELETED" {
            break;
        }
    }
    stage(
        "namespace with objects gone",
        OBJECTS,
        began.elapsed(),
        Some(target.cpu().since(cpu)),
    );
    Ok(())
}
