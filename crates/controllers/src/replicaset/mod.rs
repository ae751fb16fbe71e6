//! The ReplicaSet controller: wiring.

mod plan;
mod rank;

use std::collections::HashMap;
use std::time::Duration;

use corten_client::Pod;
use corten_client::cache::by_controller;
use corten_client::driver::Next;
use corten_client::object::MetaExt;
use corten_client::selector::Selector;
use corten_client::{Error, Informer, Key, Queue};
use k8s_openapi::api::apps::v1::ReplicaSet;

use parking_lot::Mutex;
use tokio::time::Instant;

pub use plan::{BURST, View, manage, status, wanted};
pub use rank::by_deletion_order;

use crate::core::claim::orphans;
use crate::core::context::{queue_controller, queue_self};
use crate::core::crew::crew;
use crate::core::{Context, Executor, Expectations, LAGGING, Reconcile, Write, drive, pod};

const WORKERS: usize = 8;
/// Counting the pods of a set that has more than this is work to be rationed.
const LARGE: usize = BURST;
/// After a large set has been counted and nothing was to be done about its pods, this many times as long passes before it
/// is counted again.
const REST: u32 = 4;

struct Controller {
    context: Context,
    executor: Executor,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    expectations: Expectations,
    /// Large sets that were only counted, and until when that holds. Bounded by the large sets there are.
    counted: Mutex<HashMap<Key, Instant>>,
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let sets = context.factory.informer::<ReplicaSet>();
    let pods = context.factory.informer::<Pod>();
    pods.add_index("controller", by_controller);
    pods.add_index("orphans", orphans);
    sets.add_index("controller", by_controller);
    let queue = Queue::new("replicaset");
    queue_self(&sets, &queue);
    queue_controller(&pods, "ReplicaSet", &queue);
    queue_for_orphans(&sets, &pods, &queue);
    sets.synced().await;
    pods.synced().await;
    let executor = context.executor("replicaset-controller");
    let stop = context.stop.clone();
    let controller = Controller {
        context,
        executor,
        sets,
        pods,
        expectations: Expectations::default(),
        counted: Mutex::default(),
    };
    drive("replicaset", queue, WORKERS, stop, controller).await;
}

/// A pod without a controller concerns every set of its namespace that selects it.
fn queue_for_orphans(sets: &Informer<ReplicaSet>, pods: &Informer<Pod>, queue: &Queue<Key>) {
    let (sets, queue) = (sets.clone(), queue.clone());
    pods.on_event(move |event| {
        let meta = &event.object().metadata;
        if meta.controller().is_some() || meta.terminating() || meta.labels.is_none() {
            return;
        }
        for set in sets.in_namespace(meta.ns()) {
            let selector = set
                .spec
                .as_ref()
                .and_then(|s| Selector::new(Some(&s.selector)).ok());
            if selector.is_some_and(|s| s.matches(meta.labels())) {
                queue.add(Key::of(&*set));
            }
        }
    });
}

impl Reconcile for Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let shown = self
            .expectations
            .shown(&self.executor.caller, key, &[&self.pods])
            .await?;
        let Some(set) = self.sets.get_key(key) else {
            self.expectations.forget(key);
            self.counted.lock().remove(key);
            return Ok(Next::Done);
        };
        if !shown {
            // The pods on their way wake the key; to count the others for each of them would be quadratic.
            return Ok(Next::After(LAGGING));
        }
        let began = Instant::now();
        if let Some(wait) = self.resting(key, began) {
            return Ok(Next::After(wait));
        }
        let now = self.context.now();
        let selector = Selector::new(set.spec.as_ref().map(|s| &s.selector)).map_err(Error::Other)?;
        let crew = crew(&self.executor, &self.expectations, &self.pods, &*set, &selector).await?;
        let view = View {
            set: &set,
            active: crew.active,
            terminating: crew.terminating,
            crowd: self.crowd(&set),
        };
        let cost = began.elapsed();
        let (mut error, mut idle) = (None, true);
        if crew.settled && !set.metadata.terminating() {
            let actions = manage(&view, now);
            idle = actions.is_empty();
            error = self
                .executor
                .apply(actions, Some((&self.expectations, key)))
                .await
                .err();
        }
        let message = error.as_ref().map(ToString::to_string);
        let status = status(&view, message.as_deref(), now);
        if set.status.as_ref() != Some(&status) {
            let updated = ReplicaSet {
                status: Some(status),
                ..(*set).clone()
            };
            self.executor
                .apply(vec![Write::status(&updated).into()], None)
                .await?;
        }
        if idle && view.active.len() > LARGE {
            let until = Instant::now() + cost * REST;
            self.counted.lock().insert(key.clone(), until);
        }
        match error {
            Some(error) => Err(error),
            None if !crew.settled => Ok(Next::After(LAGGING)),
            None => Ok(self.next(&view)),
        }
    }
}

impl Controller {
    /// How long a set is left alone that has just been counted: each of its pods asks for that as it changes.
    fn resting(&self, key: &Key, now: Instant) -> Option<Duration> {
        let mut counted = self.counted.lock();
        let until = *counted.get(key)?;
        if until > now {
            return Some(until - now);
        }
        counted.remove(key);
        None
    }

    fn next(&self, view: &View<'_>) -> Next {
        let min_ready = view
            .set
            .spec
            .as_ref()
            .and_then(|s| s.min_ready_seconds)
            .unwrap_or(0);
        if min_ready == 0 {
            return Next::Done;
        }
        let wait = pod::next_available(view.active.iter().map(|p| &**p), min_ready, self.context.now());
        wait.map_or(Next::Done, |d| Next::After(d + Duration::from_millis(10)))
    }

    fn crowd(&self, set: &ReplicaSet) -> HashMap<String, usize> {
        let mut crowd = HashMap::new();
        let own = set.metadata.uid();
        let enough = usize::try_from(wanted(set)).unwrap_or(0);
        if self.pods.indexed_len("controller", own) <= enough {
            // Nothing will be deleted: no need to know.
            return crowd;
        }
        let uids: Vec<String> = match set.metadata.controller() {
            Some(owner) => {
                let sets = self.sets.indexed("controller", &owner.uid);
                sets.iter().map(|s| s.metadata.uid().to_owned()).collect()
            }
            None => vec![own.to_owned()],
        };
        for pod in uids.iter().flat_map(|uid| self.pods.indexed("controller", uid)) {
            if pod::is_active(&pod) {
                match crowd.get_mut(pod::node(&pod)) {
                    Some(count) => *count += 1,
                    None => drop(crowd.insert(pod::node(&pod).to_owned(), 1)),
                }
            }
        }
        crowd
    }
}
