//! APIServices of custom kinds: one for each group and version, for as long as it is served (upstream's `crdregistration`
//! and `autoregister` controllers).

use std::collections::BTreeSet;
use std::sync::Arc;

use corten_meta::{Result, object};
use corten_registry::{DeleteOptions, ListOptions, Registry};
use serde_json::{Value, json};

use super::{Writer, objects};

const GROUP: &str = "apiregistration.k8s.io";
const PLURAL: &str = "apiservices";
/// `true` marks those that come and go with a definition; `onstart` the built-in ones.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Removes what an earlier start made for a built-in version.
///
/// # Errors
/// Whatever the delete gives.
pub(super) async fn remove(writer: &Writer<'_>, name: &str) -> Result<()> {
    let found = writer.get(GROUP, PLURAL, "", name).await?;
    let managed = |o: &Value| object::label(o, MANAGED) == Some("onstart");
    if !found.as_ref().is_some_and(managed) {
        return Ok(());
    }
    let (resource, options) = (writer.resource(GROUP, PLURAL)?, DeleteOptions::default());
    let gone = writer.registry.delete(&writer.ctx, &resource, "", name, &options);
    gone.await.map(drop)
}

/// Makes what is missing of these groups and versions, and removes what was made for others.
///
/// # Errors
/// Whatever a write gives.
pub async fn sync(registry: &Arc<Registry>, versions: &[(String, String)]) -> Result<()> {
    let writer = Writer::new(registry);
    let resource = writer.resource(GROUP, PLURAL)?;
    let page = registry.list(&resource, None, &ListOptions::default()).await?;
    let (mut known, mut managed) = (BTreeSet::new(), BTreeSet::new());
    for item in page.items {
        known.insert(item.name().to_owned());
        if item.label(MANAGED) == Some("true") {
            managed.insert(item.name().to_owned());
        }
    }
    for (group, version) in versions {
        let name = format!("{version}.{group}");
        managed.remove(&name);
        if known.contains(&name) {
            continue;
        }
        let wanted = json!({
            "metadata": {"name": name, "labels": {MANAGED: "true"}},
            "spec": {"group": group, "version": version, "groupPriorityMinimum": 1000, "versionPriority": 100},
        });
        writer.ensure(GROUP, PLURAL, "", wanted).await?;
        writer
            .status(GROUP, PLURAL, &name, objects::api_service_status)
            .await?;
    }
    for name in managed {
        let options = DeleteOptions::default();
        match registry.delete(&writer.ctx, &resource, "", &name, &options).await {
            Err(status) if !status.is_not_found() => return Err(status),
            _ => {}
        }
    }
    Ok(())
}
