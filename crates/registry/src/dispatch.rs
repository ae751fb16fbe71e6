//! From the store to the watch caches: one watch over everything, handed out by key prefix.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use corten_meta::{Result, Status};
use corten_store::{Event, EventBatch, EventKind, KeyValue, Range, RangeRequest, Store, WatchRequest};
use futures::StreamExt;
use tokio::sync::watch;

use crate::cache::{Change, Snapshot, What};
use crate::encode::Prepared;
use crate::errors::store_error;
use crate::metrics::Metrics;
use crate::object::Object;
use crate::resource::{Resource, ResourceInfo};

/// What every built-in key begins with.
pub(crate) const ROOT: &str = "/registry/";
/// Objects read from the store at once.
pub(crate) const LOAD_PAGE: usize = 1000;

/// Resources by their key prefix.
pub(crate) type Routes = BTreeMap<String, Resource>;

/// The resource a key belongs to: the one with the longest prefix of it. No prefix is the prefix of another, so that
/// is the last one not above the key.
fn route<'a>(routes: &'a Routes, key: &'a str) -> Option<(&'a Resource, &'a str)> {
    let up_to = (Bound::Unbounded, Bound::Included(key));
    let (prefix, resource) = routes.range::<str, _>(up_to).next_back()?;
    Some((resource, key.strip_prefix(prefix.as_str())?))
}

/// Everything the store holds of a resource at `revision`.
pub(crate) async fn load(store: &dyn Store, info: &ResourceInfo, revision: u64) -> Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    let mut range = Range::prefix(&info.prefix);
    loop {
        let request = RangeRequest::new(range.clone()).at(revision).limit(LOAD_PAGE);
        let page = store.range(request).await.map_err(|error| store_error(&error))?;
        let last = page.kvs.last().map(|kv| kv.key.clone());
        for kv in page.kvs {
            if let Some(object) = decode(info, &kv) {
                snapshot.changed = snapshot.changed.max(kv.mod_revision);
                snapshot.objects.insert(object);
            }
        }
        match last.filter(|_| page.more) {
            Some(last) => range.start = Range::key(last).end,
            None => return Ok(snapshot),
        }
    }
}

/// The object of a stored state. One that cannot be read is logged and left out, so that the others can be.
pub(crate) fn decode(info: &ResourceInfo, kv: &KeyValue) -> Option<Object> {
    let key = std::str::from_utf8(&kv.key).ok()?.strip_prefix(&info.prefix)?;
    match Prepared::parse(info, key.into(), &kv.value) {
        Ok(prepared) => Some(prepared.object(kv.mod_revision)),
        Err(status) => {
            tracing::error!(error = %status, "leaving out an object that cannot be read");
            None
        }
    }
}

/// The object of a put: as the writer prepared it, or parsed.
fn object_of(info: &ResourceInfo, event: &Event) -> Option<Object> {
    let prepared = event.tag.as_ref().and_then(|tag| tag.downcast_ref::<Prepared>());
    match prepared {
        Some(prepared) => Some(prepared.object(event.kv.mod_revision)),
        None => decode(info, &event.kv),
    }
}

/// A change as the resource's cache takes it.
fn change(info: &ResourceInfo, key: &str, event: &Event) -> Change {
    let put = (event.kind == EventKind::Put).then(|| object_of(info, event));
    Change {
        revision: event.kv.mod_revision,
        what: put.flatten().map_or_else(|| What::Deleted(key.into()), What::Put),
    }
}

/// Held while a batch is handed out, and while the set of resources changes.
pub(crate) type Gate = tokio::sync::Mutex<()>;

/// Takes the store's events to the caches.
pub(crate) struct Follower {
    pub routes: Arc<arc_swap::ArcSwap<Routes>>,
    pub gate: Arc<Gate>,
    pub applied: watch::Sender<u64>,
    pub metrics: Arc<Metrics>,
}

impl Follower {
    /// Follows the store from `start` until it closes.
    pub async fn follow(self, store: Arc<dyn Store>, start: u64) {
        let request = WatchRequest {
            range: Range::prefix(ROOT),
            start_revision: start,
            prev: false,
        };
        let mut stream = match store.watch(request).await {
            Ok(stream) => stream,
            Err(error) => return tracing::error!(%error, "the watch cache cannot follow the store"),
        };
        drop(store);
        while let Some(batch) = stream.next().await {
            match batch {
                Ok(batch) => {
                    let _gate = self.gate.lock().await;
                    self.apply(&self.routes.load(), &batch);
                }
                Err(error) => return tracing::error!(%error, "the watch cache has lost the store"),
            }
        }
    }

    /// Order matters: every cache has the batch before its revision counts as applied.
    fn apply(&self, routes: &Routes, batch: &EventBatch) {
        self.metrics.events_received.add(batch.events.len() as u64);
        let mut pending: Option<(&Resource, Vec<Change>)> = None;
        for event in &batch.events {
            let Some((resource, key)) = str::from_utf8(&event.kv.key)
                .ok()
                .and_then(|key| route(routes, key))
            else {
                continue;
            };
            let change = change(resource, key, event);
            match &mut pending {
                Some((current, changes)) if current.prefix == resource.prefix => changes.push(change),
                _ => {
                    if let Some((current, changes)) = pending.replace((resource, vec![change])) {
                        current.feed(changes, &self.metrics);
                    }
                }
            }
        }
        if let Some((current, changes)) = pending {
            current.feed(changes, &self.metrics);
        }
        self.applied.send_replace(batch.revision);
    }
}

/// What changed in a resource in `after..=until`, from the store's history.
pub(crate) async fn history(
    store: &dyn Store,
    info: &ResourceInfo,
    after: u64,
    until: u64,
) -> corten_store::Result<Vec<(u64, Option<Object>, Option<Object>)>> {
    let request = WatchRequest {
        range: Range::prefix(&info.prefix),
        start_revision: after + 1,
        prev: true,
    };
    let mut stream = store.watch(request).await?;
    let mut found = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        for event in batch.events.iter().filter(|event| event.kv.mod_revision <= until) {
            let object = if event.kind == EventKind::Put {
                object_of(info, event)
            } else {
                None
            };
            let previous = event.prev.as_ref().and_then(|prev| decode(info, prev));
            found.push((event.kv.mod_revision, object, previous));
        }
        if batch.revision >= until {
            break;
        }
    }
    Ok(found)
}

/// The store did not say in time what it was asked.
pub(crate) fn unavailable() -> Status {
    Status::service_unavailable("the watch cache has lost the store")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cache::Cache;
    use crate::strategy::Generic;

    #[test]
    fn keys_find_their_resource() {
        let mut routes = Routes::new();
        for info in ResourceInfo::builtin() {
            let strategy: Arc<dyn crate::strategy::Strategy> = Arc::new(Generic);
            let cache = Cache::new(&strategy, Snapshot::default(), 0);
            assert!(
                routes
                    .insert(info.prefix.clone(), Resource::new(info, cache))
                    .is_none()
            );
        }
        let plural =
            |key: &str| route(&routes, key).map(|(resource, rest)| format!("{} {rest}", resource.plural));
        assert_eq!(plural("/registry/pods/default/a").unwrap(), "pods default/a");
        assert_eq!(
            plural("/registry/services/specs/default/a").unwrap(),
            "services default/a"
        );
        assert_eq!(
            plural("/registry/services/endpoints/default/a").unwrap(),
            "endpoints default/a"
        );
        assert_eq!(plural("/registry/minions/n").unwrap(), "nodes n");
        assert_eq!(plural("/registry/podsx/default/a"), None);
        assert_eq!(plural("/other"), None);
    }
}
