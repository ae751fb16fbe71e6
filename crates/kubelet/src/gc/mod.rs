//! Housekeeping on timers: log rotation, unused images, pressure. Nothing here decides whether a pod is correct.

mod eviction;
mod images;
mod rotation;

use crate::context::Context;
use crate::pods::Pods;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often logs and pressure are looked at.
const LOOK: Duration = Duration::from_secs(10);
/// Images are looked at every so many looks: five minutes, as upstream.
const IMAGE_LOOKS: u32 = 30;

/// Runs until `stop`.
pub(crate) async fn run(cx: &Arc<Context>, pods: &Arc<Pods>, stop: &CancellationToken) {
    let mut collector = images::Collector::default();
    let mut looks = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = cx.clock.sleep(LOOK) => {}
        }
        rotation::run(cx, pods).await;
        eviction::run(cx, pods).await;
        looks += 1;
        if looks % IMAGE_LOOKS == 0 {
            collector.run(cx, pods).await;
        }
    }
}
