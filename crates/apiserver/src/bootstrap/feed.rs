//! Keeping the authorizers up to date from the registry's watches.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use corten_auth::node::NodeAuthorizer;
use corten_auth::rbac::RbacAuthorizer;
use corten_meta::{Result, Status};
use corten_registry::{Object, Registry, Resource};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::follow::{Change, follow};
use crate::items;

const RBAC: &str = "rbac.authorization.k8s.io";

/// What the authorizers read. The node authorizer's graph hangs on the last four.
const WATCHED: [(&str, &str); 8] = [
    (RBAC, "clusterroles"),
    (RBAC, "clusterrolebindings"),
    (RBAC, "roles"),
    (RBAC, "rolebindings"),
    ("", "pods"),
    ("", "persistentvolumes"),
    ("storage.k8s.io", "volumeattachments"),
    ("resource.k8s.io", "resourceslices"),
];

/// Follows the registry until stopped.
pub struct PolicyFeed {
    rbac: Arc<RbacAuthorizer>,
    node: Arc<NodeAuthorizer>,
}

impl PolicyFeed {
    /// Starts a task per resource; returns when each has taken in what there is.
    ///
    /// # Errors
    /// Where a watch cannot be opened at all.
    pub async fn start(
        registry: &Arc<Registry>,
        rbac: Arc<RbacAuthorizer>,
        node: Arc<NodeAuthorizer>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let mut waits = Vec::with_capacity(WATCHED.len());
        for (group, plural) in WATCHED {
            let Some(resource) = registry.resource(group, plural) else {
                continue;
            };
            let (synced, wait) = oneshot::channel();
            waits.push(wait);
            let feed = Self {
                rbac: rbac.clone(),
                node: node.clone(),
            };
            let (registry, stop) = (registry.clone(), stop.clone());
            tokio::spawn(async move {
                let mut synced = Some(synced);
                let apply = |change: Change<'_>| match change {
                    Change::Upsert(object) => feed.upsert(&resource, object),
                    Change::Remove(key, _) => feed.remove(&resource, key),
                    Change::Synced => {
                        if let Some(done) = synced.take() {
                            let _ = done.send(());
                        }
                    }
                };
                follow(&registry, &resource, &stop, apply).await;
            });
        }
        for wait in waits {
            wait.await
                .map_err(|_| Status::internal("a policy watch ended before it began"))?;
        }
        Ok(())
    }

    fn upsert(&self, resource: &Resource, object: &Object) {
        let outline = (&*resource.plural == "pods").then(|| outline(object.json()));
        if outline.is_some_and(|outline| self.is_known(object, outline)) {
            return;
        }
        let read = if outline.is_some() {
            referring(object.json(), object.namespace(), object.name())
        } else {
            object.value()
        };
        match read {
            Ok(pod) if let Some(Some(outline)) = outline => self.node.upsert_pod(&pod, outline),
            Ok(value) if resource.group == RBAC => self.rbac.upsert(&resource.plural, &value),
            Ok(value) => self.node.upsert(&resource.plural, &value),
            Err(error) => tracing::error!(%error, ?resource, "policy object cannot be read"),
        }
    }

    /// Nothing of the pod can have changed that the node authorizer reads. There are many pods, and most of their changes are of
    /// their status.
    fn is_known(&self, pod: &Object, outline: Option<u64>) -> bool {
        match outline {
            Some(outline) => self.node.has_pod(pod.namespace(), pod.name(), outline),
            None => {
                self.node.remove("pods", pod.namespace(), pod.name());
                true
            }
        }
    }

    fn remove(&self, resource: &Resource, key: &str) {
        let (ns, name) = key.split_once('/').unwrap_or(("", key));
        if resource.group == RBAC {
            self.rbac.remove(&resource.plural, ns, name);
        } else {
            self.node.remove(&resource.plural, ns, name);
        }
    }
}

