//! The CronJob controller: wiring.

mod plan;
mod schedule;

use corten_client::cache::by_controller;
use corten_client::driver::Next;
use corten_client::object::MetaExt;
use corten_client::{Error, Informer, Key, Queue};
use k8s_openapi::api::batch::v1::{CronJob, Job};

pub use plan::{Plan, View, plan};
pub use schedule::Schedule;

use crate::core::context::{queue_controller, queue_self};
use crate::core::{Context, Executor, Expectations, LAGGING, Reconcile, Shown, drive};

const WORKERS: usize = 4;

struct Controller {
    context: Context,
    executor: Executor,
    cron_jobs: Informer<CronJob>,
    jobs: Informer<Job>,
    expectations: Expectations,
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let cron_jobs = context.factory.informer::<CronJob>();
    let jobs = context.factory.informer::<Job>();
    jobs.add_index("controller", by_controller);
    let queue: Queue<Key> = Queue::new("cronjob");
    queue_self(&cron_jobs, &queue);
    queue_controller(&jobs, "CronJob", &queue);
    cron_jobs.synced().await;
    jobs.synced().await;
    let executor = context.executor("cronjob-controller");
    let stop = context.stop.clone();
    let controller = Controller {
        context,
        executor,
        cron_jobs,
        jobs,
        expectations: Expectations::default(),
    };
    drive("cronjob", queue, WORKERS, stop, controller).await;
}

impl Reconcile for Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let caches: [&dyn Shown; 2] = [&self.cron_jobs, &self.jobs];
        let shown = self
            .expectations
            .shown(&self.executor.caller, key, &caches)
            .await?;
        let Some(cron_job) = self.cron_jobs.get_key(key).filter(|c| !c.metadata.terminating()) else {
            self.expectations.forget(key);
            return Ok(Next::Done);
        };
        let jobs = self.jobs.indexed("controller", cron_job.metadata.uid());
        if !shown || !self.expectations.gone(key, &jobs) {
            return Ok(Next::After(LAGGING));
        }
        let view = View {
            cron_job: &cron_job,
            jobs,
        };
        let Plan {
            actions,
            created,
            requeue,
        } = plan(&view, self.context.now());
        match self
            .executor
            .apply(actions, Some((&self.expectations, key)))
            .await
        {
            // Made by an earlier try whose answer or status was lost.
            Err(error) if error.is_already_exists() => {}
            other => other?,
        }
        let Some(name) = created else {
            return Ok(requeue.map_or(Next::Done, Next::After));
        };
        // The reference needs the uid the server gave.
        let job: Job = self.executor.caller.get(key.ns(), &name).await?;
        let status = plan::started(&cron_job, &view.jobs, &job);
        self.executor
            .apply(vec![status], Some((&self.expectations, key)))
            .await?;
        Ok(requeue.map_or(Next::Done, Next::After))
    }
}
