//! Admission plug-in `NamespaceLifecycle`: nothing is created in a namespace that is not there or is going away.

use async_trait::async_trait;
use corten_meta::status::Cause;
use corten_meta::{GroupResource, Result, Status, object};
use serde_json::Value;

use crate::admission::{Admission, Attributes, Operation};
use crate::context::WriteContext;
use crate::registry::Registry;

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];
/// Upstream's `v1.NamespaceTerminatingCause`.
const TERMINATING_CAUSE: &str = "NamespaceTerminating";

#[derive(Clone, Copy, Debug, Default)]
pub struct NamespaceLifecycle;

#[async_trait]
impl Admission for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation != Operation::Connect
    }

    async fn admit(
        &self,
        registry: &Registry,
        _ctx: &WriteContext,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<()> {
        let resource = attributes.resource;
        if resource.group.is_empty() && resource.plural == "namespaces" {
            let immortal = attributes.operation == Operation::Delete && IMMORTAL.contains(&attributes.name);
            let refusal = || {
                let message = "this namespace may not be deleted";
                Status::forbidden(&resource.group_resource(), attributes.name, message)
            };
            return if immortal { Err(refusal()) } else { Ok(()) };
        }
        if attributes.namespace.is_empty() || attributes.operation == Operation::Delete {
            return Ok(());
        }
        let namespace = find(registry, attributes.namespace).await?;
        if attributes.operation == Operation::Create && namespace == Phase::Terminating {
            return Err(terminating(attributes, object));
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Active,
    Terminating,
}

/// The namespace's phase; looked up in the newest state before it is said not to exist.
async fn find(registry: &Registry, name: &str) -> Result<Phase> {
    let not_found = || Status::not_found(&GroupResource::new("", "namespaces"), name);
    let namespaces = registry.resource("", "namespaces").ok_or_else(not_found)?;
    let found = match namespaces.cache().get(name) {
        Some(found) => found,
        None => registry.get(&namespaces, "", name, "").await?,
    };
    let phase = found.field(0);
    Ok(if phase == Some("Terminating") {
        Phase::Terminating
    } else {
        Phase::Active
    })
}

fn terminating(attributes: &Attributes<'_>, object: &Value) -> Status {
    let namespace = attributes.namespace;
    let names = [
        attributes.name,
        object::name(object),
        object::generate_name(object),
        "Unknown",
    ];
    let name = names
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or_default();
    let message =
        format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut status = Status::forbidden(&attributes.resource.group_resource(), name, message);
    if let Some(details) = &mut status.details {
        details.causes.push(Cause {
            reason: TERMINATING_CAUSE.to_owned(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".to_owned(),
        });
    }
    status
}
