//! A clock that follows tokio's time, which tests pause and jump.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use corten_stdx::clock::Sleep;
use corten_stdx::{Clock, SharedClock};
use tokio::time::Instant;

/// When every [`TokioClock`] starts.
pub(super) const START: &str = "2026-01-01T12:00:00Z";

/// See the module.
#[derive(Debug)]
pub struct TokioClock {
    start: Instant,
    epoch: SystemTime,
}

impl TokioClock {
    /// A clock that starts at noon of 2026-01-01.
    #[must_use]
    pub fn shared() -> SharedClock {
        Arc::new(Self {
            start: Instant::now(),
            epoch: UNIX_EPOCH + Duration::from_secs(1_767_268_800),
        })
    }
}

impl Clock for TokioClock {
    fn now(&self) -> SystemTime {
        self.epoch + self.start.elapsed()
    }
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}
