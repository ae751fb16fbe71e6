//! An APIService for every group and version that CustomResourceDefinitions serve, made and removed as they come and go.
//! Rules: upstream's `crdregistration` and `autoregister` controllers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use corten_meta::Result;
use corten_meta::object::{self, str_at};
use corten_registry::{DeleteOptions, WriteContext};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::feed::GROUP;
use crate::bootstrap::{Writer, priorities};
use crate::follow::{Change, follow};
use crate::server::Inner;

/// Says that the server keeps an APIService, and `true` that it goes when nothing needs it.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

type GroupVersions = BTreeSet<(String, String)>;

/// What each CustomResourceDefinition serves, by name.
#[derive(Default)]
struct Served {
    by_crd: Mutex<BTreeMap<String, GroupVersions>>,
    changed: Notify,
}

/// Starts following CustomResourceDefinitions.
///
/// # Errors
/// Where they are not stored.
pub fn start(server: &Arc<Inner>) -> Result<()> {
    let resource = server.stored("apiextensions.k8s.io", "customresourcedefinitions")?;
    let served = Arc::new(Served::default());
    let (registry, stop, of) = (server.registry.clone(), server.stop.clone(), served.clone());
    tokio::spawn(async move {
        let apply = |change: Change<'_>| {
            match change {
                Change::Upsert(crd) => {
                    let versions = crd.value().map(|crd| versions(&crd)).unwrap_or_default();
                    of.by_crd.lock().insert(crd.key().to_owned(), versions);
                }
                Change::Remove(name, _) => drop(of.by_crd.lock().remove(name)),
                Change::Synced => {}
            }
            of.changed.notify_one();
        };
        follow(&registry, &resource, &stop, apply).await;
    });
    let (weak, stop) = (Arc::downgrade(server), server.stop.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = served.changed.notified() => {}
                () = stop.cancelled() => return,
            }
            let Some(server) = weak.upgrade() else { return };
            let wanted = served.by_crd.lock().values().flatten().cloned().collect();
            if let Err(error) = reconcile(&server, &wanted).await {
                tracing::warn!(%error, "APIServices of custom resources are not up to date");
            }
        }
    });
    Ok(())
}

fn versions(crd: &Value) -> GroupVersions {
    let group = str_at(crd, &["spec", "group"]);
    let all = crd["spec"]["versions"].as_array();
    all.into_iter()
        .flatten()
        .filter(|v| v["served"] == true)
        .filter_map(|v| Some((group.to_owned(), v["name"].as_str()?.to_owned())))
        .collect()
}

async fn reconcile(server: &Inner, wanted: &GroupVersions) -> Result<()> {
    let mut have = server
        .fetch_all(GROUP, "apiservices", "", &format!("{MANAGED}=true"))
        .await?;
    have.retain(|service| service["spec"]["service"].is_null());
    let writer = Writer::new(&server.registry);
    for (group, version) in wanted {
        let name = format!("{version}.{group}");
        if have.iter().any(|service| object::name(service) == name) {
            continue;
        }
        let (group_priority, version_priority) = priorities(group, version);
        let spec = json!({
            "group": group, "version": version,
            "groupPriorityMinimum": group_priority, "versionPriority": version_priority,
        });
        let wanted = json!({"metadata": {"name": name, "labels": {MANAGED: "true"}}, "spec": spec});
        writer.ensure(GROUP, "apiservices", "", wanted).await?;
    }
    let resource = server.stored(GROUP, "apiservices")?;
    for service in &have {
        let key = |field| str_at(service, &["spec", field]).to_owned();
        if wanted.contains(&(key("group"), key("version"))) {
            continue;
        }
        let options = DeleteOptions::default();
        let name = object::name(service);
        match server
            .registry
            .delete(
                &WriteContext::of_server(SystemTime::now()),
                &resource,
                "",
                name,
                &options,
            )
            .await
        {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
