//! Keeping the authorizers up to date from the registry's watches.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use corten_auth::node::NodeAuthorizer;
use corten_auth::rbac::RbacAuthorizer;
use corten_meta::{Result, Status};
use corten_registry::{Object, Registry, Resource};
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
        match object.value() {
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

/// A digest of what of a pod refers to other objects: its spec, and the claims that were made for it. None for a pod that has
/// no node: it opens nothing to any.
fn outline(pod: &[u8]) -> Option<u64> {
    let spec = items::value(pod, "spec").filter(|spec| items::value(spec, "nodeName").is_some())?;
    let mut hasher = DefaultHasher::new();
    hasher.write(spec);
    if let Some(status) = items::value(pod, "status") {
        for claims in ["resourceClaimStatuses", "extendedResourceClaimStatus"] {
            hasher.write(items::value(status, claims).unwrap_or_default());
        }
    }
    Some(hasher.finish())
}
