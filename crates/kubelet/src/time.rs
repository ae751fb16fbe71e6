//! The clock's time as the API writes it.

use corten_stdx::SharedClock;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

pub fn now(clock: &SharedClock) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(clock.unix_nanos())).unwrap_or_default()
}

/// How long until `at`; zero if it has passed.
pub fn until(at: Timestamp, now: Timestamp) -> Duration {
    let left: SignedDuration = at.duration_since(now);
    left.try_into().unwrap_or(Duration::ZERO)
}
