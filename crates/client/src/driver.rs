//! The one driver of every reconciler: workers over a queue, back-off on errors, stop at a signal.

use std::fmt::Display;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::request::Error;
use crate::workqueue::Queue;

/// What a reconciler wants next for the key it has just worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Next {
    /// Nothing until something changes.
    #[default]
    Done,
    /// To be called again after this long, even if nothing changes.
    After(Duration),
}

/// Works on `queue` with `workers` tasks until `stop`; returns once the calls in progress have ended.
///
/// An error or a panic of `reconcile` puts the key back with back-off. A conflict or an object that is gone is expected
/// and logged at debug level only.
pub async fn run<T, F, Fut>(
    name: &'static str,
    queue: Queue<T>,
    workers: usize,
    stop: CancellationToken,
    reconcile: F,
) where
    T: Eq + Hash + Clone + Display + Send + Sync + 'static,
    F: Fn(T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Next, Error>> + Send,
{
    let reconcile = Arc::new(reconcile);
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let (queue, reconcile) = (queue.clone(), Arc::clone(&reconcile));
        tasks.spawn(async move {
            while let Some(key) = queue.next().await {
                // The future is made inside the guard, so that a panic while making it counts too.
                let work = AssertUnwindSafe(async { reconcile(key.clone()).await });
                settle(name, &queue, &key, work.catch_unwind().await);
                queue.done(&key);
            }
        });
    }
    stop.cancelled().await;
    queue.stop();
    while tasks.join_next().await.is_some() {
        queue.stop();
    }
}

fn settle<T>(name: &str, queue: &Queue<T>, key: &T, result: std::thread::Result<Result<Next, Error>>)
where
    T: Eq + Hash + Clone + Display + Send + Sync + 'static,
{
    match result {
        Ok(Ok(next)) => {
            queue.forget(key);
            if let Next::After(delay) = next {
                queue.add_after(key.clone(), delay);
            }
        }
        Ok(Err(error)) => {
            if error.is_conflict() || error.is_not_found() || error.is_already_exists() {
                tracing::debug!(controller = name, %key, %error, "will try again");
            } else {
                tracing::warn!(controller = name, %key, %error, "reconcile failed; will try again");
            }
            queue.add_rate_limited(key.clone());
        }
        Err(_) => {
            tracing::error!(controller = name, %key, "reconcile panicked; will try again");
            queue.add_rate_limited(key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn errors_and_panics_are_retried() {
        let (queue, stop) = (Queue::new("test"), CancellationToken::new());
        let calls = Arc::new(AtomicU32::new(0));
        queue.add("k");
        let (seen, done) = (Arc::clone(&calls), stop.clone());
        run("test", queue, 2, stop, move |_| {
            let (n, done) = (seen.fetch_add(1, Ordering::SeqCst), done.clone());
            async move {
                match n {
                    0 => Err(Error::Other("no".into())),
                    1 => panic!("bug"),
                    _ => {
                        done.cancel();
                        Ok(Next::Done)
                    }
                }
            }
        })
        .await;
        assert_eq!(calls.load(Ordering::SeqCst), 3);
    }
}
