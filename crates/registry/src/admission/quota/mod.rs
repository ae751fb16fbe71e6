//! `ResourceQuota`: what is created is counted first, and refused where a quota of its namespace has no room for it.
//! Usage only rises here; the quota controller counts afresh when something is released.

mod charge;
mod usage;

use std::hash::{BuildHasher, RandomState};

use async_trait::async_trait;
use corten_meta::{Result, Status};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Admission, Attributes, Operation, in_namespace};
use crate::context::WriteContext;
use crate::options::UpdateOptions;
use crate::registry::Registry;
use crate::resource::Subresource;
use charge::Charge;

/// Namespaces whose writes are counted side by side; those that share a slot wait for each other.
const SLOTS: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct ResourceQuota {
    /// Writers of one namespace come one after the other, or they would race for the same quotas.
    slots: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for ResourceQuota {
    fn default() -> Self {
        Self {
            slots: std::iter::repeat_with(Mutex::default).take(SLOTS).collect(),
            hasher: RandomState::new(),
        }
    }
}

#[async_trait]
impl Admission for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(
        &self,
        registry: &Registry,
        ctx: &WriteContext,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<()> {
        if attributes.namespace.is_empty() || !usage::handles(attributes, object) {
            return Ok(());
        }
        if in_namespace(registry, "resourcequotas", attributes.namespace)
            .await?
            .is_empty()
        {
            return Ok(());
        }
        let slot = self.hasher.hash_one(attributes.namespace) as usize % SLOTS;
        let _turn = self.slots[slot].lock().await;
        let charge = Charge::new(attributes, object, ctx.now);
        let quotas = in_namespace(registry, "resourcequotas", attributes.namespace).await?;
        let mut changed = Vec::new();
        for quota in &quotas {
            let used = charge
                .on(quota)
                .map_err(|error| attributes.forbidden(object, error))?;
            changed.extend(used.map(|_| corten_meta::object::name(quota)));
        }
        if !ctx.dry_run {
            for name in changed {
                write(registry, ctx, &charge, (attributes, object), name).await?;
            }
        }
        Ok(())
    }
}

/// The quota may have changed since: what is written follows from what is there.
async fn write(
    registry: &Registry,
    ctx: &WriteContext,
    charge: &Charge,
    (attributes, object): (&Attributes<'_>, &Value),
    name: &str,
) -> Result<()> {
    let missing = || Status::internal("resourcequotas are not served");
    let resource = registry.resource("", "resourcequotas").ok_or_else(missing)?;
    let own = WriteContext::of_server(ctx.now);
    let change = |quota: &Value| {
        let used = charge
            .on(quota)
            .map_err(|error| attributes.forbidden(object, error))?;
        let mut quota = quota.clone();
        if let Some(used) = used {
            let amounts = used
                .iter()
                .map(|(name, amount)| (name.clone(), Value::from(amount.to_string())));
            quota["status"]["used"] = json!(amounts.collect::<serde_json::Map<_, _>>());
        }
        Ok(quota)
    };
    let options = UpdateOptions::default();
    let status = Subresource::STATUS;
    let updated = registry
        .update(
            &own,
            &resource,
            attributes.namespace,
            name,
            status,
            change,
            &options,
        )
        .await;
    match updated {
        // A quota that was removed limits nothing.
        Err(status) if status.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}
