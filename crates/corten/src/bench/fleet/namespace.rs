//! A namespace that goes with all that is in it.

use super::Stopwatch;
use super::follow::{Follow, Told, Versioned};
use crate::bench::target::Target;
use serde::Deserialize;
use serde_json::json;

/// Objects in the namespace.
const OBJECTS: usize = 10_000;

#[derive(Deserialize)]
struct Namespace {
    metadata: Meta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    resource_version: String,
}

impl Versioned for Namespace {
    fn revision(&self) -> &str {
        &self.metadata.resource_version
    }
}

pub(super) async fn measure(target: &Target) -> anyhow::Result<()> {
    let name = format!("{}-full", target.namespace);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string();
    let mut connection = target.connect().await?;
    connection.send("POST", "/api/v1/namespaces", namespace).await?;
    let path = format!("/api/v1/namespaces/{name}/configmaps");
    crate::bench::load::drive(target, OBJECTS, "create a ConfigMap", 1, move |i| {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{i}")},
            "data": {"key": "value"}});
        ("POST", path.clone(), body.to_string())
    })
    .await?;
    let selector = format!("fieldSelector=metadata.name%3D{name}");
    let mut events = Follow::<Namespace>::start(&target.access, "/api/v1/namespaces", &selector).await?;
    let stopwatch = Stopwatch::start(target);
    connection
        .send("DELETE", &format!("/api/v1/namespaces/{name}"), "")
        .await?;
    while !matches!(events.next().await?, Told::Gone(_)) {}
    stopwatch.stage("namespace with objects gone", OBJECTS);
    Ok(())
}
