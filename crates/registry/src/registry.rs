//! The registry: what it is opened with, which resources it serves, how far it has followed the store.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use corten_meta::{Result, Status};
use corten_stdx::{RealClock, SharedClock};
use corten_store::Store;
use tokio::sync::watch;

use crate::admission::Admission;
use crate::cache::Cache;
use crate::dispatch::{self, Follower, Gate, Routes};
use crate::errors::{store_error, too_large_version};
use crate::metrics::Metrics;
use crate::object::Object;
use crate::resource::{Resource, ResourceInfo};
use crate::write::leases::LeasePool;

/// What a registry is opened with.
pub struct Options {
    pub clock: SharedClock,
    /// Runs in this order; `NamespaceLifecycle` is part of the default.
    pub admission: Vec<Arc<dyn Admission>>,
    /// Resources served from the start; more may be registered later.
    pub resources: Vec<ResourceInfo>,
}

impl Default for Options {
    /// Every built-in resource, real time, the standard admission chain.
    fn default() -> Self {
        Self {
            clock: RealClock::shared(),
            admission: crate::admission::standard(),
            resources: ResourceInfo::builtin(),
        }
    }
}

/// Result of an update.
#[derive(Debug)]
pub struct Updated {
    pub object: Object,
    /// The object did not exist and was created (201).
    pub created: bool,
}

/// Result of a delete.
#[derive(Debug)]
pub struct Deleted {
    /// The object as it was last, or as it waits for its grace period or finalizers.
    pub object: Object,
    /// It has left the store (clients get a `Status`); otherwise they get the object.
    pub gone: bool,
}

/// How long a read waits for a revision the cache has not reached (upstream's `blockTimeout`).
const REVISION_WAIT: Duration = Duration::from_secs(3);
/// How often watchers that have gone and snapshots nobody may ask for are dropped.
const TIDY_INTERVAL: Duration = Duration::from_secs(30);

type Names = HashMap<(String, String), Resource>;

/// Create, read, update, delete and watch for every resource. Methods are in `read.rs` and `write/`.
pub struct Registry {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: SharedClock,
    pub(crate) admission: Vec<Arc<dyn Admission>>,
    /// Webhooks and policies, which need more than the registry: given later.
    pub(crate) dynamic: OnceLock<Vec<Arc<dyn Admission>>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) leases: LeasePool,
    routes: Arc<ArcSwap<Routes>>,
    names: ArcSwap<Names>,
    /// Everything up to this revision is in the caches.
    pub(crate) applied: watch::Receiver<u64>,
    gate: Arc<Gate>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// See [`Registry::store_health`].
#[derive(Clone, Debug)]
pub struct Unhealthy {
    /// Why.
    pub reason: String,
    /// What is stored can still be read.
    pub readable: bool,
}

impl Registry {
    /// Loads what the store holds and starts following it.
    pub async fn open(store: Arc<dyn Store>, options: Options) -> Result<Arc<Self>> {
        let revision = store
            .current_revision()
            .await
            .map_err(|error| store_error(&error))?;
        let (mut routes, mut names) = (Routes::new(), Names::new());
        for info in options.resources {
            let resource = load(store.as_ref(), info, revision).await?;
            insert(&mut routes, &mut names, resource)?;
        }
        let routes = Arc::new(ArcSwap::from_pointee(routes));
        let metrics = Arc::new(Metrics::default());
        let (sender, applied) = watch::channel(revision);
        let gate = Arc::new(Gate::default());
        let follower = Follower {
            routes: Arc::clone(&routes),
            gate: Arc::clone(&gate),
            applied: sender,
            metrics: Arc::clone(&metrics),
        };
        let follow = follower.follow(Arc::clone(&store), revision + 1);
        let tidy = tidy(
            Arc::downgrade(&store),
            Arc::clone(&options.clock),
            Arc::clone(&routes),
        );
        Ok(Arc::new(Self {
            store,
            clock: options.clock,
            admission: options.admission,
            dynamic: OnceLock::new(),
            metrics,
            leases: LeasePool::default(),
            routes,
            names: ArcSwap::from_pointee(names),
            applied,
            gate,
            tasks: vec![tokio::spawn(follow), tokio::spawn(tidy)],
        }))
    }

    /// Serves one more resource (a CustomResourceDefinition's), loading what the store holds of it.
    pub async fn register(&self, info: ResourceInfo) -> Result<Resource> {
        if !info.prefix.starts_with(dispatch::ROOT) || !info.prefix.ends_with('/') {
            return Err(Status::internal(format!(
                "key prefix {:?} is not one",
                info.prefix
            )));
        }
        // No batch is handed out meanwhile, so that the next one is the first the new cache misses.
        let _gate = self.gate.lock().await;
        let revision = *self.applied.borrow();
        let resource = load(self.store.as_ref(), info, revision).await?;
        let (mut routes, mut names) = (
            Routes::clone(&self.routes.load()),
            Names::clone(&self.names.load()),
        );
        insert(&mut routes, &mut names, resource.clone())?;
        self.routes.store(Arc::new(routes));
        self.names.store(Arc::new(names));
        Ok(resource)
    }

