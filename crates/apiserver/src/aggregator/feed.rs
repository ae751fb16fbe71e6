//! Keeping the table up to date: APIServices as they come and go, and what their Services and endpoints do.

use std::sync::{Arc, Weak};

use corten_meta::{Result, Status};
use corten_registry::Subresource;
use serde_json::Value;
use tokio::sync::oneshot;

use super::availability::Verdict;
use super::service::ApiService;
use super::{crds, worker};
use crate::bootstrap::Writer;
use crate::follow::{Change, follow};
use crate::server::Inner;

/// Upstream's group of APIServices.
pub const GROUP: &str = "apiregistration.k8s.io";
const LOCAL: &str = "Local APIServices are always available";

/// Starts following APIServices and CustomResourceDefinitions; returns when the table knows what there is.
///
/// # Errors
/// Where the watch of APIServices ends before it has begun.
pub async fn start(server: &Arc<Inner>) -> Result<()> {
    let (synced, wait) = oneshot::channel();
    let (weak, registry, stop) = (
        Arc::downgrade(server),
        server.registry.clone(),
        server.stop.clone(),
    );
    let resource = server.stored(GROUP, "apiservices")?;
    tokio::spawn(async move {
        let mut synced = Some(synced);
        let apply = |change: Change<'_>| {
            let Some(server) = weak.upgrade() else { return };
            match change {
                Change::Upsert(object) => match object.value() {
                    Ok(value) => upsert(&server, &weak, &value),
                    Err(error) => tracing::error!(%error, key = %object.key(), "APIService cannot be read"),
                },
                Change::Remove(name, _) => remove(&server, name),
                Change::Synced => {
                    if let Some(synced) = synced.take() {
                        let _ = synced.send(());
                    }
                }
            }
        };
        follow(&registry, &resource, &stop, apply).await;
    });
    wait.await
        .map_err(|_| Status::internal("the watch of APIServices ended before it began"))?;
    crds::start(server)
}

fn upsert(server: &Arc<Inner>, weak: &Weak<Inner>, object: &Value) {
    let aggregator = &server.aggregator;
    let name = corten_meta::object::name(object);
    let known = aggregator.table.load().get(name).cloned();
    if let Some(known) = known.filter(|known| known.same(object)) {
        known.observe(object);
        return;
    }
    remove(server, name);
    let Some(service) = ApiService::read(object, &aggregator.identity, weak) else {
        return local(server, object);
    };
    let service = Arc::new(service);
    aggregator.change(|table| {
        table.insert(service.name.clone(), service.clone());
    });
    watch_neighbours(server);
    tokio::spawn(worker::run(weak.clone(), service));
}

fn remove(server: &Inner, name: &str) {
    let aggregator = &server.aggregator;
    let Some(known) = aggregator.table.load().get(name).cloned() else {
        return;
    };
    known.stop.cancel();
    aggregator.change(|table| {
        table.remove(name);
    });
    if aggregator.is_empty()
        && let Some(stop) = aggregator.neighbours.lock().take()
    {
        stop.cancel();
    }
}

/// An APIService that this server answers itself is available; its object says so.
fn local(server: &Arc<Inner>, object: &Value) {
    let verdict = Verdict {
        available: true,
        reason: "Local",
        message: LOCAL.to_owned(),
    };
    if says(object, &verdict) {
        return;
    }
    let (server, name) = (server.clone(), corten_meta::object::name(object).to_owned());
    tokio::spawn(async move { write_verdict(&server, &name, &verdict).await });
}

/// True where the object's Available condition is this one.
pub fn says(object: &Value, verdict: &Verdict) -> bool {
    let status = if verdict.available { "True" } else { "False" };
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| {
        c["type"] == "Available"
            && c["status"] == status
            && c["reason"] == verdict.reason
            && c["message"] == verdict.message.as_str()
    })
}

/// Sets the Available condition; the transition time changes with the status only.
pub async fn write_verdict(server: &Inner, name: &str, verdict: &Verdict) {
    let status = if verdict.available { "True" } else { "False" };
    let set = |object: &mut Value| {
        if says(object, verdict) {
            return;
        }
        let old = object["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let same = old
            .iter()
            .find(|c| c["type"] == "Available" && c["status"] == status);
        let since = same.map_or_else(
            || Value::from(crate::bootstrap::now()),
            |c| c["lastTransitionTime"].clone(),
        );
        let condition = serde_json::json!({
            "type": "Available", "status": status, "reason": verdict.reason, "message": verdict.message,
            "lastTransitionTime": since,
        });
        let others = old.into_iter().filter(|c| c["type"] != "Available");
        object["status"]["conditions"] = others.chain([condition]).collect();
    };
    let writer = Writer::new(&server.registry);
    let written = writer
        .update(GROUP, "apiservices", "", name, Subresource::STATUS, set)
        .await;
    match written {
        Err(error) if !error.is_not_found() => {
            tracing::warn!(%error, name, "the status of an APIService is not written");
        }
        _ => {}
    }
}

/// Follows Services and EndpointSlices while there are remote APIServices, and wakes the workers that depend on them.
fn watch_neighbours(server: &Arc<Inner>) {
    let mut running = server.aggregator.neighbours.lock();
    if running.is_some() {
        return;
    }
    let stop = server.stop.child_token();
    *running = Some(stop.clone());
    for (group, plural) in [("", "services"), ("discovery.k8s.io", "endpointslices")] {
        let Some(resource) = server.registry.resource(group, plural) else {
            continue;
        };
        let (weak, registry, stop) = (Arc::downgrade(server), server.registry.clone(), stop.clone());
        tokio::spawn(async move {
            let apply = |change: Change<'_>| {
                let (key, object) = match change {
                    Change::Upsert(object) => (object.key(), Some(object)),
                    Change::Remove(key, object) => (key, object),
                    Change::Synced => return,
                };
                let (namespace, name) = key.split_once('/').unwrap_or(("", key));
                let owner = object.and_then(|o| o.label("kubernetes.io/service-name"));
                let name = if group.is_empty() { Some(name) } else { owner };
                if let (Some(server), Some(name)) = (weak.upgrade(), name) {
                    wake(&server, namespace, name);
                }
            };
            follow(&registry, &resource, &stop, apply).await;
        });
    }
}

fn wake(server: &Inner, namespace: &str, name: &str) {
    for service in server.aggregator.table.load().values() {
        if service.service.namespace == namespace && service.service.name == name {
            service.changed.notify_one();
        }
    }
}
