//! One priority level: its seats, and who waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use corten_meta::object::{self, str_at};
use corten_stdx::SharedClock;
use http::header::HeaderValue;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot;

use super::dump::{LevelDump, QueueDump};
use super::executing::{Asked, Executing};
use super::queues::{QueueSet, Queuing};
use super::tally::{Tally, Totals};

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Every queue it could wait in is full.
    QueueFull = 0,
    /// The level does not queue.
    ConcurrencyLimit = 1,
    /// It has waited too long.
    TimeOut = 2,
}

impl Why {
    /// As metrics name it.
    pub const NAMES: [&'static str; 3] = ["queue-full", "concurrency-limit", "time-out"];
}

/// Seats of a level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Its share.
    pub nominal: u32,
    /// What it never lends.
    pub min: u32,
    /// The most it can have with what it borrows.
    pub max: u32,
}

impl Limits {
    /// `nominalConcurrencyShares`.
    pub fn shares(level: &Value) -> u64 {
        let default = if level["spec"]["type"] == "Exempt" { 0 } else { 30 };
        settings(level)["nominalConcurrencyShares"]
            .as_u64()
            .unwrap_or(default)
    }

    /// Of a level whose share is `nominal` of a server of `total` seats.
    pub fn new(level: &Value, nominal: u32, total: u32) -> Self {
        let percent = |key: &str| settings(level)[key].as_f64();
        let part = |percent: f64| (f64::from(nominal) * percent / 100.0).round() as u32;
        let lendable = percent("lendablePercent").map_or(0, part);
        Self {
            nominal,
            min: nominal.saturating_sub(lendable),
            max: nominal + percent("borrowingLimitPercent").map_or(total, part),
        }
    }
}

fn settings(level: &Value) -> &Value {
    let exempt = level["spec"]["type"] == "Exempt";
    &level["spec"][if exempt { "exempt" } else { "limited" }]
}

/// See the module.
pub struct Level {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: HeaderValue,
    spec: Value,
    exempt: bool,
    queuing: Option<Queuing>,
    limits: Mutex<Limits>,
    /// Seats there are now, borrowed and lent ones considered.
    current: AtomicU32,
    /// Seats taken.
    executing: AtomicU32,
    /// Most seats wanted at once since the last look.
    peak: AtomicU32,
    max_seats: AtomicU32,
    /// Requests in queues. Nobody overtakes them.
    waiting: AtomicUsize,
    queues: Mutex<QueueSet<Waiter>>,
    /// Those that execute and are listed.
    listed: Executing,
    /// What is counted of its requests.
    pub tally: Arc<Tally>,
}

struct Waiter {
    /// Is told what the request, now executing, is listed by.
    turn: oneshot::Sender<u64>,
    asked: Arc<Asked>,
}

impl Level {
    /// Reads an object; limits follow.
    pub fn new(level: &Value, tally: Arc<Tally>) -> Self {
        let response = &level["spec"]["limited"]["limitResponse"];
        let queuing = (response["type"] == "Queue").then(|| Queuing::read(&response["queuing"]));
        let uid = HeaderValue::from_str(str_at(level, &["metadata", "uid"]));
        Self {
            name: object::name(level).to_owned(),
            uid: uid.unwrap_or(HeaderValue::from_static("")),
            spec: level["spec"].clone(),
            exempt: level["spec"]["type"] == "Exempt",
            queues: Mutex::new(QueueSet::new(queuing.map_or(0, |q| q.queues))),
            queuing,
            limits: Mutex::default(),
            current: AtomicU32::new(0),
            executing: AtomicU32::new(0),
            peak: AtomicU32::new(0),
            max_seats: AtomicU32::new(1),
            waiting: AtomicUsize::new(0),
            listed: Executing::default(),
            tally,
        }
    }

    /// True where the object is the one this level was made of.
    pub fn same(&self, level: &Value) -> bool {
        self.spec == level["spec"] && self.uid == str_at(level, &["metadata", "uid"])
    }

    /// True where nothing is limited.
    pub fn exempt(&self) -> bool {
        self.exempt
    }

    /// True where flows are spread over queues.
    pub fn spreads(&self) -> bool {
        self.queuing.is_some_and(|queuing| queuing.queues > 1)
    }

    /// See [`Limits`].
    pub fn limits(&self) -> Limits {
        *self.limits.lock()
    }

    /// Sets the limits; the current one follows with [`Level::set_current`].
    pub fn set_limits(&self, limits: Limits) {
        let mut known = self.limits.lock();
        if *known == limits {
            return;
        }
        *known = limits;
        let most = match &self.queuing {
            // Upstream: 15 % of the level, and no more than leaves a seat for each card of a hand.
            Some(queuing) => (f64::from(limits.nominal) * 0.15)
                .ceil()
                .min(f64::from(limits.nominal / queuing.hand.max(1)))
                .max(1.0),
            None => 0.0,
        };
        self.max_seats.store(most as u32, Ordering::Relaxed);
        self.current.store(
            limits.nominal - (limits.nominal - limits.min) / 2,
            Ordering::SeqCst,
        );
    }

