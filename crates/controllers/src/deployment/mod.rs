//! The Deployment controller: wiring.

mod conditions;
mod plan;
mod revision;
mod rollout;
mod sets;
mod status;

use std::sync::Arc;

use corten_client::Pod;
use corten_client::cache::by_controller;
use corten_client::driver::Next;
use corten_client::object::MetaExt;
use corten_client::selector::Selector;
use corten_client::{Error, Event, Informer, Key, Queue};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

pub use plan::{Plan, View, plan, scaled};

use crate::core::claim::{orphans, take};
use crate::core::context::{owner_key, queue_controller, queue_self};
use crate::core::{
    Action, Context, Executor, Expectations, LAGGING, Note, Reconcile, Shown, Verb, Write, drive, pod,
};

const WORKERS: usize = 8;

struct Controller {
    context: Context,
    executor: Executor,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    expectations: Expectations,
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let deployments = context.factory.informer::<Deployment>();
    let sets = context.factory.informer::<ReplicaSet>();
    let pods = context.factory.informer::<Pod>();
    sets.add_index("controller", by_controller);
    sets.add_index("orphans", orphans);
    pods.add_index("controller", by_controller);
    let queue = Queue::new("deployment");
    queue_self(&deployments, &queue);
    queue_controller(&sets, "Deployment", &queue);
    queue_for_orphans(&deployments, &sets, &queue);
    queue_for_last_pods(&deployments, &sets, &pods, &queue);
    deployments.synced().await;
    sets.synced().await;
    pods.synced().await;
    let executor = context.executor("deployment-controller");
    let stop = context.stop.clone();
    let expectations = Expectations::default();
    let controller = Controller {
        context,
        executor,
        deployments,
        sets,
        pods,
        expectations,
    };
    drive("deployment", queue, WORKERS, stop, controller).await;
}

fn queue_for_orphans(deployments: &Informer<Deployment>, sets: &Informer<ReplicaSet>, queue: &Queue<Key>) {
    let (deployments, queue) = (deployments.clone(), queue.clone());
    sets.on_event(move |event| {
        let meta = &event.object().metadata;
        if meta.controller().is_some() || meta.labels.is_none() {
            return;
        }
        for deployment in deployments.in_namespace(meta.ns()) {
            let selector = deployment
                .spec
                .as_ref()
                .and_then(|s| Selector::new(Some(&s.selector)).ok());
            if selector.is_some_and(|s| s.matches(meta.labels.as_ref())) {
                queue.add(Key::of(&*deployment));
            }
        }
    });
}

/// With strategy Recreate the new pods wait until the last old one is gone.
fn queue_for_last_pods(
    deployments: &Informer<Deployment>,
    sets: &Informer<ReplicaSet>,
    pods: &Informer<Pod>,
    queue: &Queue<Key>,
) {
    let (deployments, sets, queue) = (deployments.clone(), sets.clone(), queue.clone());
    pods.on_event(move |event| {
        let gone = matches!(&event, Event::Deleted(_)) || pod::is_finished(event.object());
        let Some(set) = owner_key(&event.object().metadata, "ReplicaSet").filter(|_| gone) else {
            return;
        };
        let Some(key) = sets
            .get_key(&set)
            .and_then(|s| owner_key(&s.metadata, "Deployment"))
        else {
            return;
        };
        if deployments.get_key(&key).is_some_and(|d| plan::is_recreate(&d)) {
            queue.add(key);
        }
    });
}

impl Reconcile for Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let caches: [&dyn Shown; 2] = [&self.deployments, &self.sets];
        let shown = self
            .expectations
            .shown(&self.executor.caller, key, &caches)
            .await?;
        let Some(deployment) = self.deployments.get_key(key) else {
            self.expectations.forget(key);
            return Ok(Next::Done);
        };
        let own = self.sets.indexed("controller", deployment.metadata.uid());
        // The event that brings the cache up to our last write queues the key again.
        if !shown || !self.expectations.gone(key, &own) {
            return Ok(Next::After(LAGGING));
        }
        if let Some(actions) = plan::selects_all(&deployment) {
            return self.executor.apply(actions, None).await.map(|()| Next::Done);
        }
        let sets = self.claim_sets(&deployment, own).await?;
        let view = View {
            deployment: &deployment,
            old_pods_running: self.has_running(&sets),
            sets,
        };
        let plan = plan(&view, self.context.now());
        self.take(key, &deployment, plan).await
    }
}

impl Controller {
    async fn take(&self, key: &Key, deployment: &Deployment, plan: Plan) -> Result<Next, Error> {
        let creates = plan.actions.iter().find_map(|a| match a {
            Action::Write(w) if w.verb == Verb::Create => Some(w.name.clone()),
            _ => None,
        });
        match self
            .executor
            .apply(plan.actions, Some((&self.expectations, key)))
            .await
        {
            Ok(()) => Ok(plan.requeue.map_or(Next::Done, Next::After)),
            Err(error) => {
                if let Some(name) = creates {
                    self.create_failed(deployment, &name, &error).await?;
                }
                Err(error)
            }
        }
    }

    /// Says in the status why the new set could not be made; a name taken by another set is avoided next time.
    async fn create_failed(&self, deployment: &Deployment, name: &str, error: &Error) -> Result<(), Error> {
        let actions = if error.is_already_exists() {
            let taken = self.sets.get(deployment.metadata.ns(), name);
            taken
                .and_then(|set| plan::collide(deployment, &set))
                .into_iter()
                .collect()
        } else if error.is_conflict() || error.is_namespace_terminating() || error.code() == 0 {
            Vec::new()
        } else {
            let message = format!("Failed to create new replica set \"{name}\": {error}");
            let note = Note::warning(deployment, "ReplicaSetCreateError", message.clone());
            let failed = conditions::create_failed(deployment, &message, self.context.now());
            failed
                .into_iter()
                .map(|d| Write::status(&d).into())
                .chain([note.into()])
                .collect()
        };
        self.executor.apply(actions, None).await
    }

    async fn claim_sets(
        &self,
        d: &Deployment,
        own: Vec<Arc<ReplicaSet>>,
    ) -> Result<Vec<Arc<ReplicaSet>>, Error> {
        let selector = d.spec.as_ref().map(|s| &s.selector);
        let selector = Selector::new(selector).map_err(Error::Other)?;
        let candidates = own
            .into_iter()
            .chain(self.sets.indexed("orphans", d.metadata.ns()));
        let (executor, expectations) = (&self.executor, Some(&self.expectations));
        take(executor, expectations, d, &selector, candidates, |_| true, None).await
    }

    /// The uids of sets that still have pods which are not finished, terminating ones included.
    fn has_running(&self, sets: &[Arc<ReplicaSet>]) -> Vec<String> {
        let uids = sets.iter().map(|s| s.metadata.uid());
        let running = |uid: &&str| {
            self.pods
                .indexed("controller", uid)
                .iter()
                .any(|p| !pod::is_finished(p))
        };
        uids.filter(running).map(str::to_owned).collect()
    }
}
