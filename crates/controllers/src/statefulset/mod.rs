//! The StatefulSet controller: wiring.

mod identity;
mod plan;
mod retention;
mod status;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use corten_client::Pod;
use corten_client::cache::by_controller;
use corten_client::driver::Next;
use corten_client::object::MetaExt;
use corten_client::selector::Selector;
use corten_client::{Error, Event, Informer, Key, Queue};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use parking_lot::Mutex;

pub use plan::{View, plan};

use crate::core::claim::{orphans, take};
use crate::core::context::{queue_controller, queue_self};
use crate::core::history::{History, collides, history};
use crate::core::{Action, Context, Executor, Expectations, LAGGING, Reconcile, Shown, Write, drive, pod};

const WORKERS: usize = 5;
/// A pod that is created is bound, starts and gets ready within this time more often than not: one status tells it all.
const FLURRY: Duration = Duration::from_millis(50);
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

struct Controller {
    context: Context,
    executor: Executor,
    sets: Informer<StatefulSet>,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    revisions: Informer<ControllerRevision>,
    expectations: Expectations,
    /// When pods were last created or deleted, of sets whose status does not say so yet.
    acted: Mutex<HashMap<Key, Timestamp>>,
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
    queue_for_claims(&sets, &claims, &queue);
    sets.synced().await;
    pods.synced().await;
    claims.synced().await;
    revisions.synced().await;
    let executor = context.executor("statefulset-controller");
    let stop = context.stop.clone();
    let expectations = Expectations::default();
    let controller = Controller {
        context,
        executor,
        sets,
        pods,
        claims,
        revisions,
        expectations,
        acted: Mutex::default(),
    };
    drive("statefulset", queue, WORKERS, stop, controller).await;
}

/// A pod may wait for the claims of the one before it to go.
fn queue_for_claims(
    sets: &Informer<StatefulSet>,
    claims: &Informer<PersistentVolumeClaim>,
    queue: &Queue<Key>,
) {
    let (sets, queue) = (sets.clone(), queue.clone());
    claims.on_event(move |event| {
        if let Event::Deleted(claim) = event {
            let all = sets.in_namespace(claim.metadata.ns());
            let waiting = all.iter().filter(|s| retention::Policy::of(s).with_pod);
            waiting.for_each(|set| queue.add(Key::of(&**set)));
        }
    });
}

impl Reconcile for Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let caches: [&dyn Shown; 3] = [&self.sets, &self.pods, &self.revisions];
        let shown = self
            .expectations
            .shown(&self.executor.caller, key, &caches)
            .await?;
        let Some(set) = self.sets.get_key(key) else {
            self.expectations.forget(key);
            self.acted.lock().remove(key);
            return Ok(Next::Done);
        };
        let own = self.pods.indexed("controller", set.metadata.uid());
        if !shown || !self.expectations.gone(key, &own) {
            return Ok(Next::After(LAGGING));
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
                return self.collided(&set, &update, error).await;
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
        let (actions, status) = plan(&view, now);
        let acted = actions
            .iter()
            .any(|a| matches!(a, Action::Write(w) if w.plural == "pods"));
        let done = self
            .executor
            .apply(actions, Some((&self.expectations, key)))
            .await;
        if acted {
            self.acted.lock().insert(key.clone(), now);
        }
        if let Some(status) = status {
            if let Some(wait) = self.still_moving(key, now).filter(|_| done.is_ok()) {
                return Ok(Next::After(wait));
            }
            self.executor
                .apply(vec![status], Some((&self.expectations, key)))
                .await?;
            self.acted.lock().remove(key);
        }
        done?;
        let min_ready = spec.min_ready_seconds.unwrap_or(0);
        let wait =
            pod::next_available(view.pods.iter().map(|p| &**p), min_ready, now).filter(|_| min_ready > 0);
        Ok(wait.map_or(Next::Done, |d| Next::After(d + Duration::from_millis(10))))
    }
}

impl Controller {
    /// How long what follows from the last deed is waited for before it is described.
    fn still_moving(&self, key: &Key, now: Timestamp) -> Option<Duration> {
        let acted = *self.acted.lock().get(key)?;
        let left = FLURRY.saturating_sub(now.duration_since(acted).unsigned_abs());
        Some(left).filter(|left| !left.is_zero())
    }

    /// The name of the new revision is taken by another one: the next name is tried.
    async fn collided(
        &self,
        set: &StatefulSet,
        update: &ControllerRevision,
        error: Error,
    ) -> Result<Next, Error> {
        if collides(&self.executor.caller, update, &error).await? {
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
        let (executor, expectations) = (&self.executor, Some(&self.expectations));
        take(executor, expectations, set, &selector, candidates, member, None).await
    }
}