    /// Seats there are now.
    pub fn current(&self) -> u32 {
        self.current.load(Ordering::Relaxed)
    }

    /// Seats taken now.
    pub fn executing(&self) -> u32 {
        self.executing.load(Ordering::Relaxed)
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// See [`Totals`].
    pub fn totals(&self) -> Totals {
        self.tally.totals()
    }

    /// What the debug pages show.
    pub fn dump(&self, quiescing: bool) -> LevelDump {
        let waiting = self.queues.lock();
        let mut queues: Vec<QueueDump> = waiting
            .look()
            .map(|queue| QueueDump {
                next_start: queue.next_start,
                waiting: queue.waiting.iter().map(|waiter| waiter.asked.clone()).collect(),
                executing: Vec::new(),
            })
            .collect();
        let mut queueless = Vec::new();
        for started in self.listed.all() {
            match started.queue.and_then(|at| queues.get_mut(at)) {
                Some(queue) => queue.executing.push(started),
                None => queueless.push(started),
            }
        }
        LevelDump {
            name: self.name.clone(),
            quiescing,
            totals: self.totals(),
            queues,
            queueless,
        }
    }

    /// The most seats one request may take; 0 where the level does not say.
    pub fn max_seats(&self) -> u32 {
        self.max_seats.load(Ordering::Relaxed)
    }

    /// Changes how many seats there are, and lets in who now has room.
    pub fn set_current(self: &Arc<Self>, seats: u32) {
        self.current.store(seats, Ordering::SeqCst);
        self.dispatch();
    }

    /// Most seats wanted at once since the last call.
    pub fn take_peak(&self) -> u32 {
        let now = self.executing() + self.queues.lock().seats_waiting();
        self.peak.swap(now, Ordering::Relaxed).max(now)
    }

    /// A seat of a level without limits.
    pub fn take_exempt(self: &Arc<Self>) -> Seats {
        self.note(self.executing.fetch_add(1, Ordering::SeqCst) + 1);
        self.taken(1, None)
    }

    /// Takes seats where there are enough and nobody waits for them.
    pub fn try_take(self: &Arc<Self>, seats: u32) -> Option<Seats> {
        (self.waiting.load(Ordering::SeqCst) == 0 && self.claim(seats)).then(|| self.taken(seats, None))
    }

    fn taken(self: &Arc<Self>, seats: u32, listed: Option<u64>) -> Seats {
        Seats {
            level: self.clone(),
            seats,
            listed,
        }
    }

    /// A request that wants more than there are in all is let in when it is alone.
    fn claim(&self, seats: u32) -> bool {
        let limit = self.current.load(Ordering::SeqCst);
        let fits = |taken: u32| (taken == 0 || taken + seats <= limit).then_some(taken + seats);
        let claimed = self
            .executing
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits);
        if let Ok(before) = claimed {
            self.note(before + seats);
        }
        claimed.is_ok()
    }

    fn note(&self, wanted: u32) {
        if wanted > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(wanted, Ordering::Relaxed);
        }
    }

    /// Waits in the queue of a flow. `asked` is what the debug pages say meanwhile; only levels that queue ask for it.
    ///
    /// # Errors
    /// Why there are no seats.
    pub async fn wait(
        self: &Arc<Self>,
        seats: u32,
        flow: u64,
        asked: impl FnOnce() -> Arc<Asked>,
        at_most: Duration,
        clock: &SharedClock,
    ) -> Result<Seats, Why> {
        let Some(queuing) = &self.queuing else {
            return self.try_take(seats).ok_or(Why::ConcurrencyLimit);
        };
        let asked = asked();
        let (ticket, turn) = {
            let mut queues = self.queues.lock();
            // Counted first: whoever gives seats back from here on looks at the queues.
            if self.waiting.fetch_add(1, Ordering::SeqCst) == 0 && self.claim(seats) {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                return Ok(self.taken(seats, Some(self.listed.add(None, asked))));
            }
            let (sender, turn) = oneshot::channel();
            let waiter = Waiter { turn: sender, asked };
            let Some(ticket) = queues.enqueue(queuing, flow, seats, waiter) else {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                return Err(Why::QueueFull);
            };
            self.note(self.executing() + queues.seats_waiting());
            (ticket, turn)
        };
        let mut place = Place {
            level: self,
            ticket,
            seats,
            turn,
            given_up: true,
        };
        tokio::select! {
            biased;
            granted = &mut place.turn => {
                place.given_up = false;
                granted.map(|listed| self.taken(seats, Some(listed))).map_err(|_| Why::TimeOut)
            }
            () = clock.sleep(at_most) => Err(Why::TimeOut),
        }
    }

    /// Lets in who has room now.
    fn dispatch(&self) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut queues = self.queues.lock();
        while let Some(seats) = queues.next_seats() {
            if !self.claim(seats) {
                return;
            }
            let Some(next) = queues.dispatch() else {
                self.executing.fetch_sub(seats, Ordering::SeqCst);
                return;
            };
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            let listed = self.listed.add(Some(next.queue), next.value.asked);
            // One that has just gone away gives its seats back where it notices.
            let _ = next.value.turn.send(listed);
        }
    }

    fn release(&self, seats: u32) {
        self.executing.fetch_sub(seats, Ordering::SeqCst);
        self.dispatch();
    }
}

