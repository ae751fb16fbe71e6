//! The ReplicaSet controller: wiring.

mod plan;
mod rank;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use corten_client::cache::by_controller;
use corten_client::driver::{self, Next};
use corten_client::object::{MetaExt, controller_ref};
use corten_client::selector::Selector;
use corten_client::{Error, Informer, Key, Queue};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;

pub use plan::{View, manage, status, wanted};
pub use rank::by_deletion_order;

use crate::core::claim::{claim, orphans};
use crate::core::context::{queue_controller, queue_self};
use crate::core::{Action, Context, Executor, Expectations, Write, pod};

const WORKERS: usize = 8;

struct Controller {
    context: Context,
    executor: Executor,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    expectations: Expectations,
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
    let this = Arc::new(Controller {
        context,
        executor,
        sets,
        pods,
        expectations: Expectations::default(),
    });
    driver::run("replicaset", queue, WORKERS, stop, move |key| {
        let this = Arc::clone(&this);
        async move { this.sync(&key).await }
    })
    .await;
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
            if selector.is_some_and(|s| s.matches(meta.labels.as_ref())) {
                queue.add(Key::of(&*set));
            }
        }
    });
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let Some(set) = self.sets.get_key(key) else {
            self.expectations.forget(key);
            return Ok(Next::Done);
        };
        let now = self.context.now();
        let own = self.pods.indexed("controller", set.metadata.uid());
        let settled = self
            .expectations
            .satisfied(key, "pods", self.pods.revision(), |uid| {
                own.iter()
                    .any(|p| p.metadata.uid() == uid && !p.metadata.terminating())
            });
        let terminating = own.iter().filter(|p| pod::is_terminating(p)).count();
        let active = self.claim_pods(&set, own).await?;
        let view = View {
            set: &set,
            active,
            terminating,
            crowd: self.crowd(&set),
        };
        let mut error = None;
        if settled && !set.metadata.terminating() {
            let actions = manage(&view, now);
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
        match error {
            Some(error) => Err(error),
            None => Ok(self.next(&view)),
        }
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

    /// The active pods that belong to the set, after adopting and releasing.
    async fn claim_pods(&self, set: &ReplicaSet, own: Vec<Arc<Pod>>) -> Result<Vec<Arc<Pod>>, Error> {
        let selector = set.spec.as_ref().map(|s| &s.selector);
        let selector = Selector::new(selector).map_err(Error::Other)?;
        let candidates = own
            .into_iter()
            .chain(self.pods.indexed("orphans", set.metadata.ns()));
        let candidates = candidates.filter(|p| pod::is_active(p));
        let mut claimed = claim(
            &controller_ref(set),
            set.metadata.terminating(),
            &selector,
            candidates,
            |_| true,
        );
        if !claimed.adopt.is_empty() {
            // The cache may not know yet that this set is gone and another has taken its name.
            let fresh: ReplicaSet = self
                .executor
                .caller
                .get(set.metadata.ns(), set.metadata.name())
                .await?;
            if fresh.metadata.uid() != set.metadata.uid() || fresh.metadata.terminating() {
                claimed.adopt.clear();
                claimed
                    .owned
                    .retain(|p| p.metadata.controlled_by(set.metadata.uid()));
            }
        }
        let mut writes = claimed.adopt;
        writes.extend(claimed.release);
        if !writes.is_empty() {
            self.executor.apply(vec![Action::Together(writes)], None).await?;
        }
        Ok(claimed.owned)
    }

    fn crowd(&self, set: &ReplicaSet) -> HashMap<String, usize> {
        let mut crowd = HashMap::new();
        let uids: Vec<String> = match set.metadata.controller() {
            Some(owner) => {
                let sets = self.sets.indexed("controller", &owner.uid);
                sets.iter().map(|s| s.metadata.uid().to_owned()).collect()
            }
            None => vec![set.metadata.uid().to_owned()],
        };
        if self.pods.indexed("controller", set.metadata.uid()).len()
            <= usize::try_from(wanted(set)).unwrap_or(0)
        {
            // Nothing will be deleted: no need to know.
            return crowd;
        }
        for pod in uids.iter().flat_map(|uid| self.pods.indexed("controller", uid)) {
            if pod::is_active(&pod) {
                *crowd.entry(pod::node(&pod).to_owned()).or_default() += 1;
            }
        }
        crowd
    }
}
