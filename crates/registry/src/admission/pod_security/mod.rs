//! `PodSecurity`: pods keep to the security standard that their namespace's labels ask for.

mod baseline;
mod checks;
mod policy;
mod restricted;

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use corten_meta::{Result, Status, object};
use serde_json::Value;

use self::checks::{Pod, details, reasons, violations};
use self::policy::{Level, Policy, Standard};
use super::{Admission, Attributes, Operation, find_object};
use crate::context::WriteContext;
use crate::options::ListOptions;
use crate::registry::Registry;
use crate::resource::Subresource;

/// Pods looked at when a namespace becomes stricter.
const PODS_MAX: usize = 3000;
/// Kinds with a template of pods, and where it is.
const TEMPLATES: [(&str, &str, &str); 8] = [
    ("", "podtemplates", "/template"),
    ("", "replicationcontrollers", "/spec/template"),
    ("apps", "daemonsets", "/spec/template"),
    ("apps", "deployments", "/spec/template"),
    ("apps", "replicasets", "/spec/template"),
    ("apps", "statefulsets", "/spec/template"),
    ("batch", "cronjobs", "/spec/jobTemplate/spec/template"),
    ("batch", "jobs", "/spec/template"),
];

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct PodSecurity;

#[async_trait]
impl Admission for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
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
        let resource = attributes.resource;
        if attributes.is_plain("", "namespaces") {
            return namespace(registry, ctx, attributes, object).await;
        }
        if resource.group.is_empty() && &*resource.plural == "pods" {
            return pod(registry, ctx, attributes, object).await;
        }
        let place = TEMPLATES
            .iter()
            .find(|(group, plural, _)| attributes.is_plain(group, plural));
        let template = place.and_then(|(_, _, place)| object.pointer(place));
        match template {
            Some(template) => workload(registry, ctx, attributes, template).await,
            None => Ok(()),
        }
    }
}

fn pod_of(object: &Value) -> Pod<'_> {
    Pod {
        metadata: &object["metadata"],
        spec: &object["spec"],
    }
}

async fn policy_of(registry: &Registry, namespace: &str) -> Result<Policy> {
    let found = find_object(registry, "", "namespaces", "", namespace).await?;
    let missing = || {
        let name = corten_meta::quote(namespace);
        Status::internal(format!("failed to lookup namespace {name}"))
    };
    let found = found.ok_or_else(missing)?;
    Ok(Policy::of(|label| found.label(label)).0)
}

async fn pod(
    registry: &Registry,
    ctx: &WriteContext,
    attributes: &Attributes<'_>,
    object: &Value,
) -> Result<()> {
    let concerned = [
        Subresource::MAIN,
        Subresource::EPHEMERAL_CONTAINERS,
        Subresource::RESIZE,
    ];
    let changed = attributes.old.is_none_or(|old| is_significant(object, old));
    if !concerned.contains(&attributes.subresource) || !changed {
        return Ok(());
    }
    let policy = policy_of(registry, attributes.namespace).await?;
    if policy.is_privileged() {
        return Ok(());
    }
    let pod = pod_of(object);
    let found = violations(pod, policy.enforce);
    if !found.is_empty() {
        let error = format!("violates PodSecurity \"{}\": {}", policy.enforce, details(&found));
        return Err(attributes.forbidden(object, error));
    }
    warn(ctx, pod, policy.warn);
    Ok(())
}

fn warn(ctx: &WriteContext, pod: Pod<'_>, standard: Standard) {
    let found = violations(pod, standard);
    if !found.is_empty() {
        ctx.warn(format!(
            "would violate PodSecurity \"{standard}\": {}",
            details(&found)
        ));
    }
}

/// Containers that came, went, or have another image.
fn is_significant(pod: &Value, old: &Value) -> bool {
    let images = |pod: &Value, kind: &str| -> Vec<Value> {
        let containers = pod["spec"][kind].as_array().into_iter().flatten();
        containers.map(|container| container["image"].clone()).collect()
    };
    let by_name = |pod: &Value| -> BTreeMap<String, Value> {
        let containers = pod["spec"]["ephemeralContainers"]
            .as_array()
            .into_iter()
            .flatten();
        let name = |container: &Value| container["name"].as_str().unwrap_or_default().to_owned();
        containers
            .map(|container| (name(container), container["image"].clone()))
            .collect()
    };
    let (ephemeral, before) = (by_name(pod), by_name(old));
    ["containers", "initContainers"]
        .iter()
        .any(|kind| images(pod, kind) != images(old, kind))
        || ephemeral
            .iter()
            .any(|(name, image)| before.get(name) != Some(image))
}

