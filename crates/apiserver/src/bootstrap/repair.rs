//! What a crash left behind of Services: claims on addresses and node ports, put right while the server runs.

use std::sync::Arc;
use std::time::Duration;

use corten_registry::Registry;
use corten_registry::strategy::service;
use tokio_util::sync::CancellationToken;

/// Upstream's `--repair-interval`.
const INTERVAL: Duration = Duration::from_secs(180);

/// Runs at once and then every few minutes, until stopped.
pub fn start(registry: &Arc<Registry>, stop: &CancellationToken) {
    let (registry, stop) = (registry.clone(), stop.clone());
    tokio::spawn(async move {
        let clock = registry.clock().clone();
        loop {
            if let Err(error) = service::repair(&registry, clock.now()).await {
                tracing::warn!(%error, "claims of services are not repaired");
            }
            tokio::select! {
                () = clock.sleep(INTERVAL) => {}
                () = stop.cancelled() => return,
            }
        }
    });
}
