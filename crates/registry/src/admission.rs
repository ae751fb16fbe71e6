//! In-process admission: what may change or refuse a write, between decoding and the store.

mod certificate_subject;
mod claim_resize;
mod default_class;
mod dynamic;
mod limit_ranger;
mod node_restriction;
mod node_taint;
mod pod_priority;
mod pod_security;
mod pod_service_account;
mod pod_tolerations;
mod protection;
mod quota;
mod runtime_class;
mod totals;

use std::sync::Arc;

use async_trait::async_trait;
use corten_meta::Result;
use serde_json::Value;

pub use dynamic::{Reinvocation, Request};

use crate::context::WriteContext;
use crate::object::Object;
use crate::options::DeleteOptions;
use crate::registry::Registry;
use crate::resource::{Resource, Subresource};

/// `admission.k8s.io` operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// A subresource's own kind, made of the object and put back into it (`autoscaling/v1` Scale): what dynamic admission
/// sees instead of the object.
pub trait View: Send + Sync {
    fn of(&self, object: &Value) -> Value;

    /// Takes over what admission changed.
    fn put(&self, view: &Value, object: &mut Value);
}

/// What is being done to what.
pub struct Attributes<'a> {
    pub operation: Operation,
    pub resource: &'a Resource,
    pub subresource: Subresource,
    /// Empty for cluster-scoped resources.
    pub namespace: &'a str,
    /// Empty while a name is still to be generated, and for `deletecollection`.
    pub name: &'a str,
    /// The stored object (update and delete).
    pub old: Option<&'a Value>,
    /// Of a delete.
    pub delete: Option<&'a DeleteOptions>,
    /// The form dynamic admission sees the object in, where it is another.
    pub view: Option<&'a dyn View>,
    /// What plug-ins remember between the two rounds of mutating admission.
    pub reinvocation: &'a Reinvocation,
    /// Dynamic admission has nothing to say: see [`WriteContext::nested`].
    pub nested: bool,
}

/// One admission plug-in. The chain is given when the registry opens and runs in that order.
///
/// As upstream: `admit` runs on what the client sent, before the strategy prepares the object;
/// `validate` on the final object, after the strategy's validation and before the store.
#[async_trait]
pub trait Admission: Send + Sync {
    fn name(&self) -> &'static str;

    /// Whether the plug-in wants to see this operation at all.
    fn handles(&self, operation: Operation) -> bool;

    /// May change the object (`Null` for delete) or refuse it.
    async fn admit(
        &self,
        _registry: &Registry,
        _ctx: &WriteContext,
        _attributes: &Attributes<'_>,
        _object: &mut Value,
    ) -> Result<()> {
        Ok(())
    }

    /// May only refuse.
    async fn validate(
        &self,
        _registry: &Registry,
        _ctx: &WriteContext,
        _attributes: &Attributes<'_>,
        _object: &Value,
    ) -> Result<()> {
        Ok(())
    }
}

/// Upstream's plug-ins that are on by default, in upstream's order.
pub fn standard() -> Vec<Arc<dyn Admission>> {
    vec![
        Arc::new(crate::lifecycle::NamespaceLifecycle),
        Arc::new(limit_ranger::LimitRanger),
        Arc::new(pod_service_account::ServiceAccount),
        Arc::new(node_restriction::NodeRestriction),
        Arc::new(node_taint::TaintNodesByCondition),
        Arc::new(pod_security::PodSecurity),
        Arc::new(pod_priority::Priority),
        Arc::new(pod_tolerations::DefaultTolerationSeconds),
        Arc::new(default_class::DefaultStorageClass),
        Arc::new(protection::StorageObjectInUseProtection),
        Arc::new(claim_resize::PersistentVolumeClaimResize),
        Arc::new(runtime_class::RuntimeClass),
        Arc::new(certificate_subject::CertificateSubjectRestriction),
        Arc::new(default_class::DefaultIngressClass),
        Arc::new(dynamic::Dynamic),
        Arc::new(quota::ResourceQuota::default()),
    ]
}

impl Attributes<'_> {
    /// The thing itself, of one kind, and not a subresource of it.
    fn is_plain(&self, group: &str, plural: &str) -> bool {
        self.subresource == Subresource::MAIN
            && self.resource.group == group
            && self.resource.plural == plural
    }

    /// 403 in the words of `admission.NewForbidden`.
    fn forbidden(&self, object: &Value, error: impl std::fmt::Display) -> corten_meta::Status {
        let name = if self.name.is_empty() {
            corten_meta::object::name(object)
        } else {
            self.name
        };
        corten_meta::Status::forbidden(&self.resource.group_resource(), name, error)
    }
}

/// An object of another kind as it is now; `None` where there is none.
async fn find(
    registry: &Registry,
    group: &str,
    plural: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>> {
    let found = find_object(registry, group, plural, namespace, name).await?;
    found.map(|found| found.value()).transpose()
}

/// As [`find`], not read yet.
async fn find_object(
    registry: &Registry,
    group: &str,
    plural: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<Object>> {
    let missing = || corten_meta::Status::internal(format!("{plural}.{group} is not served"));
    let resource = registry.resource(group, plural).ok_or_else(missing)?;
    for version in ["0", ""] {
        // What is not there may only have come a moment ago.
        match registry.get(&resource, namespace, name, version).await {
            Ok(found) => return Ok(Some(found)),
            Err(status) if status.is_not_found() => {}
            Err(status) => return Err(status),
        }
    }
    Ok(None)
}

/// The objects of another kind as they are in the cache: of one namespace, or of all.
async fn list(registry: &Registry, group: &str, plural: &str, namespace: Option<&str>) -> Result<Vec<Value>> {
    let Some(resource) = registry.resource(group, plural) else {
        return Ok(Vec::new());
    };
    let options = crate::options::ListOptions {
        resource_version: "0".to_owned(),
        ..Default::default()
    };
    let page = registry.list(&resource, namespace, &options).await?;
    page.items.iter().map(|item| item.value()).collect()
}

/// The core objects of a kind in a namespace, with every write that went before: what limits a namespace holds from
/// the moment it is there.
async fn in_namespace(registry: &Registry, plural: &str, namespace: &str) -> Result<Vec<Value>> {
    let Some(resource) = registry.resource("", plural) else {
        return Ok(Vec::new());
    };
    let page = registry
        .list(
            &resource,
            Some(namespace),
            &crate::options::ListOptions::default(),
        )
        .await?;
    page.items.iter().map(|item| item.value()).collect()
}
