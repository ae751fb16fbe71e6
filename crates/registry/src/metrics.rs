//! Counters the API server exposes.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows (or, for gauges, is set).
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub fn sub(&self, by: u64) {
        self.0.fetch_sub(by, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Totals since the registry was opened.
#[derive(Debug, Default)]
pub struct Metrics {
    pub creates: Counter,
    pub updates: Counter,
    /// Updates that changed nothing and were not written.
    pub updates_unchanged: Counter,
    pub deletes: Counter,
    pub gets: Counter,
    pub lists: Counter,
    /// Writes tried again because another one came between.
    pub conflicts_retried: Counter,
    /// Events taken from the store into the watch cache.
    pub events_received: Counter,
    /// Events handed to watchers.
    pub events_delivered: Counter,
    pub watches_started: Counter,
    /// Watches open now.
    pub watches_open: Counter,
    /// Watchers ended because their buffer was full.
    pub watches_ended_slow: Counter,
    /// Watches refused with 410.
    pub watches_too_old: Counter,
    /// Lists refused with 410.
    pub lists_expired: Counter,
}
