//! Keeping the authorizers up to date from the registry's watches.

use std::collections::HashSet;
use std::sync::Arc;

use corten_auth::node::NodeAuthorizer;
use corten_auth::rbac::RbacAuthorizer;
use corten_meta::{Result, Status};
use corten_registry::{Object, Registry, Resource, VersionMatch, WatchEvent, WatchOptions, WatchStream};
use futures::StreamExt;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

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
                let follow = feed.follow(&registry, &resource, Some(synced));
                tokio::select! {
                    () = follow => {}
                    () = stop.cancelled() => {}
                }
            });
        }
        for wait in waits {
            wait.await
                .map_err(|_| Status::internal("a policy watch ended before it began"))?;
        }
        Ok(())
    }

    async fn follow(
        &self,
        registry: &Registry,
        resource: &Resource,
        mut synced: Option<oneshot::Sender<()>>,
    ) {
        let mut known: HashSet<Arc<str>> = HashSet::new();
        loop {
            let options = WatchOptions {
                version_match: Some(VersionMatch::NotOlderThan),
                bookmarks: true,
                send_initial_events: Some(true),
                ..WatchOptions::default()
            };
            match registry.watch(resource, None, &options).await {
                Ok(events) => self.take(resource, events, &mut known, &mut synced).await,
                Err(error) => {
                    tracing::error!(%error, ?resource, "policy cannot be watched");
                    return;
                }
            }
        }
    }

    /// Takes in one watch until it ends. What an earlier watch knew and this one does not show is gone.
    async fn take(
        &self,
        resource: &Resource,
        mut events: WatchStream,
        known: &mut HashSet<Arc<str>>,
        synced: &mut Option<oneshot::Sender<()>>,
    ) {
        let mut stale = known.clone();
        let mut initial = true;
        while let Some(event) = events.next().await {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    stale.remove(&object.key);
                    known.insert(object.key.clone());
                    self.upsert(resource, &object);
                }
                WatchEvent::Deleted(object) => {
                    known.remove(&object.key);
                    self.remove(resource, &object.key);
                }
                WatchEvent::Bookmark(_) if initial => {
                    initial = false;
                    for key in stale.drain() {
                        known.remove(&key);
                        self.remove(resource, &key);
                    }
                    if let Some(done) = synced.take() {
                        let _ = done.send(());
                    }
                }
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(error) => {
                    return tracing::debug!(%error, ?resource, "policy watch ended, starting again");
                }
            }
        }
    }

    fn upsert(&self, resource: &Resource, object: &Object) {
        match object.value() {
            Ok(value) if resource.group == RBAC => self.rbac.upsert(&resource.plural, &value),
            Ok(value) => self.node.upsert(&resource.plural, &value),
            Err(error) => tracing::error!(%error, ?resource, "policy object cannot be read"),
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
