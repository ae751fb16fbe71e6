//! Shared informers: one watch and one typed cache per kind per process, and the handlers that hear of changes.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch as signal;
use tokio_util::sync::CancellationToken;

use crate::cache::{Cache, IndexFn, Key};
use crate::object::{MetaExt, Object};
use crate::watch::{self, Delta, Source};

/// What happened to an object, as handlers hear it.
pub enum Event<'a, K> {
    Added(&'a Arc<K>),
    Updated {
        old: &'a Arc<K>,
        new: &'a Arc<K>,
    },
    /// The last state seen, which is the final one unless a watch had to start over.
    Deleted(&'a Arc<K>),
}

impl<K> Event<'_, K> {
    /// The newest state of the object.
    #[must_use]
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added(object) | Self::Deleted(object) => object,
            Self::Updated { new, .. } => new,
        }
    }
}

type Handler<K> = Box<dyn Fn(Event<'_, K>) + Send + Sync>;

struct Inner<K> {
    cache: RwLock<Cache<K>>,
    /// Held while an event is handed out, so that a handler added meanwhile neither misses nor repeats one.
    handlers: Mutex<Vec<Handler<K>>>,
    synced: signal::Sender<bool>,
    revision: AtomicU64,
}

/// The cache of one kind and its subscribers. Cheap to clone; all clones are the same informer.
pub struct Informer<K>(Arc<Inner<K>>);

/// Read access to an informer's cache.
pub type Lister<K> = Informer<K>;

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Object> Informer<K> {
    /// Starts watching `source`. Prefer [`Factory::informer`], which shares one per kind.
    #[must_use]
    pub fn start(client: kube::Client, source: Source, stop: CancellationToken) -> Self {
        let inner = Inner {
            cache: RwLock::default(),
            handlers: Mutex::default(),
            synced: signal::Sender::new(false),
            revision: AtomicU64::new(0),
        };
        let informer = Self(Arc::new(inner));
        let mut sink = Sink {
            informer: informer.clone(),
            listing: None,
        };
        tokio::spawn(async move { watch::run(client, source, stop, |delta| sink.take(delta)).await });
        informer
    }

    /// Calls `handler` for every object there is (as added) and for every change from now on, in order, on the
    /// informer's task: it should do no more than queue.
    pub fn on_event(&self, handler: impl Fn(Event<'_, K>) + Send + Sync + 'static) {
        let mut handlers = self.0.handlers.lock();
        let existing: Vec<_> = self
            .0
            .cache
            .read()
            .iter()
            .map(|(_, object)| Arc::clone(object))
            .collect();
        for object in &existing {
            handler(Event::Added(object));
        }
        handlers.push(Box::new(handler));
    }

    /// Adds an index over the cache; a second one of the same name is ignored.
    pub fn add_index(&self, name: &'static str, values: IndexFn<K>) {
        self.0.cache.write().add_index(name, values);
    }

    /// Resolves once everything that existed when the watch began is in the cache.
    pub async fn synced(&self) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.0.synced.subscribe().wait_for(|s| *s).await;
    }

    #[must_use]
    pub fn has_synced(&self) -> bool {
        *self.0.synced.borrow()
    }

    /// The cache holds every change up to this revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.0.revision.load(Ordering::Acquire)
    }

    #[must_use]
    pub fn get(&self, ns: &str, name: &str) -> Option<Arc<K>> {
        self.0.cache.read().get(ns, name)
    }

    #[must_use]
    pub fn get_key(&self, key: &Key) -> Option<Arc<K>> {
        self.get(key.ns(), key.name())
    }

    #[must_use]
    pub fn list(&self) -> Vec<Arc<K>> {
        self.0
            .cache
            .read()
            .iter()
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    #[must_use]
    pub fn in_namespace(&self, ns: &str) -> Vec<Arc<K>> {
        self.0.cache.read().in_namespace(ns).cloned().collect()
    }

    /// The objects under `value` in the index `name`.
    #[must_use]
    pub fn indexed(&self, name: &str, value: &str) -> Vec<Arc<K>> {
        self.0.cache.read().indexed(name, value).cloned().collect()
    }

    /// How many objects are under `value` in the index `name`.
    #[must_use]
    pub fn indexed_len(&self, name: &str, value: &str) -> usize {
        self.0.cache.read().indexed_len(name, value)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.cache.read().len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.cache.read().is_empty()
    }

    fn emit(&self, handlers: &[Handler<K>], old: Option<&Arc<K>>, new: Option<&Arc<K>>) {
        for handler in handlers {
            match (old, new) {
                (None, Some(new)) => handler(Event::Added(new)),
                (Some(old), Some(new)) => handler(Event::Updated { old, new }),
                (Some(old), None) => handler(Event::Deleted(old)),
                (None, None) => {}
            }
        }
    }

    fn advance(&self, revision: u64) {
        self.0.revision.fetch_max(revision, Ordering::AcqRel);
    }
}

/// Turns deltas of the watch into changes of the cache and calls of the handlers.
struct Sink<K> {
    informer: Informer<K>,
    /// While a list is coming in.
    listing: Option<Listing>,
}

#[derive(Default)]
struct Listing {
    /// What it has named so far.
    seen: HashSet<Key>,
    /// Of a list that is not the first: what it has changed so far.
    changed: Vec<Key>,
}

impl<K: Object> Sink<K> {
    fn take(&mut self, delta: Delta<K>) {
        match delta {
            Delta::Restart => {
                self.listing = Some(Listing {
                    seen: HashSet::new(),
                    // Of a list that broke off: its changes were told with the old revision too.
                    changed: self.listing.take().unwrap_or_default().changed,
                })
            }
            Delta::Apply(object) => self.apply(object),
            Delta::Delete(object) => self.delete(&object),
            Delta::Progress(revision) => self.informer.advance(revision),
            Delta::Synced(revision) => {
                let listing = self.listing.take();
                // Handlers hear of what is gone when the revision says so too.
                self.informer.advance(revision);
                if let Some(listing) = listing {
                    self.sweep(&listing.seen);
                    self.repeat(&listing.changed);
                }
                self.informer.0.synced.send_replace(true);
            }
        }
    }

    fn apply(&mut self, object: K) {
        let (key, revision, object) = (Key::of(&object), object.meta().revision(), Arc::new(object));
        let inner = &self.informer.0;
        let handlers = inner.handlers.lock();
        let old = inner.cache.write().insert(&key, Arc::clone(&object));
        let same = old
            .as_ref()
            .is_some_and(|old| old.meta().rv() == object.meta().rv());
        if let Some(listing) = &mut self.listing {
            if !same && *inner.synced.borrow() {
                listing.changed.push(key.clone());
            }
            listing.seen.insert(key);
        } else {
            self.informer.advance(revision);
        }
        match &old {
            Some(old) if old.meta().uid() != object.meta().uid() => {
                self.informer.emit(&handlers, Some(old), None);
                self.informer.emit(&handlers, None, Some(&object));
            }
            Some(old) if old.meta().rv() == object.meta().rv() => {}
            old => self.informer.emit(&handlers, old.as_ref(), Some(&object)),
        }
    }

    fn delete(&mut self, object: &K) {
        let (key, revision) = (Key::of(object), object.meta().revision());
        let inner = &self.informer.0;
        let handlers = inner.handlers.lock();
        let old = inner.cache.write().remove(&key);
        if self.listing.is_none() {
            self.informer.advance(revision);
        }
        self.informer.emit(&handlers, old.as_ref(), None);
    }

    /// Who waits for a revision looks when it hears of an object; while a list comes in, its revision is not reached.
    fn repeat(&self, changed: &[Key]) {
        let inner = &self.informer.0;
        let handlers = inner.handlers.lock();
        for key in changed {
            let found = inner.cache.read().get(key.ns(), key.name());
            self.informer.emit(&handlers, found.as_ref(), found.as_ref());
        }
    }

    fn sweep(&mut self, seen: &HashSet<Key>) {
        let inner = &self.informer.0;
        let handlers = inner.handlers.lock();
        let gone: Vec<Key> = inner
            .cache
            .read()
            .iter()
            .map(|(key, _)| key.clone())
            .filter(|key| !seen.contains(key))
            .collect();
        for key in gone {
            let old = inner.cache.write().remove(&key);
            self.informer.emit(&handlers, old.as_ref(), None);
        }
    }
}

type Waiter = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

struct Shared {
    client: kube::Client,
    stop: CancellationToken,
    informers: Mutex<HashMap<(TypeId, String), Box<dyn Any + Send + Sync>>>,
    waiters: Mutex<Vec<Waiter>>,
}

/// Hands out the informers of a process. Bounded by the kinds that are compiled in.
#[derive(Clone)]
pub struct Factory(Arc<Shared>, Option<kube::Client>);

impl Factory {
    #[must_use]
    pub fn new(client: kube::Client, stop: CancellationToken) -> Self {
        Self(
            Arc::new(Shared {
                client,
                stop,
                informers: Mutex::default(),
                waiters: Mutex::default(),
            }),
            None,
        )
    }

    /// The same informers, for a component that writes under another identity.
    #[must_use]
    pub fn acting_as(&self, client: kube::Client) -> Self {
        Self(Arc::clone(&self.0), Some(client))
    }

    #[must_use]
    pub fn client(&self) -> &kube::Client {
        self.1.as_ref().unwrap_or(&self.0.client)
    }

    /// The informer for all objects of a kind; started on first use.
    #[must_use]
    pub fn informer<K>(&self) -> Informer<K>
    where
        K: Object + k8s_openapi::Resource,
    {
        self.filtered::<K>("")
    }

    /// The informer for the objects a query selects, such as `fieldSelector=spec.nodeName%3Dn1`.
    #[must_use]
    pub fn filtered<K>(&self, query: &str) -> Informer<K>
    where
        K: Object + k8s_openapi::Resource,
    {
        let mut informers = self.0.informers.lock();
        let slot = (TypeId::of::<K>(), query.to_owned());
        if let Some(found) = informers.get(&slot).and_then(|i| i.downcast_ref::<Informer<K>>()) {
            return found.clone();
        }
        let source = Source {
            query: query.to_owned(),
            ..Source::all::<K>()
        };
        let informer = Informer::<K>::start(self.0.client.clone(), source, self.0.stop.child_token());
        informers.insert(slot, Box::new(informer.clone()));
        let waiting = informer.clone();
        self.0.waiters.lock().push(Box::new(move || {
            let informer = waiting.clone();
            Box::pin(async move { informer.synced().await })
        }));
        informer
    }

    /// Resolves once every informer handed out so far has synced.
    pub async fn synced(&self) {
        let waiting: Vec<_> = self.0.waiters.lock().iter().map(|w| w()).collect();
        futures::future::join_all(waiting).await;
    }
}