/// What of a pod refers to other objects, read alone: its managed fields are longer.
fn referring(json: &[u8], namespace: &str, name: &str) -> Result<Value> {
    let read = |part: &[u8]| serde_json::from_slice::<Value>(part).map_err(Status::internal);
    let holds_mirror = |metadata: &[u8]| metadata.windows(MIRROR.len()).any(|part| part == MIRROR);
    if items::value(json, "metadata").is_none_or(holds_mirror) {
        return read(json);
    }
    let mut status = Map::new();
    let whole = items::value(json, "status").unwrap_or(b"{}");
    for name in CLAIMS {
        if let Some(claims) = items::value(whole, name) {
            status.insert(name.to_owned(), read(claims)?);
        }
    }
    let spec = read(items::value(json, "spec").unwrap_or(b"{}"))?;
    let metadata = json!({"namespace": namespace, "name": name});
    let parts = [
        ("metadata", metadata),
        ("spec", spec),
        ("status", Value::Object(status)),
    ];
    Ok(parts
        .into_iter()
        .map(|(name, part)| (name.to_owned(), part))
        .collect())
}

/// The annotation of pods that a kubelet made itself.
const MIRROR: &[u8] = b"kubernetes.io/config.mirror";
/// Where a pod's status names claims that were made for it.
const CLAIMS: [&str; 2] = ["resourceClaimStatuses", "extendedResourceClaimStatus"];

/// A digest of what of a pod refers to other objects: its spec, and the claims that were made for it. None for a pod that has
/// no node: it opens nothing to any.
fn outline(pod: &[u8]) -> Option<u64> {
    let spec = items::value(pod, "spec").filter(|spec| items::value(spec, "nodeName").is_some())?;
    let mut hasher = DefaultHasher::new();
    hasher.write(spec);
    if let Some(status) = items::value(pod, "status") {
        for claims in CLAIMS {
            hasher.write(items::value(status, claims).unwrap_or_default());
        }
    }
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// As the registry writes it: metadata first.
    fn stored(metadata: &Value, rest: &Value) -> Vec<u8> {
        let rest = rest.to_string();
        format!(
            r#"{{"kind":"Pod","apiVersion":"v1","metadata":{metadata},{}"#,
            &rest[1..]
        )
        .into_bytes()
    }

    fn pod(label: &str, secret: &str, phase: &str) -> Vec<u8> {
        let volumes = json!([{"name": "v", "secret": {"secretName": secret}}]);
        stored(
            &json!({"namespace": "a", "name": "p", "labels": {"l": label}}),
            &json!({"spec": {"nodeName": "n", "volumes": volumes}, "status": {"phase": phase}}),
        )
    }

    #[test]
    fn only_what_refers_to_others_counts() {
        let first = outline(&pod("x", "s", "Pending"));
        assert!(first.is_some());
        assert_eq!(first, outline(&pod("y", "s", "Running")));
        assert_ne!(first, outline(&pod("x", "t", "Pending")));
        let claims = stored(
            &json!({"name": "p"}),
            &json!({"spec": {"nodeName": "n"}, "status": {"resourceClaimStatuses": [{"name": "c", "resourceClaimName": "d"}]}}),
        );
        let none = stored(
            &json!({"name": "p"}),
            &json!({"spec": {"nodeName": "n"}, "status": {}}),
        );
        assert_ne!(outline(&claims), outline(&none));
        assert_eq!(
            outline(&stored(&json!({"name": "p"}), &json!({"spec": {}}))),
            None
        );
    }

    #[test]
    fn what_refers_to_others_is_read() {
        let read = referring(&pod("x", "s", "Running"), "a", "p").unwrap();
        let volumes = json!([{"name": "v", "secret": {"secretName": "s"}}]);
        let want = json!({"metadata": {"namespace": "a", "name": "p"}, "status": {},
            "spec": {"nodeName": "n", "volumes": volumes}});
        assert_eq!(read, want);
        let metadata = json!({"name": "p", "annotations": {"kubernetes.io/config.mirror": "x"}});
        let mirror = stored(&metadata, &json!({"spec": {"nodeName": "n"}}));
        assert_eq!(referring(&mirror, "a", "p").unwrap()["metadata"], metadata);
    }
}
