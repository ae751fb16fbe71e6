//! `DefaultStorageClass` and `DefaultIngressClass`: claims and ingresses that name no class get the default one.

use async_trait::async_trait;
use corten_meta::{Result, object};
use serde_json::Value;

use super::{Admission, Attributes, Operation, list};
use crate::context::WriteContext;
use crate::registry::Registry;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultStorageClass;

#[async_trait]
impl Admission for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(
        &self,
        registry: &Registry,
        _: &WriteContext,
        attributes: &Attributes<'_>,
        claim: &mut Value,
    ) -> Result<()> {
        let named = !claim["spec"]["storageClassName"].is_null()
            || object::annotation(claim, "volume.beta.kubernetes.io/storage-class").is_some();
        if named || !attributes.is_plain("", "persistentvolumeclaims") {
            return Ok(());
        }
        let marks = [
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ];
        if let Some(class) = default(registry, "storage.k8s.io", "storageclasses", &marks).await? {
            claim["spec"]["storageClassName"] = class.into();
        }
        Ok(())
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultIngressClass;

#[async_trait]
impl Admission for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(
        &self,
        registry: &Registry,
        _: &WriteContext,
        attributes: &Attributes<'_>,
        ingress: &mut Value,
    ) -> Result<()> {
        let named = !ingress["spec"]["ingressClassName"].is_null()
            || object::annotation(ingress, "kubernetes.io/ingress.class").is_some();
        if named || !attributes.is_plain("networking.k8s.io", "ingresses") {
            return Ok(());
        }
        let marks = ["ingressclass.kubernetes.io/is-default-class"];
        if let Some(class) = default(registry, "networking.k8s.io", "ingressclasses", &marks).await? {
            ingress["spec"]["ingressClassName"] = class.into();
        }
        Ok(())
    }
}

/// The newest class marked as default; of several of one second the first by name.
async fn default(registry: &Registry, group: &str, plural: &str, marks: &[&str]) -> Result<Option<String>> {
    let mut classes = list(registry, group, plural, None).await?;
    classes.retain(|class| {
        marks
            .iter()
            .any(|mark| object::annotation(class, mark) == Some("true"))
    });
    let newest = classes.iter().min_by(|a, b| {
        let newer = object::creation_timestamp(b).cmp(object::creation_timestamp(a));
        newer.then_with(|| object::name(a).cmp(object::name(b)))
    });
    Ok(newest.map(|class| object::name(class).to_owned()))
}
