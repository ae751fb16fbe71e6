//! `RuntimeClass`: a pod's overhead and where it can run follow from its runtime class.

use async_trait::async_trait;
use corten_meta::{Result, object};
use serde_json::Value;

use super::totals::list as amounts;
use super::{Admission, Attributes, Operation, find};
use crate::context::WriteContext;
use crate::registry::Registry;

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct RuntimeClass;

#[async_trait]
impl Admission for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
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
        let Some(class) = class_of(registry, attributes, pod).await? else {
            return Ok(());
        };
        let fixed = &class["overhead"]["podFixed"];
        if class["overhead"].is_object() {
            let given = amounts(&pod["spec"]["overhead"]);
            if !given.is_empty() && given != amounts(fixed) {
                return Err(attributes.forbidden(pod, MISMATCH));
            }
            if fixed.is_object() {
                pod["spec"]["overhead"] = fixed.clone();
            }
        }
        let scheduling = &class["scheduling"];
        for (key, value) in scheduling["nodeSelector"].as_object().into_iter().flatten() {
            let own = &pod["spec"]["nodeSelector"][key];
            if !own.is_null() && own != value {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let error = format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    text(value),
                    text(own)
                );
                return Err(attributes.forbidden(pod, error));
            }
            pod["spec"]["nodeSelector"][key] = value.clone();
        }
        if let Some(more) = scheduling["tolerations"]
            .as_array()
            .filter(|list| !list.is_empty())
        {
            let own = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
            pod["spec"]["tolerations"] = merged(&own, more).into();
        }
        Ok(())
    }

    async fn validate(
        &self,
        registry: &Registry,
        _: &WriteContext,
        attributes: &Attributes<'_>,
        pod: &Value,
    ) -> Result<()> {
        if !attributes.is_plain("", "pods") {
            return Ok(());
        }
        let class = class_of(registry, attributes, pod).await?.unwrap_or(Value::Null);
        let overhead = &pod["spec"]["overhead"];
        if class["overhead"].is_object() {
            if amounts(overhead) != amounts(&class["overhead"]["podFixed"]) {
                return Err(attributes.forbidden(pod, MISMATCH));
            }
        } else if !overhead.is_null() {
            let error = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            return Err(attributes.forbidden(pod, error));
        }
        Ok(())
    }
}

/// The class the pod names; one that does not exist is an error.
async fn class_of(registry: &Registry, attributes: &Attributes<'_>, pod: &Value) -> Result<Option<Value>> {
    let name = object::str_at(pod, &["spec", "runtimeClassName"]);
    if name.is_empty() {
        return Ok(None);
    }
    let found = find(registry, "node.k8s.io", "runtimeclasses", "", name).await?;
    let none = || {
        attributes.forbidden(
            pod,
            format!(
                "pod rejected: RuntimeClass {} not found",
                corten_meta::quote(name)
            ),
        )
    };
    Ok(Some(found.ok_or_else(none)?))
}

/// Both lists without what another toleration covers.
fn merged(own: &[Value], more: &[Value]) -> Vec<Value> {
    let all: Vec<&Value> = own.iter().chain(more).collect();
    let mut kept: Vec<Value> = Vec::new();
    for (index, toleration) in all.iter().enumerate() {
        let covered = kept.iter().any(|other| covers(other, toleration))
            || all[index + 1..]
                .iter()
                .any(|other| other != toleration && covers(other, toleration));
        if !covered {
            kept.push((*toleration).clone());
        }
    }
    kept
}

/// Whether `wide` tolerates all that `narrow` does.
fn covers(wide: &Value, narrow: &Value) -> bool {
    let text = |toleration: &Value, field: &str| toleration[field].as_str().unwrap_or_default().to_owned();
    let open = |field: &str| text(wide, field).is_empty() || text(wide, field) == text(narrow, field);
    if wide == narrow {
        return true;
    }
    let any_key = text(wide, "key").is_empty() && text(wide, "operator") == "Exists";
    if !(open("effect") && (any_key || text(wide, "key") == text(narrow, "key"))) {
        return false;
    }
    if text(wide, "effect") == "NoExecute" {
        match (
            wide["tolerationSeconds"].as_i64(),
            narrow["tolerationSeconds"].as_i64(),
        ) {
            (Some(_), None) => return false,
            (Some(wide), Some(narrow)) if wide < narrow => return false,
            _ => {}
        }
    }
    match text(wide, "operator").as_str() {
        "Exists" => true,
        _ => text(narrow, "operator") != "Exists" && text(wide, "value") == text(narrow, "value"),
    }
}
