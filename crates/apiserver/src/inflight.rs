//! Bounds on requests served at once. Over a bound a request waits its turn for a moment, then gets 429.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corten_meta::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;
use crate::metrics::{KindLabel, Metrics};

/// How long a request waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests waiting at once, per kind.
const MAX_WAITING: usize = 2_000;

/// The two bounds: reads and writes.
pub struct InFlight {
    reads: Bound,
    writes: Bound,
    metrics: Arc<Metrics>,
}

struct Bound {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    label: KindLabel,
}

/// A request's place; given back when dropped.
pub struct Turn {
    _permit: OwnedSemaphorePermit,
    gauge: prometheus_client::metrics::gauge::Gauge,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

impl Bound {
    fn new(size: usize, request_kind: &'static str) -> Self {
        let slots = Arc::new(Semaphore::new(size));
        Self {
            slots,
            waiting: AtomicUsize::new(0),
            label: KindLabel { request_kind },
        }
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(p) = self.slots.clone().try_acquire_owned() {
            return Some(p);
        }
        let _place = Waiting::enter(&self.waiting)?;
        tokio::time::timeout(TURN_TIMEOUT, self.slots.clone().acquire_owned())
            .await
            .ok()?
            .ok()
    }
}

/// A place in the queue, counted until dropped (also when the client goes away meanwhile).
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Option<Self> {
        let place = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl InFlight {
    /// Bounds from [`limits`].
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            reads: Bound::new(limits::MAX_READS_IN_FLIGHT, "readOnly"),
            writes: Bound::new(limits::MAX_WRITES_IN_FLIGHT, "mutating"),
            metrics,
        }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// 429 with Retry-After where none comes free.
    pub async fn turn(&self, read_only: bool) -> Result<Turn, Status> {
        let bound = if read_only { &self.reads } else { &self.writes };
        let Some(permit) = bound.permit().await else {
            self.metrics.rejected.get_or_create(&bound.label).inc();
            let text = "Too many requests, please try again later.";
            return Err(Status::too_many_requests(text, limits::RETRY_AFTER_SECONDS));
        };
        let gauge = self.metrics.in_flight.get_or_create_owned(&bound.label);
        gauge.inc();
        Ok(Turn {
            _permit: permit,
            gauge,
        })
    }
}
