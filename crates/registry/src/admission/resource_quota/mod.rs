//! `ResourceQuota`: what is created is charged to the quotas of its namespace before it is stored.

mod scopes;
mod usage;

use async_trait::async_trait;
use corten_meta::{Result, object};
use serde_json::Value;

use self::usage::Measured;
use super::pod_amounts::{Amounts, add, amounts};
use super::{Admission, Attributes, Operation, list};
use crate::context::{User, WriteContext};
use crate::options::UpdateOptions;
use crate::registry::Registry;
use crate::resource::Subresource;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResourceQuota;

/// What one quota is asked for.
struct Charge {
    quota: String,
    amounts: Amounts,
}

#[async_trait]
impl Admission for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    /// Checks all quotas, then charges each; a charge is checked again against what the quota is by then.
    async fn validate(
        &self,
        registry: &Registry,
        ctx: &WriteContext,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<()> {
        let Some(measured) = Measured::of(attributes, object) else {
            return Ok(());
        };
        let mut charges = Vec::new();
        for quota in list(registry, "", "resourcequotas", Some(attributes.namespace)).await? {
            charges.extend(assess(&measured, attributes, object, &quota)?);
        }
        if ctx.dry_run {
            return Ok(());
        }
        for charge in &charges {
            charge_quota(registry, ctx, attributes, object, charge).await?;
        }
        Ok(())
    }
}

/// What of the object counts for this quota; refuses it if that is too much.
fn assess(
    measured: &Measured,
    attributes: &Attributes<'_>,
    object: &Value,
    quota: &Value,
) -> Result<Option<Charge>> {
    let hard = amounts(&quota["status"]["hard"]);
    let names = measured.counted(&hard);
    if names.is_empty() || !scopes::matches(measured, quota, object) {
        return Ok(None);
    }
    let name = object::name(quota);
    if let Some(problem) = measured.unstated(&names, object) {
        return Err(attributes.forbidden(object, format!("failed quota: {name}: {problem}")));
    }
    let used = amounts(&quota["status"]["used"]);
    if names.iter().any(|resource| !used.contains_key(*resource)) {
        let error = format!("status unknown for quota: {name}, resources: {}", names.join(","));
        return Err(attributes.forbidden(object, error));
    }
    let mut wanted = measured.usage(object);
    if let Some(old) = attributes.old.filter(|old| scopes::matches(measured, quota, old)) {
        let before = measured.usage(old);
        for (name, amount) in &mut wanted {
            if let Some(before) = before.get(name) {
                *amount = amount.sub(before);
            }
        }
    }
    wanted.retain(|name, amount| amount.nanos() > 0 && hard.contains_key(name));
    if wanted.is_empty() {
        return Ok(None);
    }
    let charge = Charge {
        quota: name.to_owned(),
        amounts: wanted,
    };
    charge.check(attributes, object, quota)?;
    Ok(Some(charge))
}

impl Charge {
    /// The quota's usage with the charge, or why it does not fit.
    fn check(&self, attributes: &Attributes<'_>, object: &Value, quota: &Value) -> Result<Amounts> {
        let (hard, used) = (
            amounts(&quota["status"]["hard"]),
            amounts(&quota["status"]["used"]),
        );
        let mut sum = used.clone();
        add(&mut sum, &self.amounts);
        let over = |name: &&String| hard.get(*name).is_some_and(|most| sum[*name] > *most);
        let exceeded: Vec<&String> = self.amounts.keys().filter(over).collect();
        if exceeded.is_empty() {
            return Ok(sum);
        }
        let error = format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            self.quota,
            shown(&self.amounts, &exceeded),
            shown(&used, &exceeded),
            shown(&hard, &exceeded)
        );
        Err(attributes.forbidden(object, error))
    }
}

fn shown(list: &Amounts, names: &[&String]) -> String {
    let parts = names
        .iter()
        .filter_map(|name| Some(format!("{name}={}", list.get(*name)?)));
    parts.collect::<Vec<_>>().join(",")
}

async fn charge_quota(
    registry: &Registry,
    ctx: &WriteContext,
    attributes: &Attributes<'_>,
    object: &Value,
    charge: &Charge,
) -> Result<()> {
    let Some(quotas) = registry.resource("", "resourcequotas") else {
        return Ok(());
    };
    let server = User {
        name: "system:apiserver".to_owned(),
        groups: vec!["system:masters".to_owned()],
        ..User::default()
    };
    let own = WriteContext::new(server, ctx.now);
    let change = |quota: &Value| {
        let sum = charge.check(attributes, object, quota)?;
        let mut quota = quota.clone();
        for (name, amount) in sum {
            quota["status"]["used"][name] = amount.to_string().into();
        }
        Ok(quota)
    };
    let options = UpdateOptions::default();
    let place = (attributes.namespace, charge.quota.as_str());
    let update = registry.update(
        &own,
        &quotas,
        place.0,
        place.1,
        Subresource::STATUS,
        change,
        &options,
    );
    match update.await {
        Ok(_) => Ok(()),
        // Whoever removed the quota lifted the limit.
        Err(status) if status.is_not_found() => Ok(()),
        Err(status) => Err(status),
    }
}
