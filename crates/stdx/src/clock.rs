//! Time as an argument, so that tests decide what time it is.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::watch;

/// A future that ends when a clock has reached a moment.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The clock handed to everything that reads time or waits.
pub type SharedClock = Arc<dyn Clock>;

/// Wall time for what users see, monotonic time for durations.
pub trait Clock: Debug + Send + Sync {
    /// Wall time.
    fn now(&self) -> SystemTime;

    /// Time since an arbitrary fixed start; never goes back.
    fn monotonic(&self) -> Duration;

    /// Ends when [`Clock::monotonic`] has advanced by `duration`.
    fn sleep(&self, duration: Duration) -> Sleep;

    /// Ends when [`Clock::monotonic`] has reached `deadline`.
    fn sleep_until(&self, deadline: Duration) -> Sleep {
        self.sleep(deadline.saturating_sub(self.monotonic()))
    }

    /// Wall time as nanoseconds since 1970 (0 for earlier moments).
    fn unix_nanos(&self) -> u64 {
        let since = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The machine's clock. Sleeping needs a tokio runtime.
#[derive(Debug)]
pub struct RealClock {
    start: Instant,
}

impl RealClock {
    pub fn shared() -> SharedClock {
        Arc::new(Self {
            start: Instant::now(),
        })
    }
}

impl Clock for RealClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that stands still until a test advances it.
#[derive(Debug)]
pub struct ManualClock {
    start: SystemTime,
    elapsed: Mutex<Duration>,
    moved: watch::Sender<Duration>,
}

impl ManualClock {
    /// Starts at `start`; wrap it in an `Arc` and keep a copy to advance it.
    pub fn at(start: SystemTime) -> Arc<Self> {
        Arc::new(Self {
            start,
            elapsed: Mutex::new(Duration::ZERO),
            moved: watch::Sender::new(Duration::ZERO),
        })
    }

    /// Moves time on and wakes the sleepers whose moment has come.
    pub fn advance(&self, by: Duration) {
        let mut elapsed = self.elapsed.lock();
        *elapsed += by;
        self.moved.send_replace(*elapsed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        self.start + *self.elapsed.lock()
    }

    fn monotonic(&self) -> Duration {
        *self.elapsed.lock()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.monotonic() + duration)
    }

    fn sleep_until(&self, deadline: Duration) -> Sleep {
        let mut moved = self.moved.subscribe();
        Box::pin(async move {
            if moved.wait_for(|now| *now >= deadline).await.is_err() {
                // The clock is gone: this moment never comes.
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn manual_clock_wakes_sleepers_at_their_moment() {
        let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(10));
        let sleep = clock.sleep(Duration::from_secs(5));
        tokio::pin!(sleep);
        clock.advance(Duration::from_secs(4));
        assert!(futures_poll_once(sleep.as_mut()).await.is_none());
        clock.advance(Duration::from_secs(1));
        sleep.await;
        assert_eq!(clock.now(), UNIX_EPOCH + Duration::from_secs(15));
        assert_eq!(clock.unix_nanos(), 15_000_000_000);
    }

    async fn futures_poll_once(sleep: Pin<&mut Sleep>) -> Option<()> {
        tokio::select! { biased; () = sleep => Some(()), () = std::future::ready(()) => None }
    }
}
