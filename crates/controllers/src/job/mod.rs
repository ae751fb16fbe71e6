//! The Job controller: wiring.

mod count;
mod indexes;
mod manage;
mod plan;
mod policy;

use std::sync::Arc;

use corten_client::Pod;
use corten_client::cache::by_controller;
use corten_client::driver::{self, Next};
use corten_client::object::MetaExt;
use corten_client::request::STRATEGIC_PATCH;
use corten_client::selector::Selector;
use corten_client::{Error, Event, Informer, Key, Queue};
use k8s_openapi::api::batch::v1::Job;

use serde_json::json;

pub use count::ended_at;
pub use indexes::Indexes;
pub use plan::{Draft, View};

use crate::core::claim::{orphans, take};
use crate::core::context::{queue_controller, queue_self};
use crate::core::{Context, Executor, Expectations, LAGGING, Shown, Write};

const WORKERS: usize = 8;
/// Keeps a finished pod until it has been counted.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";

struct Controller {
    context: Context,
    executor: Executor,
    jobs: Informer<Job>,
    pods: Informer<Pod>,
    expectations: Expectations,
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let jobs = context.factory.informer::<Job>();
    let pods = context.factory.informer::<Pod>();
    pods.add_index("controller", by_controller);
    pods.add_index("orphans", orphans);
    let queue: Queue<Key> = Queue::new("job");
    let loose: Queue<Key> = Queue::new("job_orphan");
    queue_self(&jobs, &queue);
    queue_controller(&pods, "Job", &queue);
    queue_loose(&jobs, &pods, &loose);
    jobs.synced().await;
    pods.synced().await;
    let executor = context.executor("job-controller");
    let stop = context.stop.clone();
    let this = Arc::new(Controller {
        context,
        executor,
        jobs,
        pods,
        expectations: Expectations::default(),
    });
    let releasing = Arc::clone(&this);
    let release = driver::run("job_orphan", loose, 2, stop.clone(), move |key| {
        let this = Arc::clone(&releasing);
        async move { this.release(&key).await }
    });
    let sync = driver::run("job", queue, WORKERS, stop, move |key| {
        let this = Arc::clone(&this);
        async move { this.sync(&key).await }
    });
    tokio::join!(release, sync);
}

/// Pods whose Job is gone or finished must not wait to be counted.
fn queue_loose(jobs: &Informer<Job>, pods: &Informer<Pod>, loose: &Queue<Key>) {
    let (all, adding) = (jobs.clone(), loose.clone());
    pods.on_event(move |event| {
        let pod = event.object();
        let gone = |uid: &str, name: &str| {
            all.has_synced()
                && all
                    .get(pod.metadata.ns(), name)
                    .is_none_or(|j| j.metadata.uid() != uid || plan::is_finished(&j))
        };
        let owner = pod.metadata.controller().filter(|o| o.kind == "Job");
        let loose = owner.map_or(pod.metadata.terminating(), |o| gone(&o.uid, &o.name));
        if count::is_tracked(pod) && loose && !matches!(event, Event::Deleted(_)) {
            adding.add(Key::of(&**pod));
        }
    });
    let (all, adding) = (pods.clone(), loose.clone());
    jobs.on_event(move |event| {
        let job = event.object();
        if !matches!(event, Event::Deleted(_)) && !plan::is_finished(job) {
            return;
        }
        for pod in all.indexed("controller", job.metadata.uid()) {
            if count::is_tracked(&pod) {
                adding.add(Key::of(&*pod));
            }
        }
    });
}

/// The write that lets a counted pod go.
#[must_use]
pub fn untrack(pod: &Pod) -> Write {
    let patch = json!({"metadata": {"uid": pod.metadata.uid(),
        "$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
    Write::patch_sub(pod, STRATEGIC_PATCH, "", patch)
}

impl Controller {
    async fn release(&self, key: &Key) -> Result<Next, Error> {
        let Some(pod) = self.pods.get_key(key).filter(|p| count::is_tracked(p)) else {
            return Ok(Next::Done);
        };
        if let Some(owner) = pod.metadata.controller().filter(|o| o.kind == "Job") {
            match self.executor.caller.get::<Job>(key.ns(), &owner.name).await {
                Ok(job) if job.metadata.uid() == owner.uid && !plan::is_finished(&job) => {
                    return Ok(Next::Done);
                }
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        match self.executor.apply(vec![untrack(&pod).into()], None).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Next::Done),
        }
    }

    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let caches: [&dyn Shown; 2] = [&self.jobs, &self.pods];
        let shown = self
            .expectations
            .shown(&self.executor.caller, key, &caches)
            .await?;
        let Some(job) = self.jobs.get_key(key) else {
            self.expectations.forget(key);
            return Ok(Next::Done);
        };
        let managed = job.spec.as_ref().and_then(|s| s.managed_by.as_deref());
        if managed.is_some_and(|m| m != "kubernetes.io/job-controller") || plan::is_finished(&job) {
            return Ok(Next::Done);
        }
        if job.spec.as_ref().is_none_or(|s| s.selector.is_none()) {
            // The server gives every Job a selector; without one its pods would be let go as soon as they are made.
            return Ok(Next::Done);
        }
        let own = self.pods.indexed("controller", job.metadata.uid());
        // Counting from a state that lags behind would count twice; what brings it up to date wakes the key.
        if !shown || !self.expectations.gone(key, &own) {
            return Ok(Next::After(LAGGING));
        }
        let pods = self.claim_pods(&job, own).await?;
        let view = View { job: &job, pods };
        let mut draft = Draft::new(&view, self.context.now());
        let managed = self
            .executor
            .apply(draft.manage(), Some((&self.expectations, key)))
            .await;
        if managed.is_err() {
            draft.managing_failed();
        }
        let requeue = draft.requeue;
        self.executor
            .apply(draft.track(), Some((&self.expectations, key)))
            .await?;
        managed?;
        Ok(requeue.map_or(Next::Done, Next::After))
    }

    async fn claim_pods(&self, job: &Job, own: Vec<Arc<Pod>>) -> Result<Vec<Arc<Pod>>, Error> {
        let selector = job.spec.as_ref().and_then(|s| s.selector.as_ref());
        let selector = Selector::new(selector).map_err(Error::Other)?;
        let candidates = own
            .into_iter()
            .chain(self.pods.indexed("orphans", job.metadata.ns()));
        let (executor, expectations) = (&self.executor, Some(&self.expectations));
        // An adopted pod is tracked from now on.
        let tracked = Some(FINALIZER);
        take(
            executor,
            expectations,
            job,
            &selector,
            candidates,
            |_| true,
            tracked,
        )
        .await
    }
}
