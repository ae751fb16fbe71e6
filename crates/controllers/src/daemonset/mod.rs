//! The DaemonSet controller: wiring.

mod place;
mod plan;
mod status;

use std::sync::Arc;
use std::time::Duration;

use corten_client::Pod;
use corten_client::cache::by_controller;
use corten_client::driver::Next;
use corten_client::object::MetaExt;
use corten_client::selector::Selector;
use corten_client::{Error, Event, Informer, Key, Queue};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::Node;

pub use plan::{Plan, View, plan};

use crate::core::claim::{orphans, take};
use crate::core::context::{queue_controller, queue_self};
use crate::core::history::{History, collides, history};
use crate::core::{Context, Executor, Expectations, LAGGING, Reconcile, Shown, Write, drive};

const WORKERS: usize = 4;
pub(crate) const HASH_LABEL: &str = "controller-revision-hash";
pub(crate) const GENERATION: &str = "deprecated.daemonset.template.generation";

struct Controller {
    context: Context,
    executor: Executor,
    sets: Informer<DaemonSet>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    revisions: Informer<ControllerRevision>,
    expectations: Expectations,
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let factory = context.factory.clone();
    let (sets, pods) = (factory.informer::<DaemonSet>(), factory.informer::<Pod>());
    let (nodes, revisions) = (
        factory.informer::<Node>(),
        factory.informer::<ControllerRevision>(),
    );
    pods.add_index("controller", by_controller);
    pods.add_index("orphans", orphans);
    revisions.add_index("controller", by_controller);
    let queue: Queue<Key> = Queue::new("daemonset");
    queue_self(&sets, &queue);
    queue_controller(&pods, "DaemonSet", &queue);
    queue_controller(&revisions, "DaemonSet", &queue);
    queue_for_nodes(&sets, &nodes, &queue);
    sets.synced().await;
    pods.synced().await;
    nodes.synced().await;
    revisions.synced().await;
    let executor = context.executor("daemonset-controller");
    let stop = context.stop.clone();
    let expectations = Expectations::default();
    let controller = Controller {
        context,
        executor,
        sets,
        pods,
        nodes,
        revisions,
        expectations,
    };
    drive("daemonset", queue, WORKERS, stop, controller).await;
}

/// Heartbeats change nothing; labels, taints and the node itself do.
fn queue_for_nodes(sets: &Informer<DaemonSet>, nodes: &Informer<Node>, queue: &Queue<Key>) {
    let (sets, queue) = (sets.clone(), queue.clone());
    nodes.on_event(move |event| {
        if let Event::Updated { old, new } = &event {
            let spec = |n: &Node| n.spec.as_ref().map(|s| (s.taints.clone(), s.unschedulable));
            if old.metadata.labels == new.metadata.labels && spec(old) == spec(new) {
                return;
            }
        }
        sets.list().iter().for_each(|set| queue.add(Key::of(&**set)));
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
            return Ok(Next::Done);
        };
        let own = self.pods.indexed("controller", set.metadata.uid());
        if set.metadata.terminating() {
            return Ok(Next::Done);
        }
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
        let view = View {
            set: &set,
            pods,
            nodes: self.nodes.list(),
            revisions: all,
            update,
        };
        let plan = plan(&view, self.context.now());
        let done = self
            .executor
            .apply(plan.actions, Some((&self.expectations, key)))
            .await;
        self.executor
            .apply(plan.status.into_iter().collect(), Some((&self.expectations, key)))
            .await?;
        done?;
        Ok(plan
            .requeue
            .map_or(Next::Done, |d| Next::After(d + Duration::from_millis(10))))
    }
}

impl Controller {
    /// The name of the new revision is taken by another one: the next name is tried.
    async fn collided(
        &self,
        set: &DaemonSet,
        update: &ControllerRevision,
        error: Error,
    ) -> Result<Next, Error> {
        if collides(&self.executor.caller, update, &error).await? {
            let mut updated = set.clone();
            let status = updated.status.get_or_insert_default();
            *status.collision_count.get_or_insert(0) += 1;
            self.executor
                .apply(vec![Write::status(&updated).into()], None)
                .await?;
        }
        Err(error)
    }

    async fn claim_pods(&self, set: &DaemonSet, own: Vec<Arc<Pod>>) -> Result<Vec<Arc<Pod>>, Error> {
        let selector = Selector::new(set.spec.as_ref().map(|s| &s.selector)).map_err(Error::Other)?;
        let candidates = own
            .into_iter()
            .chain(self.pods.indexed("orphans", set.metadata.ns()));
        let (executor, expectations) = (&self.executor, Some(&self.expectations));
        take(executor, expectations, set, &selector, candidates, |_| true, None).await
    }
}
