//! The TTL-after-finished controller: Jobs go some time after they have ended.

use std::sync::Arc;
use std::time::Duration;

use corten_client::driver::{self, Next};
use corten_client::object::MetaExt;
use corten_client::{Error, Key, Queue};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;

use crate::core::context::queue_self;
use crate::core::{Context, Write};

const WORKERS: usize = 2;

/// How long a Job has left; none if it stays, or has not ended.
#[must_use]
pub fn left(job: &Job, now: Timestamp) -> Option<Duration> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let over = conditions
        .iter()
        .find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")?;
    let end = over.last_transition_time.as_ref()?.0 + Duration::from_secs(ttl.max(0).unsigned_abs().into());
    let left = end.duration_since(now);
    Some(if left.is_positive() {
        left.unsigned_abs()
    } else {
        Duration::ZERO
    })
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let jobs = context.factory.informer::<Job>();
    let queue: Queue<Key> = Queue::new("ttl_jobs_to_delete");
    queue_self(&jobs, &queue);
    jobs.synced().await;
    let executor = Arc::new(context.executor("ttl-after-finished-controller"));
    let stop = context.stop.clone();
    driver::run("ttl_jobs_to_delete", queue, WORKERS, stop, move |key| {
        let (executor, now) = (Arc::clone(&executor), context.now());
        let found = jobs.get_key(&key).filter(|j| !j.metadata.terminating());
        async move {
            match found.as_deref().and_then(|j| left(j, now)) {
                None => Ok(Next::Done),
                Some(left) if !left.is_zero() => Ok(Next::After(left)),
                Some(_) => {
                    // The time to live may have been prolonged since.
                    let fresh: Job = match executor.caller.get(key.ns(), key.name()).await {
                        Ok(fresh) => fresh,
                        Err(error) if error.is_not_found() => return Ok(Next::Done),
                        Err(error) => return Err::<Next, Error>(error),
                    };
                    match left(&fresh, now) {
                        Some(Duration::ZERO) => {
                            let gone = Write::delete(&fresh).option("propagationPolicy", "Foreground");
                            executor.apply(vec![gone.into()], None).await.map(|()| Next::Done)
                        }
                        Some(left) => Ok(Next::After(left)),
                        None => Ok(Next::Done),
                    }
                }
            }
        }
    })
    .await;
}
