//! From a controller to running workers: the end of every `run`.

use std::sync::Arc;

use corten_client::driver::{self, Next};
use corten_client::{CancellationToken, Error, Key, Queue};

/// A controller as the driver sees it.
pub trait Reconcile: Send + Sync + 'static {
    /// Brings what `key` names closer to what it should be.
    fn sync(&self, key: &Key) -> impl Future<Output = Result<Next, Error>> + Send;
}

/// Works on `queue` with `workers` tasks until `stop`.
pub async fn drive(
    name: &'static str,
    queue: Queue<Key>,
    workers: usize,
    stop: CancellationToken,
    controller: impl Reconcile,
) {
    let controller = Arc::new(controller);
    driver::run(name, queue, workers, stop, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.sync(&key).await }
    })
    .await;
}
