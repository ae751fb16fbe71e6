//! `StorageObjectInUseProtection`: volumes, claims and classes of volume attributes are not removed while they are used.

use async_trait::async_trait;
use corten_meta::Result;
use serde_json::{Value, json};

use super::{Admission, Attributes, Operation};
use crate::context::WriteContext;
use crate::registry::Registry;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct StorageObjectInUseProtection;

#[async_trait]
impl Admission for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(
        &self,
        _: &Registry,
        _: &WriteContext,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<()> {
        if attributes.is_plain("", "persistentvolumes") {
            add(object, "kubernetes.io/pv-protection");
        } else if attributes.is_plain("", "persistentvolumeclaims") {
            add(object, "kubernetes.io/pvc-protection");
        } else if attributes.is_plain("storage.k8s.io", "volumeattributesclasses") {
            add(object, "kubernetes.io/vac-protection");
        }
        Ok(())
    }
}

fn add(object: &mut Value, finalizer: &str) {
    match object["metadata"]["finalizers"].as_array_mut() {
        Some(list) if list.iter().any(|f| f == finalizer) => {}
        Some(list) => list.push(finalizer.into()),
        None => object["metadata"]["finalizers"] = json!([finalizer]),
    }
}
