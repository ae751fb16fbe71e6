//! API priority and fairness: which requests are served at once, which wait and which are turned away.
//! Rules: upstream's apiserver/pkg/util/flowcontrol (KEP-1040).
//!
//! `config.rs` reads FlowSchemas and PriorityLevelConfigurations, `level.rs` holds a level's seats. A request that finds room
//! pays for matching and one atomic exchange; only those that do not take the lock of their level's queues (`queues.rs`).
//! Seats are lent between levels (`borrowing.rs`) while some level lacks them. `debug.rs` shows who has them.

mod borrowing;
mod config;
mod debug;
mod dump;
mod estimate;
mod executing;
mod feed;
mod level;
mod matching;
mod page;
mod queues;
mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use http::header::HeaderValue;
use prometheus_client::metrics::gauge::Gauge;

use crate::call::Call;
use crate::metrics::{KindLabel, Metrics};

use config::Config;
pub use config::FlowSchema;
pub use debug::answer as debug_page;
use executing::Asked;
pub use feed::start;
use level::Seats;
pub use level::Why;
use tally::Counts;

/// A request waits for a quarter of its time, and never longer than this.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// See the module.
pub struct FlowControl {
    /// None before [`start`]: everything is served.
    config: ArcSwapOption<Config>,
    /// A request has not found room since this was last cleared.
    pressed: AtomicBool,
    /// The task that lends seats runs.
    lending: AtomicBool,
    /// Until how long after `since` requests that find room are listed; 0 before any debug page was read.
    listed_until_ms: AtomicU64,
    since: Instant,
    metrics: Arc<Metrics>,
    reads: Gauge,
    writes: Gauge,
}

/// A request that is being served; its seats are given back when this is dropped.
pub struct Turn {
    schema: Option<Arc<FlowSchema>>,
    seats: Option<Seats>,
    gauge: Gauge,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.gauge.dec();
        if let Some(schema) = &self.schema {
            schema.counts.executing.fetch_sub(1, Ordering::Relaxed);
        }
        self.seats.take();
    }
}

/// What a request was taken for: the UIDs that go with the answer.
#[derive(Clone)]
pub struct Classified {
    /// Of the FlowSchema.
    pub schema: HeaderValue,
    /// Of the PriorityLevelConfiguration.
    pub level: HeaderValue,
}

impl FlowControl {
    /// Serves everything until [`start`].
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let gauge = |request_kind| metrics.in_flight.get_or_create_owned(&KindLabel { request_kind });
        Self {
            config: ArcSwapOption::empty(),
            pressed: AtomicBool::new(false),
            lending: AtomicBool::new(false),
            listed_until_ms: AtomicU64::new(0),
            since: Instant::now(),
            reads: gauge("readOnly"),
            writes: gauge("mutating"),
            metrics,
        }
    }

    /// Finds the request's flow and waits for seats. `limit` is the time the request has for everything.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn turn(&self, call: &Call, limit: Duration) -> (Option<Classified>, Result<Turn, Why>) {
        let gauge = if call.info.read_only() {
            &self.reads
        } else {
            &self.writes
        };
        let Some(schema) = self.classify(call) else {
            gauge.inc();
            let turn = Turn {
                schema: None,
                seats: None,
                gauge: gauge.clone(),
            };
            return (None, Ok(turn));
        };
        let classified = Classified {
            schema: schema.uid.clone(),
            level: schema.level.uid.clone(),
        };
        let taken = self.take(call, &schema, limit).await;
        let counts = &schema.counts;
        let turn = match taken {
            Ok(seats) => {
                counts.dispatched.fetch_add(1, Ordering::Relaxed);
                counts.executing.fetch_add(1, Ordering::Relaxed);
                gauge.inc();
                Ok(Turn {
                    schema: Some(schema),
                    seats,
                    gauge: gauge.clone(),
                })
            }
            Err(why) => {
                counts.rejected[why as usize].fetch_add(1, Ordering::Relaxed);
                let request_kind = if call.info.read_only() {
                    "readOnly"
                } else {
                    "mutating"
                };
                self.metrics
                    .rejected
                    .get_or_create(&KindLabel { request_kind })
                    .inc();
                Err(why)
            }
        };
        (Some(classified), turn)
    }

    fn classify(&self, call: &Call) -> Option<Arc<FlowSchema>> {
        self.config.load().as_ref()?.classify(&call.user, &call.info)
    }

    async fn take(
        &self,
        call: &Call,
        schema: &Arc<FlowSchema>,
        limit: Duration,
    ) -> Result<Option<Seats>, Why> {
        let level = &schema.level;
        let (wanted, found) = if level.exempt() {
            (1, Some(level.take_exempt()))
        } else {
            let wanted = estimate::seats(call, level.max_seats());
            (wanted, level.try_take(wanted))
        };
        let mut taken = match found {
            Some(taken) => taken,
            None => Box::pin(self.wait(call, schema, wanted, limit)).await?,
        };
        if self.lists(call) {
            taken.list(|| Asked::new(call, schema, wanted));
        }
        Ok(Some(taken))
    }

    async fn wait(
        &self,
        call: &Call,
        schema: &Arc<FlowSchema>,
        seats: u32,
        limit: Duration,
    ) -> Result<Seats, Why> {
        self.pressed.store(true, Ordering::Relaxed);
        if !self.lending.swap(true, Ordering::SeqCst) {
            borrowing::start(&call.server);
        }
        let flow = schema.flow(call);
        let asked = || Asked::new(call, schema, seats);
        let wait = (limit / 4).min(MAX_WAIT);
        let clock = call.server.registry.clock();
        schema.counts.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&schema.counts.waiting);
        schema.level.wait(seats, flow, asked, wait, clock).await
    }
}

/// Counted until dropped, also when the client goes away meanwhile.
struct Waiting<'a>(&'a AtomicI64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
