//! Keeping the authorizers up to date from the registry's watches.

use std::sync::Arc;

use corten_auth::node::NodeAuthorizer;
use corten_auth::rbac::RbacAuthorizer;
use corten_meta::{Result, Status};
use corten_registry::{Object, Registry, Resource};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::follow::{Change, follow};

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
        if let Err(error) = self.take_in(resource, object) {
            tracing::error!(%error, ?resource, "policy object cannot be read");
        }
    }

    fn take_in(&self, resource: &Resource, object: &Object) -> Result<()> {
        match &*resource.plural {
            "pods" => {
                let (namespace, name) = (object.namespace(), object.name());
                let taken = self.node.upsert_pod(namespace, name, object.json());
                taken.map_err(Status::internal)?;
            }
            plural if resource.group == RBAC => self.rbac.upsert(plural, &object.value()?),
            plural => self.node.upsert(plural, &object.value()?),
        }
        Ok(())
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
