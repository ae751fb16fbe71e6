//! Configuration objects as the registry's cache has them, compiled once per change.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use corten_registry::{Object, Registry, Resource};
use parking_lot::Mutex;
use serde_json::Value;

/// By key: the revision, and what was made of it.
type Known<T> = HashMap<Box<str>, (u64, Arc<T>)>;

/// What was made of every object of one resource, in the order of their names.
pub(crate) struct Configured<T> {
    resource: Resource,
    built: ArcSwap<Built<T>>,
    known: Mutex<Known<T>>,
    compile: Box<dyn Fn(&Value) -> T + Send + Sync>,
}

/// The outcome at one revision.
pub(crate) struct Built<T> {
    revision: u64,
    pub items: Vec<Arc<T>>,
}

impl<T: Send + Sync> Configured<T> {
    /// None where the resource is not served.
    pub fn new(
        registry: &Registry,
        plural: &str,
        compile: impl Fn(&Value) -> T + Send + Sync + 'static,
    ) -> Option<Self> {
        Some(Self {
            resource: registry.resource("admissionregistration.k8s.io", plural)?,
            built: ArcSwap::from_pointee(Built {
                revision: 0,
                items: Vec::new(),
            }),
            known: Mutex::default(),
            compile: Box::new(compile),
        })
    }

    /// What there is now. One load where nothing changed since the last call.
    pub fn load(&self, registry: &Registry) -> Arc<Built<T>> {
        let changed = registry.changed(&self.resource);
        let built = self.built.load();
        if built.revision == changed {
            return Arc::clone(&built);
        }
        self.rebuild(registry)
    }

    /// Compiles what is new or has changed. The first request after a change does it, others wait for it.
    fn rebuild(&self, registry: &Registry) -> Arc<Built<T>> {
        let mut known = self.known.lock();
        let changed = registry.changed(&self.resource);
        let built = self.built.load_full();
        if built.revision == changed {
            return built;
        }
        let objects = registry.cached(&self.resource);
        let mut next = HashMap::with_capacity(objects.len());
        let mut items = Vec::with_capacity(objects.len());
        for object in objects {
            let Some(compiled) = self.compiled(&known, &object) else {
                continue;
            };
            next.insert(
                Box::from(object.key()),
                (object.revision(), Arc::clone(&compiled)),
            );
            items.push(compiled);
        }
        *known = next;
        let built = Arc::new(Built {
            revision: changed,
            items,
        });
        self.built.store(Arc::clone(&built));
        built
    }

    fn compiled(&self, known: &Known<T>, object: &Object) -> Option<Arc<T>> {
        if let Some((revision, compiled)) = known.get(object.key())
            && *revision == object.revision()
        {
            return Some(Arc::clone(compiled));
        }
        match object.value() {
            Ok(value) => Some(Arc::new((self.compile)(&value))),
            Err(error) => {
                tracing::error!(%error, key = %object.key(), "admission configuration cannot be read");
                None
            }
        }
    }
}
