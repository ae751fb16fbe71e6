//! Small pieces without domain knowledge: time, back-off, bounded queues, ids.
//!
//! Owns: [`Clock`] (time as an argument), [`cron`], [`Backoff`], [`queue`] (channels that carry their name and
//! bound), [`batch`] (one for many items at once), [`ids`]. Must never know: Kubernetes, storage, HTTP. Read first: `clock.rs`, `backoff.rs`.

pub mod backoff;
pub mod batch;
pub mod clock;
pub mod cron;
pub mod ids;
pub mod queue;

pub use backoff::Backoff;
pub use clock::{Clock, ManualClock, RealClock, SharedClock};
