//! Default RBAC policy: auth plans, this writes.

use corten_auth::rbac::bootstrap::{Action, RESOURCES, Write, plan, storage_version_migrator};
use corten_meta::{Result, object};
use corten_registry::{DeleteOptions, ListOptions, Subresource};
use futures::future::try_join_all;
use serde_json::Value;

use super::Writer;
use crate::standard::Features;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Brings the stored policy up to the default one.
pub async fn reconcile(writer: &Writer<'_>, features: &Features) -> Result<()> {
    let mut stored: Vec<(&str, Value)> = Vec::new();
    for plural in RESOURCES {
        let page = writer
            .registry
            .list(&writer.resource(GROUP, plural)?, None, &ListOptions::default())
            .await?;
        for item in page.items {
            stored.push((plural, item.value()?));
        }
    }
    let existing = |plural: &str, ns: &str, name: &str| {
        let found = stored
            .iter()
            .find(|(p, o)| *p == plural && object::namespace(o) == ns && object::name(o) == name);
        found.map(|(_, o)| o.clone())
    };
    let optional = match features.storage_version_migrator {
        true => storage_version_migrator(),
        false => Vec::new(),
    };
    try_join_all(plan(&optional, existing).iter().map(|write| apply(writer, write)))
        .await
        .map(drop)
}

async fn apply(writer: &Writer<'_>, write: &Write) -> Result<()> {
    let (plural, ns, name) = (write.resource, write.namespace.as_str(), write.name.as_str());
    match &write.action {
        Action::Create(wanted) => writer.ensure(GROUP, plural, ns, wanted.clone()).await,
        Action::Update(wanted) => {
            let set = |o: &mut Value| {
                for key in ["rules", "subjects", "aggregationRule"] {
                    if let Some(v) = wanted.get(key) {
                        o[key] = v.clone();
                    }
                }
                for key in ["labels", "annotations"] {
                    if let Some(v) = wanted["metadata"].get(key) {
                        o["metadata"][key] = v.clone();
                    }
                }
            };
            writer
                .update(GROUP, plural, ns, name, Subresource::MAIN, set)
                .await
        }
        Action::Replace(wanted) => {
            let resource = writer.resource(GROUP, plural)?;
            writer
                .registry
                .delete(&writer.ctx, &resource, ns, name, &DeleteOptions::default())
                .await?;
            writer.ensure(GROUP, plural, ns, wanted.clone()).await
        }
    }
}
