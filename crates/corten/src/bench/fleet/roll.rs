//! A new template for many Deployments at once.

use super::follow::{Follow, Told, Versioned};
use super::hollow::Fleet;
use super::{Stopwatch, deployment, deployments};
use crate::bench::target::Target;
use serde::Deserialize;
use serde_json::json;
use std::collections::HashSet;

/// Deployments, of one pod each.
const DEPLOYMENTS: usize = 1_000;

/// As much of a Deployment as tells whether it is rolled.
#[derive(Deserialize)]
struct Rolled {
    metadata: Meta,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: String,
    resource_version: String,
    generation: i64,
}

#[derive(Deserialize)]
struct Spec {
    template: Template,
}

#[derive(Deserialize)]
struct Template {
    metadata: TemplateMeta,
}

#[derive(Deserialize)]
struct TemplateMeta {
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(default)]
    v: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    observed_generation: i64,
    replicas: u32,
    updated_replicas: u32,
    available_replicas: u32,
}

impl Versioned for Rolled {
    fn revision(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl Rolled {
    fn done(&self) -> bool {
        let status = &self.status;
        self.spec.template.metadata.annotations.v == "2"
            && status.observed_generation == self.metadata.generation
            && [
                status.replicas,
                status.updated_replicas,
                status.available_replicas,
            ] == [1, 1, 1]
    }
}

pub(super) async fn measure(target: &Target, fleet: &mut Fleet) -> anyhow::Result<()> {
    let path = deployments(target);
    let before = fleet.count().running;
    let (create, namespace) = (path.clone(), target.namespace.clone());
    let stopwatch = Stopwatch::start(target);
    crate::bench::load::drive(target, DEPLOYMENTS, "create a Deployment", 1, move |index| {
        (
            "POST",
            create.clone(),
            deployment(&namespace, &format!("d{index}"), 1),
        )
    })
    .await?;
    fleet.until(|c| c.running >= before + DEPLOYMENTS).await?;
    stopwatch.stage("roll: Deployments with a pod running", DEPLOYMENTS);
    let mut events = Follow::<Rolled>::start(&target.access, &path, "").await?;
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}}).to_string();
    let stopwatch = Stopwatch::start(target);
    let patching = crate::bench::load::drive(target, DEPLOYMENTS, "patch its template", 1, move |i| {
        ("PATCH", format!("{path}/d{i}"), patch.clone())
    });
    let watching = async {
        let mut done = HashSet::new();
        while done.len() < DEPLOYMENTS {
            if let Told::Is(object) = events.next().await?
                && object.done()
            {
                done.insert(object.metadata.name);
            }
        }
        anyhow::Ok(())
    };
    let both = async { tokio::try_join!(patching, watching) };
    tokio::select! {
        done = both => drop(done?),
        // Only to end when the fleet does, or after too long.
        failed = fleet.until(|_| false) => drop(failed?),
    }
    stopwatch.stage("roll: Deployments rolled", DEPLOYMENTS);
    Ok(())
}