/// What makes pods is only warned about: the pods are refused.
async fn workload(
    registry: &Registry,
    ctx: &WriteContext,
    attributes: &Attributes<'_>,
    template: &Value,
) -> Result<()> {
    let policy = policy_of(registry, attributes.namespace).await?;
    if policy.warn.level != Level::Privileged {
        warn(ctx, pod_of(template), policy.warn);
    }
    Ok(())
}

async fn namespace(
    registry: &Registry,
    ctx: &WriteContext,
    attributes: &Attributes<'_>,
    object: &Value,
) -> Result<()> {
    let of = |namespace| Policy::of(move |label| object::label(namespace, label));
    let (policy, errors) = of(object);
    let before = attributes.old.map(of);
    let texts = |errors: &corten_meta::field::ErrorList| -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    };
    let known = before.as_ref().map(|(_, errors)| texts(errors));
    if !errors.is_empty() && known != Some(texts(&errors)) {
        let kind = attributes.resource.group_kind();
        return Err(Status::invalid(&kind, object::name(object), errors));
    }
    let stricter = before.is_some_and(|(before, _)| policy.enforce.is_stricter(before.enforce));
    if stricter {
        existing_pods(registry, ctx, object::name(object), policy.enforce).await?;
    }
    Ok(())
}

/// Pods that are there already stay, with a warning.
async fn existing_pods(
    registry: &Registry,
    ctx: &WriteContext,
    namespace: &str,
    enforce: Standard,
) -> Result<()> {
    let Some(resource) = registry.resource("", "pods") else {
        return Ok(());
    };
    let page = registry
        .list(&resource, Some(namespace), &ListOptions::default())
        .await?;
    let pods = page
        .items
        .iter()
        .map(|item| item.value())
        .collect::<Result<Vec<Value>>>()?;
    let pods = prioritized(pods);
    let mut by_reason: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for pod in pods.iter().take(PODS_MAX) {
        let found = violations(pod_of(pod), enforce);
        if found.is_empty() {
            continue;
        }
        let name = object::name(pod);
        let entry = by_reason
            .entry(reasons(&found))
            .or_insert_with(|| (name.to_owned(), 0));
        entry.1 += 1;
        if name < entry.0.as_str() {
            name.clone_into(&mut entry.0);
        }
    }
    if pods.len() > PODS_MAX {
        ctx.warn(format!(
            "new PodSecurity enforce level only checked against the first {PODS_MAX} of {} existing pods",
            pods.len()
        ));
    }
    if !by_reason.is_empty() {
        let namespace = corten_meta::quote(namespace);
        ctx.warn(format!(
            "existing pods in namespace {namespace} violate the new PodSecurity enforce level \"{enforce}\""
        ));
    }
    let mut texts: Vec<String> = by_reason
        .into_iter()
        .map(|(reason, (name, count))| match count {
            1 => format!("{name}: {reason}"),
            2 => format!("{name} (and 1 other pod): {reason}"),
            _ => format!("{name} (and {} other pods): {reason}", count - 1),
        })
        .collect();
    texts.sort();
    texts.into_iter().for_each(|text| ctx.warn(text));
    Ok(())
}

/// One pod of each controller first: the others are most likely the same.
fn prioritized(pods: Vec<Value>) -> Vec<Value> {
    let mut seen = HashSet::new();
    let (mut first, others): (Vec<Value>, Vec<Value>) = pods.into_iter().partition(|pod| {
        let owners = pod["metadata"]["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten();
        let controller = owners.into_iter().find(|owner| owner["controller"] == true);
        controller.is_none_or(|owner| seen.insert(owner["uid"].to_string()))
    });
    first.extend(others);
    first
}
