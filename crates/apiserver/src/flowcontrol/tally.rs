//! What has been counted of a level's requests, whatever became of its schemas and its settings meanwhile.
//!
//! A request counts for its schema alone. A level's totals are the sums over the schemas that it has or had, so that a request
//! that finds room does not count twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::level::Why;

/// What is counted per flow schema and level; outlives changes of both.
#[derive(Default)]
pub struct Counts {
    /// Ever served.
    pub dispatched: AtomicU64,
    /// Being served.
    pub executing: AtomicI64,
    /// In queues.
    pub waiting: AtomicI64,
    /// Turned away, by [`Why`].
    pub rejected: [AtomicU64; 3],
}

/// See the module.
#[derive(Default)]
pub struct Tally {
    schemas: Mutex<Vec<Arc<Counts>>>,
    /// Of schemas that are no more and have no requests left.
    gone: Counts,
    cancelled: AtomicU64,
}

/// A level's sums at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// In queues.
    pub waiting: u64,
    /// Being served.
    pub executing: u64,
    /// Ever served.
    pub dispatched: u64,
    /// Turned away, those that left their queues included.
    pub rejected: u64,
    /// Left their queues unserved: for lack of time, or because the client went away.
    pub cancelled: u64,
}

impl Totals {
    /// True where no request is left.
    pub fn idle(&self) -> bool {
        self.waiting == 0 && self.executing == 0
    }
}

impl Tally {
    /// Adds a schema's counts to the level's.
    pub fn cover(&self, counts: &Arc<Counts>) {
        let mut schemas = self.schemas.lock();
        schemas.retain(|known| {
            // Whoever is still to count something holds the counts too.
            let kept = Arc::strong_count(known) > 1;
            if !kept {
                self.gone.add(known);
            }
            kept
        });
        if !schemas.iter().any(|known| Arc::ptr_eq(known, counts)) {
            schemas.push(counts.clone());
        }
    }

    /// A request has left its queue unserved.
    pub fn cancel(&self) {
        self.cancelled.fetch_add(1, Relaxed);
    }

    /// See [`Totals`].
    pub fn totals(&self) -> Totals {
        let schemas = self.schemas.lock();
        let all = || schemas.iter().map(|counts| &**counts).chain([&self.gone]);
        let now = |of: fn(&Counts) -> &AtomicI64| {
            let sum: i64 = all().map(|counts| of(counts).load(Relaxed)).sum();
            u64::try_from(sum).unwrap_or(0)
        };
        // Whoever leaves its queue for lack of time is in `cancelled` already.
        let at_once = [Why::QueueFull, Why::ConcurrencyLimit];
        let turned_away = |counts: &Counts| at_once.map(|why| counts.rejected[why as usize].load(Relaxed));
        let cancelled = self.cancelled.load(Relaxed);
        Totals {
            waiting: now(|counts| &counts.waiting),
            executing: now(|counts| &counts.executing),
            dispatched: all().map(|counts| counts.dispatched.load(Relaxed)).sum(),
            rejected: cancelled + all().flat_map(turned_away).sum::<u64>(),
            cancelled,
        }
    }
}

impl Counts {
    fn add(&self, other: &Self) {
        let pairs = self.rejected.iter().zip(&other.rejected);
        for (to, from) in pairs.chain([(&self.dispatched, &other.dispatched)]) {
            to.fetch_add(from.load(Relaxed), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_schema_that_is_gone_has_counted_stays() {
        let (tally, first, second) = (Tally::default(), Arc::default(), Arc::default());
        tally.cover(&first);
        tally.cover(&first);
        first.dispatched.fetch_add(3, Relaxed);
        first.rejected[Why::QueueFull as usize].fetch_add(2, Relaxed);
        first.rejected[Why::TimeOut as usize].fetch_add(1, Relaxed);
        tally.cancel();
        let wanted = Totals {
            dispatched: 3,
            rejected: 3,
            cancelled: 1,
            ..Totals::default()
        };
        assert_eq!(tally.totals(), wanted);
        drop(first);
        tally.cover(&second);
        assert_eq!(tally.schemas.lock().len(), 1);
        assert_eq!(tally.totals(), wanted);
        second.waiting.fetch_add(1, Relaxed);
        assert!(wanted.idle() && !tally.totals().idle());
    }
}
