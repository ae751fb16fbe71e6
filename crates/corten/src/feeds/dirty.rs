//! What changed since last asked. A set, so it is bounded by the number of objects.

use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Notify;

/// Keys that changed, and a wake-up for the one who works them off.
#[derive(Clone)]
pub(crate) struct Dirty<K>(Arc<(Mutex<BTreeSet<K>>, Notify)>);

impl<K: Ord> Dirty<K> {
    pub(crate) fn new() -> Self {
        Self(Arc::new((Mutex::new(BTreeSet::new()), Notify::new())))
    }

    pub(crate) fn mark(&self, key: K) {
        self.0.0.lock().insert(key);
        self.0.1.notify_one();
    }

    /// Waits until something changed and takes it all.
    pub(crate) async fn take(&self) -> BTreeSet<K> {
        loop {
            let taken = std::mem::take(&mut *self.0.0.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.0.1.notified().await;
        }
    }
}
