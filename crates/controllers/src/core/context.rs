//! What wiring needs of the process around it.

use std::sync::Arc;

use corten_client::events::{Recorder, timestamp};
use corten_client::object::MetaExt;
use corten_client::{Caller, CancellationToken, Event, Factory, Informer, Key, Object, Queue};
use corten_stdx::SharedClock;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference, Time};

use super::execute::Executor;

/// Clients by the name of a service account in `kube-system`.
pub type Identities = Arc<dyn Fn(&str) -> kube::Client + Send + Sync>;

/// Handed to every controller. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub factory: Factory,
    pub clock: SharedClock,
    pub stop: CancellationToken,
    /// None: every controller acts as the factory does.
    pub identities: Option<Identities>,
}

impl Context {
    /// The same, for a controller that acts as a service account of its own; its informers stay the shared ones.
    #[must_use]
    pub fn acting_as(&self, account: &str) -> Self {
        let mut context = self.clone();
        if let Some(identities) = &self.identities {
            context.factory = self.factory.acting_as(identities(account));
        }
        context
    }

    #[must_use]
    pub fn caller(&self) -> Caller {
        self.factory.client().clone().into()
    }

    /// An executor whose events come from `component`.
    #[must_use]
    pub fn executor(&self, component: &'static str) -> Executor {
        let client = self.factory.client().clone();
        let recorder = Recorder::new(client, component, "", self.clock.clone(), self.stop.clone());
        Executor {
            caller: self.caller(),
            recorder,
        }
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        timestamp(&self.clock)
    }
}

/// The time as `metav1.Time` carries it: whole seconds.
#[must_use]
pub fn time(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// The time as `metav1.MicroTime` carries it.
#[must_use]
pub fn micro_time(at: Timestamp) -> MicroTime {
    MicroTime(Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at))
}

/// Queues the key of every object that changes.
pub fn queue_self<K: Object>(informer: &Informer<K>, queue: &Queue<Key>) {
    let queue = queue.clone();
    informer.on_event(move |event| queue.add(Key::of(&**event.object())));
}

/// Queues the controllers of `kind` of every object that changes; when the controller changes, both.
pub fn queue_controller<K: Object>(informer: &Informer<K>, kind: &'static str, queue: &Queue<Key>) {
    let queue = queue.clone();
    informer.on_event(move |event| {
        let owner = |object: &Arc<K>| owner_key(object.meta(), kind);
        if let Event::Updated { old, new } = &event
            && let Some(key) = owner(old).filter(|key| owner(new).as_ref() != Some(key))
        {
            queue.add(key);
        }
        if let Some(key) = owner(event.object()) {
            queue.add(key);
        }
    });
}

/// The key of the controller, if it is of `kind`.
#[must_use]
pub fn owner_key(meta: &impl MetaExt, kind: &str) -> Option<Key> {
    let owner: &OwnerReference = meta.controller().filter(|o| o.kind == kind)?;
    Some(Key::new(meta.ns(), &owner.name))
}
