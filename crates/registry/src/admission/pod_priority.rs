//! `Priority`: a pod's priority is the number its priority class stands for.

use async_trait::async_trait;
use corten_meta::{Result, object};
use serde_json::Value;

use super::{Admission, Attributes, Operation, find};
use crate::context::WriteContext;
use crate::options::ListOptions;
use crate::registry::Registry;

const GROUP: &str = "scheduling.k8s.io";
const PLURAL: &str = "priorityclasses";

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Priority;

#[async_trait]
impl Admission for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn admit(
        &self,
        registry: &Registry,
        _: &WriteContext,
        attributes: &Attributes<'_>,
        pod: &mut Value,
    ) -> Result<()> {
        if !attributes.is_plain("", "pods") {
            return Ok(());
        }
        match attributes.old {
            Some(old) => keep(pod, old),
            None => set(registry, attributes, pod).await?,
        }
        Ok(())
    }
}

/// Clients that do not know the fields must not clear them.
fn keep(pod: &mut Value, old: &Value) {
    for field in ["priority", "preemptionPolicy"] {
        if pod["spec"][field].is_null() && !old["spec"][field].is_null() {
            pod["spec"][field] = old["spec"][field].clone();
        }
    }
}

async fn set(registry: &Registry, attributes: &Attributes<'_>, pod: &mut Value) -> Result<()> {
    let name = object::str_at(pod, &["spec", "priorityClassName"]).to_owned();
    let class = if name.is_empty() {
        default_class(registry).await?
    } else {
        let found = find(registry, GROUP, PLURAL, "", &name).await?;
        let none = || attributes.forbidden(pod, format!("no PriorityClass with name {name} was found"));
        Some(found.ok_or_else(none)?)
    };
    let class = class.unwrap_or(Value::Null);
    let priority = class["value"].as_i64().unwrap_or(0);
    if let Some(given) = pod["spec"]["priority"]
        .as_i64()
        .filter(|given| *given != priority)
    {
        let error = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name"
        );
        return Err(attributes.forbidden(pod, error));
    }
    let policy = class["preemptionPolicy"]
        .as_str()
        .unwrap_or("PreemptLowerPriority");
    if let Some(given) = pod["spec"]["preemptionPolicy"]
        .as_str()
        .filter(|given| *given != policy)
    {
        let error = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        );
        return Err(attributes.forbidden(pod, error));
    }
    if let Some(default) = class["metadata"]["name"].as_str() {
        pod["spec"]["priorityClassName"] = default.into();
    }
    pod["spec"]["priority"] = priority.into();
    pod["spec"]["preemptionPolicy"] = policy.into();
    Ok(())
}

/// Of several global defaults the lowest counts.
async fn default_class(registry: &Registry) -> Result<Option<Value>> {
    let Some(resource) = registry.resource(GROUP, PLURAL) else {
        return Ok(None);
    };
    let options = ListOptions {
        resource_version: "0".to_owned(),
        ..ListOptions::default()
    };
    let page = registry.list(&resource, None, &options).await?;
    let mut best: Option<Value> = None;
    for item in &page.items {
        let class = item.value()?;
        let lower = best
            .as_ref()
            .is_none_or(|b| class["value"].as_i64() < b["value"].as_i64());
        if class["globalDefault"] == true && lower {
            best = Some(class);
        }
    }
    Ok(best)
}