    /// Serves a resource by another row (its definition has changed), read from the store anew. Watches of the old one
    /// end when the caller closes it with [`Registry::close`], after the new one has taken its place everywhere.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn replace(&self, old: &Resource, info: ResourceInfo) -> Result<Resource> {
        let _gate = self.gate.lock().await;
        let revision = *self.applied.borrow();
        let resource = load(self.store.as_ref(), info, revision).await?;
        resource.succeed(old);
        let (mut routes, mut names) = (
            Routes::clone(&self.routes.load()),
            Names::clone(&self.names.load()),
        );
        routes.remove(&old.prefix);
        names.remove(&(old.group.to_string(), old.plural.to_string()));
        insert(&mut routes, &mut names, resource.clone())?;
        self.routes.store(Arc::new(routes));
        self.names.store(Arc::new(names));
        Ok(resource)
    }

    /// Ends the watches of a resource that has been replaced.
    pub fn close(&self, replaced: &Resource) {
        replaced.cache().close();
    }

    /// Stops serving a resource: its watches end, what is stored stays.
    pub fn unregister(&self, resource: &Resource) {
        self.routes.rcu(|routes| {
            let mut routes = Routes::clone(routes);
            routes.remove(&resource.prefix);
            routes
        });
        self.names.rcu(|names| {
            let mut names = Names::clone(names);
            names.remove(&(resource.group.to_string(), resource.plural.to_string()));
            names
        });
        resource.cache().close();
    }

    /// The resource of a group by its plural name.
    pub fn resource(&self, group: &str, plural: &str) -> Option<Resource> {
        self.names
            .load()
            .get(&(group.to_owned(), plural.to_owned()))
            .cloned()
    }

    pub fn resources(&self) -> Vec<Resource> {
        self.routes.load().values().cloned().collect()
    }

    /// The revision of the last change of a resource that its cache has: one load, for what is made of its objects.
    pub fn changed(&self, resource: &Resource) -> u64 {
        resource.cache().changed()
    }

    /// Every object of a resource as the cache has it now.
    pub fn cached(&self, resource: &Resource) -> Vec<Object> {
        resource.cache().snapshot().objects.iter().cloned().collect()
    }

    /// How many objects of a resource the cache has now.
    pub fn count(&self, resource: &Resource) -> usize {
        resource.cache().snapshot().objects.len()
    }

    /// An object as the cache has it now.
    pub fn peek(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Object> {
        resource.cache().get(&resource.key(namespace, name))
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Why a write would fail now. `readable`: what is stored can still be read.
    pub fn store_health(&self) -> std::result::Result<(), Unhealthy> {
        self.store.health().map_err(|error| Unhealthy {
            readable: matches!(error, corten_store::Error::NoSpace { .. }),
            reason: error.to_string(),
        })
    }

    /// The newest revision in the watch cache: the resourceVersion of a list from it.
    pub fn revision(&self) -> u64 {
        *self.applied.borrow()
    }

    pub(crate) async fn current_revision(&self) -> Result<u64> {
        self.store
            .current_revision()
            .await
            .map_err(|error| store_error(&error))
    }

    /// Waits until everything written so far is in the caches.
    pub(crate) async fn wait_current(&self) -> Result<u64> {
        let current = self.current_revision().await?;
        self.wait_applied(current).await
    }

    /// Waits until `revision` is in the caches; returns how far they are then.
    pub(crate) async fn wait_applied(&self, revision: u64) -> Result<u64> {
        let applied = *self.applied.borrow();
        if applied >= revision {
            return Ok(applied);
        }
        let mut receiver = self.applied.clone();
        let reached = async {
            receiver
                .wait_for(|applied| *applied >= revision)
                .await
                .map(|applied| *applied)
        };
        tokio::select! {
            applied = reached => applied.map_err(|_| dispatch::unavailable()),
            () = self.clock.sleep(REVISION_WAIT) => Err(too_large_version(revision, *self.applied.borrow())),
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

async fn load(store: &dyn Store, info: ResourceInfo, revision: u64) -> Result<Resource> {
    let snapshot = dispatch::load(store, &info, revision).await?;
    let cache = Cache::new(&info.strategy, snapshot, revision);
    Ok(Resource::new(info, cache))
}

fn insert(routes: &mut Routes, names: &mut Names, resource: Resource) -> Result<()> {
    let name = (resource.group.to_string(), resource.plural.to_string());
    let prefix = resource.prefix.clone();
    if names.contains_key(&name) || routes.contains_key(&prefix) {
        return Err(Status::internal(format!(
            "resource {resource:?} is served already"
        )));
    }
    names.insert(name, resource.clone());
    routes.insert(prefix, resource);
    Ok(())
}

async fn tidy(store: std::sync::Weak<dyn Store>, clock: SharedClock, routes: Arc<ArcSwap<Routes>>) {
    loop {
        clock.sleep(TIDY_INTERVAL).await;
        let Some(store) = store.upgrade() else { return };
        let compacted = store.compacted_revision().await.unwrap_or(0);
        drop(store);
        routes
            .load()
            .values()
            .for_each(|resource| resource.cache().tidy(compacted));
    }
}