/// A place in a queue, given up when dropped (also when the client goes away meanwhile).
struct Place<'a> {
    level: &'a Arc<Level>,
    ticket: u64,
    seats: u32,
    turn: oneshot::Receiver<u64>,
    given_up: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.given_up {
            return;
        }
        let left = self.level.queues.lock().remove(self.ticket);
        if left {
            self.level.tally.cancel();
            self.level.waiting.fetch_sub(1, Ordering::SeqCst);
            self.level.dispatch();
        } else {
            // The turn came while it went.
            drop(self.level.taken(self.seats, self.turn.try_recv().ok()));
        }
    }
}

/// Seats of a level, given back when dropped.
pub struct Seats {
    level: Arc<Level>,
    seats: u32,
    /// What it is listed by.
    listed: Option<u64>,
}

impl Seats {
    /// Lists the request with those that execute, as one that came from no queue.
    pub fn list(&mut self, asked: impl FnOnce() -> Arc<Asked>) {
        if self.listed.is_none() {
            self.listed = Some(self.level.listed.add(None, asked()));
        }
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        if let Some(number) = self.listed {
            self.level.listed.remove(number);
        }
        self.level.release(self.seats);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::flowcontrol::executing::example;
    use corten_stdx::RealClock;
    use serde_json::json;

    fn level(queues: u32, length: u32) -> Arc<Level> {
        let response = if queues == 0 {
            json!({"type": "Reject"})
        } else {
            json!({"type": "Queue", "queuing": {"queues": queues, "handSize": 1, "queueLengthLimit": length}})
        };
        let level = Level::new(
            &json!({"metadata": {"name": "l", "uid": "u"}, "spec": {"type": "Limited",
            "limited": {"limitResponse": response}}}),
            Arc::default(),
        );
        level.set_limits(Limits {
            nominal: 2,
            min: 2,
            max: 2,
        });
        Arc::new(level)
    }

    #[tokio::test]
    async fn over_the_limit_requests_wait_or_are_turned_away() {
        let clock = RealClock::shared();
        let long = Duration::from_secs(60);
        let reject = level(0, 0);
        let (a, _b) = (reject.try_take(1).unwrap(), reject.try_take(1).unwrap());
        let refused = reject.wait(1, 0, || example(1), long, &clock).await.err();
        assert_eq!(refused, Some(Why::ConcurrencyLimit));
        drop(a);
        assert!(reject.try_take(1).is_some());

        let queue = level(1, 1);
        let (a, b) = (queue.try_take(1).unwrap(), queue.try_take(1).unwrap());
        let waiter = tokio::spawn({
            let (queue, clock) = (queue.clone(), clock.clone());
            async move { queue.wait(1, 0, || example(1), long, &clock).await }
        });
        while queue.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let seen = |level: &Level| {
            let queue = level.dump(false).queues.remove(0);
            (queue.waiting.len(), queue.executing.len())
        };
        assert_eq!(seen(&queue), (1, 0));
        assert_eq!(
            queue.wait(1, 0, || example(1), long, &clock).await.err(),
            Some(Why::QueueFull)
        );
        drop(a);
        let c = waiter.await.unwrap();
        assert!(c.is_ok());
        assert_eq!((queue.executing(), queue.waiting()), (2, 0));
        assert_eq!(seen(&queue), (0, 1));
        drop((b, c));
        assert_eq!(seen(&queue), (0, 0));
        assert_eq!(queue.executing(), 0);
    }

    #[tokio::test]
    async fn who_waits_too_long_or_goes_away_leaves_nothing() {
        let clock = RealClock::shared();
        let queue = level(1, 5);
        let held = queue.try_take(2).unwrap();
        let late = queue.wait(1, 0, || example(1), Duration::ZERO, &clock).await;
        assert_eq!(late.err(), Some(Why::TimeOut));
        let gone = tokio::spawn({
            let (queue, clock) = (queue.clone(), clock.clone());
            async move {
                queue
                    .wait(1, 0, || example(1), Duration::from_secs(60), &clock)
                    .await
                    .map(drop)
            }
        });
        while queue.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        assert_eq!(queue.waiting(), 0);
        assert_eq!(queue.totals().cancelled, 2);
        drop(held);
        assert!(queue.try_take(2).is_some());
    }
}
