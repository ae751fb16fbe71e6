//! The StatefulSet controller: wiring.

mod identity;
mod plan;
mod retention;
mod status;

use std::sync::Arc;
use std::time::Duration;

use corten_client::cache::by_controller;
use corten_client::driver::{self, Next};
use corten_client::object::{MetaExt, controller_ref};
use corten_client::selector::Selector;
use corten_client::{Error, Event, Informer, Key, Queue};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

pub use plan::{View, plan};

use crate::core::claim::{claim, orphans};
use crate::core::context::{queue_controller, queue_self};
use crate::core::history::{History, history};
use crate::core::{Action, Context, Executor, Expectations, Write, pod};

const WORKERS: usize = 5;
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

struct Controller {
    context: Context,
    executor: Executor,
    sets: Informer<StatefulSet>,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    revisions: Informer<ControllerRevision>,
    expectations: Expectations,
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let factory = context.factory.clone();
    let (sets, pods) = (factory.informer::<StatefulSet>(), factory.informer::<Pod>());
    let (claims, revisions) = (
        factory.informer::<PersistentVolumeClaim>(),
        factory.informer::<ControllerRevision>(),
    );
    pods.add_index("controller", by_controller);
    pods.add_index("orphans", orphans);
    revisions.add_index("controller", by_controller);
    let queue: Queue<Key> = Queue::new("statefulset");
    queue_self(&sets, &queue);
    queue_controller(&pods, "StatefulSet", &queue);
    queue_controller(&revisions, "StatefulSet", &queue);
    queue_released(&claims, &queue);
    sets.synced().await;
    pods.synced().await;
    claims.synced().await;
    revisions.synced().await;
    let executor = context.executor("statefulset-controller");
    let stop = context.stop.clone();
    let expectations = Expectations::default();
    let this = Arc::new(Controller {
        context,
        executor,
        sets,
        pods,
        claims,
        revisions,
        expectations,
    });
    driver::run("statefulset", queue, WORKERS, stop, move |key| {
        let this = Arc::clone(&this);
        async move { this.sync(&key).await }
    })
    .await;
}

/// A claim that went with a pod lets the pod's successor come.
fn queue_released(claims: &Informer<PersistentVolumeClaim>, queue: &Queue<Key>) {
    let queue = queue.clone();
    claims.on_event(move |event| {
        let meta = &event.object().metadata;
        let owner = meta.controller().filter(|o| o.kind == "Pod");
        if let (Event::Deleted(_), Some((set, _))) = (&event, owner.and_then(|o| o.name.rsplit_once('-'))) {
            queue.add(Key::new(meta.ns(), set));
        }
    });
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let Some(set) = self.sets.get_key(key) else {
            self.expectations.forget(key);
            return Ok(Next::Done);
        };
        let own = self.pods.indexed("controller", set.metadata.uid());
        let live = |uid: &str| {
            own.iter()
                .any(|p| p.metadata.uid() == uid && !p.metadata.terminating())
        };
        let settled = self
            .expectations
            .satisfied(key, "pods", self.pods.revision(), live)
            && self
                .expectations
                .satisfied(key, "statefulsets", self.sets.revision(), |_| false)
            && self
                .expectations
                .satisfied(key, "controllerrevisions", self.revisions.revision(), |_| false);
        if !settled {
            return Ok(Next::Done);
        }
        let pods = self.claim_pods(&set, own).await?;
        let revisions = self.revisions.indexed("controller", set.metadata.uid());
        let spec = set.spec.clone().unwrap_or_default();
        let collisions = set.status.as_ref().and_then(|s| s.collision_count);
        let History { all, update, write } =
            history(&*set, &spec.template, HASH_LABEL, revisions, collisions);
        if let Some(write) = write {
            let stored = self
                .executor
                .apply(vec![write], Some((&self.expectations, key)))
                .await;
            if let Err(error) = stored {
                return self.collided(&set, error).await;
            }
        }
        let claims = self.claims.in_namespace(key.ns());
        let view = View {
            set: &set,
            pods,
            revisions: all,
            update,
            claims,
        };
        let now = self.context.now();
        let (steps, status) = plan(&view, now);
        let mut actions = if set.metadata.terminating() {
            Vec::new()
        } else {
            retention::plan(&set, &view.pods, &view.claims)
        };
        actions.extend(steps);
        let done = self
            .executor
            .apply(actions, Some((&self.expectations, key)))
            .await;
        if let Some(status) = status {
            self.executor
                .apply(vec![status], Some((&self.expectations, key)))
                .await?;
        }
        done?;
        let min_ready = spec.min_ready_seconds.unwrap_or(0);
        let wait =
            pod::next_available(view.pods.iter().map(|p| &**p), min_ready, now).filter(|_| min_ready > 0);
        Ok(wait.map_or(Next::Done, |d| Next::After(d + Duration::from_millis(10))))
    }

    /// The name of the new revision is taken by another one: the next name is tried.
    async fn collided(&self, set: &StatefulSet, error: Error) -> Result<Next, Error> {
        if error.is_already_exists() {
            let mut updated = set.clone();
            let count = updated
                .status
                .get_or_insert_default()
                .collision_count
                .get_or_insert(0);
            *count += 1;
            self.executor
                .apply(vec![Write::status(&updated).into()], None)
                .await?;
        }
        Err(error)
    }

    async fn claim_pods(&self, set: &StatefulSet, own: Vec<Arc<Pod>>) -> Result<Vec<Arc<Pod>>, Error> {
        let selector = Selector::new(set.spec.as_ref().map(|s| &s.selector)).map_err(Error::Other)?;
        let candidates = own
            .into_iter()
            .chain(self.pods.indexed("orphans", set.metadata.ns()));
        let member = |p: &Pod| identity::ordinal(p.metadata.name(), set.metadata.name()).is_some();
        let claimed = claim(
            &controller_ref(set),
            set.metadata.terminating(),
            &selector,
            candidates,
            member,
        );
        if !claimed.adopt.is_empty() {
            let fresh: StatefulSet = self
                .executor
                .caller
                .get(set.metadata.ns(), set.metadata.name())
                .await?;
            if fresh.metadata.uid() != set.metadata.uid() || fresh.metadata.terminating() {
                return Err(Error::Other("the StatefulSet is gone".into()));
            }
        }
        let writes: Vec<Write> = claimed.adopt.into_iter().chain(claimed.release).collect();
        if !writes.is_empty() {
            self.executor
                .apply(
                    vec![Action::Together(writes)],
                    Some((&self.expectations, &Key::of(set))),
                )
                .await?;
        }
        Ok(claimed.owned)
    }
}
