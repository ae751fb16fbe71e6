//! `ServiceAccount`: each pod runs as a service account of its namespace and has the account's token mounted.

use async_trait::async_trait;
use corten_meta::{Result, object};
use serde_json::{Value, json};

use super::{Admission, Attributes, Operation, find};
use crate::context::WriteContext;
use crate::registry::Registry;

const MIRROR: &str = "kubernetes.io/config.mirror";
const DEFAULT_ACCOUNT: &str = "default";
const VOLUME_PREFIX: &str = "kube-api-access-";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// One hour and seven seconds: lets the server tell mounted default tokens from asked-for ones
/// (upstream `WarnOnlyBoundTokenExpirationSeconds`).
const TOKEN_EXPIRATION_S: i64 = 3607;

/// How often a missing default account is looked for, and how far apart.
const LOOKUPS_MAX: u32 = 10;
const LOOKUP_INTERVAL: std::time::Duration = std::time::Duration::from_millis(150);

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServiceAccount;

#[async_trait]
impl Admission for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
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
        if object::annotation(pod, MIRROR).is_some() {
            return check_mirror(attributes, pod);
        }
        if object::str_at(pod, &["spec", "serviceAccountName"]).is_empty() {
            pod["spec"]["serviceAccountName"] = DEFAULT_ACCOUNT.into();
        }
        let name = object::str_at(pod, &["spec", "serviceAccountName"]).to_owned();
        let Some(account) = account(registry, attributes.namespace, &name).await? else {
            let namespace = attributes.namespace;
            let error = format!(
                "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
            );
            return Err(attributes.forbidden(pod, error));
        };
        // The older name of the field follows, as conversion makes it upstream.
        pod["spec"]["serviceAccount"] = name.into();
        if automounts(&account, pod) {
            mount_token(pod);
        }
        let secrets = pod["spec"]["imagePullSecrets"].as_array();
        if secrets.is_none_or(Vec::is_empty)
            && let Some(inherited) = account["imagePullSecrets"]
                .as_array()
                .filter(|list| !list.is_empty())
        {
            pod["spec"]["imagePullSecrets"] = inherited.clone().into();
        }
        Ok(())
    }
}

/// A namespace that was just made gets its account a moment later: worth a short wait, as upstream does.
async fn account(registry: &Registry, namespace: &str, name: &str) -> Result<Option<Value>> {
    let lookups = if name == DEFAULT_ACCOUNT { LOOKUPS_MAX } else { 1 };
    for attempt in 0..lookups {
        if attempt > 0 {
            registry.clock().sleep(LOOKUP_INTERVAL).await;
        }
        let found = find(registry, "", "serviceaccounts", namespace, name).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Pods that a kubelet runs from files have no identity at the API.
fn check_mirror(attributes: &Attributes<'_>, pod: &Value) -> Result<()> {
    if !object::str_at(pod, &["spec", "serviceAccountName"]).is_empty() {
        return Err(attributes.forbidden(pod, "a mirror pod may not reference service accounts"));
    }
    for volume in list(&pod["spec"]["volumes"]) {
        if volume.get("secret").is_some() {
            return Err(attributes.forbidden(pod, "a mirror pod may not reference secrets"));
        }
        if list(&volume["projected"]["sources"])
            .iter()
            .any(|source| source.get("serviceAccountToken").is_some())
        {
            let error = "a mirror pod may not use ServiceAccountToken volume projections";
            return Err(attributes.forbidden(pod, error));
        }
    }
    Ok(())
}

/// The pod's word counts before the account's; neither means yes.
fn automounts(account: &Value, pod: &Value) -> bool {
    let of_pod = pod["spec"]["automountServiceAccountToken"].as_bool();
    of_pod
        .or(account["automountServiceAccountToken"].as_bool())
        .unwrap_or(true)
}

/// Adds the token volume to each container that has nothing at its path.
fn mount_token(pod: &mut Value) {
    let existing = list(&pod["spec"]["volumes"])
        .iter()
        .map(object_name)
        .find(|name| name.starts_with(VOLUME_PREFIX));
    let name = existing
        .clone()
        .unwrap_or_else(|| crate::resource::generate_name(VOLUME_PREFIX));
    let mount = json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH});
    let mut needed = false;
    for kind in ["initContainers", "containers"] {
        // Indexing would insert a null where the list is absent.
        let containers = pod["spec"].get_mut(kind).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            if list(&container["volumeMounts"])
                .iter()
                .any(|mount| mount["mountPath"] == MOUNT_PATH)
            {
                continue;
            }
            push(container, "volumeMounts", mount.clone());
            needed = true;
        }
    }
    if needed && existing.is_none() {
        push(&mut pod["spec"], "volumes", token_volume(&name));
    }
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_EXPIRATION_S}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

fn object_name(value: &Value) -> String {
    value["name"].as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn push(parent: &mut Value, field: &str, item: Value) {
    match parent[field].as_array_mut() {
        Some(items) => items.push(item),
        None => parent[field] = json!([item]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_mounted_once_where_nothing_else_is() {
        let mut pod = json!({"spec": {"containers": [
            {"name": "a"},
            {"name": "b", "volumeMounts": [{"name": "own", "mountPath": MOUNT_PATH}]}]}});
        mount_token(&mut pod);
        assert_eq!(list(&pod["spec"]["volumes"]).len(), 1);
        assert_eq!(list(&pod["spec"]["containers"][0]["volumeMounts"]).len(), 1);
        assert_eq!(pod["spec"]["containers"][1]["volumeMounts"][0]["name"], "own");
        mount_token(&mut pod);
        assert_eq!(list(&pod["spec"]["volumes"]).len(), 1);
    }
}
