//! Putting FlowSchemas and PriorityLevelConfigurations to work as they change, and keeping the default ones.

use std::sync::Arc;

use corten_meta::object::{self, str_at};
use corten_meta::{Result, quote};
use corten_registry::Subresource;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::borrowing;
use super::config::Config;
use crate::bootstrap::{self, Writer};
use crate::follow::follow;
use crate::server::Inner;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const SCHEMAS: &str = "flowschemas";
const LEVELS: &str = "prioritylevelconfigurations";

/// Takes in what there is and follows both kinds.
///
/// # Errors
/// Where they cannot be read.
pub async fn start(server: &Arc<Inner>) -> Result<()> {
    let changed = Arc::new(Notify::new());
    for plural in [SCHEMAS, LEVELS] {
        let resource = server.stored(GROUP, plural)?;
        let (registry, stop, changed) = (server.registry.clone(), server.stop.clone(), changed.clone());
        tokio::spawn(async move { follow(&registry, &resource, &stop, |_| changed.notify_one()).await });
    }
    load(server).await?;
    let (weak, stop) = (Arc::downgrade(server), server.stop.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = changed.notified() => {}
                () = stop.cancelled() => return,
            }
            let Some(server) = weak.upgrade() else { return };
            if let Err(error) = load(&server).await {
                tracing::warn!(%error, "priority and fairness is not up to date");
            }
        }
    });
    Ok(())
}

async fn load(server: &Inner) -> Result<()> {
    let levels = server.fetch_all(GROUP, LEVELS, "", "").await?;
    let schemas = server.fetch_all(GROUP, SCHEMAS, "", "").await?;
    let old = server.flow_control.config.load_full();
    let limits = &server.options.limits;
    let seats = limits.reads_in_flight.saturating_add(limits.writes_in_flight);
    let config = Config::new(seats, &schemas, &levels, old.as_deref());
    borrowing::at_rest(&config);
    server.flow_control.config.store(Some(Arc::new(config)));
    let writer = Writer::new(&server.registry);
    if bootstrap::flow_control_is_touched(&levels, &schemas) {
        bootstrap::flow_control(&writer).await?;
    }
    for schema in &schemas {
        let name = object::name(schema);
        let condition = dangling(schema, &levels);
        if conditions(schema).any(|c| says(c, &condition)) {
            continue;
        }
        let set = |schema: &mut Value| set_condition(schema, &condition);
        let written = writer
            .update(GROUP, SCHEMAS, "", name, Subresource::STATUS, set)
            .await;
        match written {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whether the level that a schema names exists, as a condition without its time.
fn dangling(schema: &Value, levels: &[Value]) -> Value {
    let level = str_at(schema, &["spec", "priorityLevelConfiguration", "name"]);
    let found = levels.iter().any(|l| object::name(l) == level);
    let (status, reason, end) = if found {
        ("False", "Found", "it exists")
    } else {
        ("True", "NotFound", "there is no such object")
    };
    let join = if found { "and" } else { "but" };
    let text = format!(
        "This FlowSchema references the PriorityLevelConfiguration object named {} {join} {end}",
        quote(level)
    );
    json!({"type": "Dangling", "status": status, "reason": reason, "message": text})
}

fn conditions(schema: &Value) -> impl Iterator<Item = &Value> {
    schema["status"]["conditions"].as_array().into_iter().flatten()
}

fn says(condition: &Value, wanted: &Value) -> bool {
    ["type", "status", "message"]
        .iter()
        .all(|key| condition[key] == wanted[key])
}

fn set_condition(schema: &mut Value, wanted: &Value) {
    let same = conditions(schema).find(|c| c["type"] == "Dangling" && c["status"] == wanted["status"]);
    let since = same.map(|c| c["lastTransitionTime"].clone());
    let mut wanted = wanted.clone();
    wanted["lastTransitionTime"] = since.unwrap_or_else(|| bootstrap::now().into());
    let mut all: Vec<Value> = conditions(schema)
        .filter(|c| c["type"] != "Dangling")
        .cloned()
        .collect();
    all.push(wanted);
    schema["status"]["conditions"] = Value::Array(all);
}
