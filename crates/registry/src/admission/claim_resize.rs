//! `PersistentVolumeClaimResize`: claims grow only where their class allows it.

use async_trait::async_trait;
use corten_meta::{Quantity, Result, object};
use serde_json::Value;

use super::totals::list as amounts;
use super::{Admission, Attributes, Operation, find};
use crate::context::WriteContext;
use crate::registry::Registry;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct PersistentVolumeClaimResize;

#[async_trait]
impl Admission for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn validate(
        &self,
        registry: &Registry,
        _: &WriteContext,
        attributes: &Attributes<'_>,
        claim: &Value,
    ) -> Result<()> {
        let Some(old) = attributes
            .old
            .filter(|_| attributes.is_plain("", "persistentvolumeclaims"))
        else {
            return Ok(());
        };
        if storage(claim) <= storage(old) {
            return Ok(());
        }
        if old["status"]["phase"] != "Bound" {
            return Err(attributes.forbidden(claim, "Only bound persistent volume claims can be expanded"));
        }
        let name = class(claim);
        let grows = !name.is_empty() && name == class(old) && {
            let class = find(registry, "storage.k8s.io", "storageclasses", "", name).await?;
            class.is_some_and(|class| class["allowVolumeExpansion"] == true)
        };
        if grows {
            return Ok(());
        }
        let error = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
        Err(attributes.forbidden(claim, error))
    }
}

fn storage(claim: &Value) -> Quantity {
    amounts(&claim["spec"]["resources"]["requests"])
        .remove("storage")
        .unwrap_or_else(Quantity::zero)
}

fn class(claim: &Value) -> &str {
    let noted = object::annotation(claim, "volume.beta.kubernetes.io/storage-class");
    noted
        .or_else(|| claim["spec"]["storageClassName"].as_str())
        .unwrap_or_default()
}
