//! Whether the store works, as far as its last write showed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::api::{Error, Result};

/// A commit that takes longer is stuck. Upstream's timeout of the `etcd` health check.
const STUCK: Duration = Duration::from_secs(2);
/// No commit is under way.
const IDLE: u64 = u64::MAX;

/// See the module. Times are a monotonic clock's.
pub(super) struct Condition {
    failed: Mutex<Option<Error>>,
    /// Begin of the commit under way, nanoseconds.
    since: AtomicU64,
}

impl Default for Condition {
    fn default() -> Self {
        Self {
            failed: Mutex::new(None),
            since: AtomicU64::new(IDLE),
        }
    }
}

impl Condition {
    pub fn begun(&self, now: Duration) {
        let now = u64::try_from(now.as_nanos()).unwrap_or(IDLE - 1);
        self.since.store(now, Ordering::Relaxed);
    }

    pub fn ended(&self, outcome: Result<()>) {
        self.since.store(IDLE, Ordering::Relaxed);
        *self.failed.lock() = outcome.err();
    }

    /// How the last write ended, or that the one under way does not.
    pub fn check(&self, now: Duration) -> Result<()> {
        let since = self.since.load(Ordering::Relaxed);
        if since != IDLE && now.saturating_sub(Duration::from_nanos(since)) > STUCK {
            return Err(Error::from(std::io::Error::other("a write does not end")));
        }
        match &*self.failed.lock() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_and_a_stuck_one_show() {
        let (condition, s) = (Condition::default(), Duration::from_secs);
        assert!(condition.check(s(1)).is_ok());
        condition.begun(s(10));
        assert!(condition.check(s(12)).is_ok());
        assert!(condition.check(s(13)).is_err());
        condition.ended(Err(Error::Closed));
        assert!(matches!(condition.check(s(13)), Err(Error::Closed)));
        condition.ended(Ok(()));
        assert!(condition.check(s(13)).is_ok());
    }
}
