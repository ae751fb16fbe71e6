//! The keyed work queue: a key is queued once however often it is added, is never worked on twice at a time, and comes
//! back later after a failure. Upstream's `workqueue` semantics.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Keys a queue holds at most. Beyond it adds are refused, counted and logged: a cluster that large needs another size.
pub const MAX_KEYS: usize = 1 << 20;
/// First delay after a failure; doubles with each.
pub const BACKOFF_BASE: Duration = Duration::from_millis(5);
/// Longest delay after a failure.
pub const BACKOFF_MAX: Duration = Duration::from_secs(1000);

struct State<T> {
    ready: VecDeque<T>,
    /// Wants work: is in `ready`, or was added while in `working`.
    dirty: HashSet<T>,
    working: HashSet<T>,
    failures: HashMap<T, u32>,
    delayed: BTreeMap<(Instant, u64), T>,
    delayed_at: HashMap<T, (Instant, u64)>,
    sequence: u64,
    stopped: bool,
    stats: Stats,
}

/// Counters of one queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    pub name: &'static str,
    pub depth: usize,
    pub delayed: usize,
    pub working: usize,
    pub adds: u64,
    pub retries: u64,
    /// Adds refused because the queue was full.
    pub refused: u64,
}

struct Inner<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

/// See the module. Cheap to clone.
pub struct Queue<T>(Arc<Inner<T>>);

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

trait Observed: Send + Sync {
    fn stats(&self) -> Stats;
}

static QUEUES: LazyLock<Mutex<Vec<Weak<dyn Observed>>>> = LazyLock::new(Mutex::default);

/// The counters of every queue of the process that is still in use.
#[must_use]
pub fn all_stats() -> Vec<Stats> {
    let mut queues = QUEUES.lock();
    queues.retain(|q| q.strong_count() > 0);
    queues
        .iter()
        .filter_map(Weak::upgrade)
        .map(|q| q.stats())
        .collect()
}

impl<T: Send + Sync + Eq + Hash + Clone> Observed for Inner<T> {
    fn stats(&self) -> Stats {
        let state = self.state.lock();
        let (depth, delayed, working) = (state.ready.len(), state.delayed.len(), state.working.len());
        Stats {
            depth,
            delayed,
            working,
            ..state.stats.clone()
        }
    }
}

impl<T: Eq + Hash + Clone + Send + Sync + 'static> Queue<T> {
    /// An empty queue; `name` is what metrics call it.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            working: HashSet::new(),
            failures: HashMap::new(),
            delayed: BTreeMap::new(),
            delayed_at: HashMap::new(),
            sequence: 0,
            stopped: false,
            stats: Stats {
                name,
                ..Stats::default()
            },
        };
        let inner = Arc::new(Inner {
            state: Mutex::new(state),
            changed: Notify::new(),
        });
        let weak: Weak<Inner<T>> = Arc::downgrade(&inner);
        QUEUES.lock().push(weak);
        Self(inner)
    }

    /// Queues a key, unless it is queued already.
    pub fn add(&self, key: T) {
        if self.0.state.lock().add(key) {
            self.0.changed.notify_one();
        }
    }

    /// Queues a key after `delay`; if it is waiting already, the earlier time holds.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        self.0.state.lock().add_at(key, Instant::now() + delay);
        self.0.changed.notify_one();
    }

    /// Queues a key after the delay its failures so far have earned.
    pub fn add_rate_limited(&self, key: T) {
        let delay = self.0.state.lock().fail(&key);
        self.add_after(key, delay);
    }

    /// Forgets a key's failures.
    pub fn forget(&self, key: &T) {
        self.0.state.lock().failures.remove(key);
    }

    /// How often a key has failed in a row.
    #[must_use]
    pub fn failures(&self, key: &T) -> u32 {
        self.0.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// The next key, which stays with the caller until [`Queue::done`]. None once the queue has stopped.
    pub async fn next(&self) -> Option<T> {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let deadline = {
                let mut state = self.0.state.lock();
                if state.stopped {
                    return None;
                }
                state.promote(Instant::now());
                if let Some(key) = state.take() {
                    if !state.ready.is_empty() || !state.delayed.is_empty() {
                        self.0.changed.notify_one();
                    }
                    return Some(key);
                }
                state.delayed.first_key_value().map(|((at, _), _)| *at)
            };
            match deadline {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, changed).await;
                }
                None => changed.await,
            }
        }
    }

    /// Gives a key back; if it was added meanwhile it is queued again.
    pub fn done(&self, key: &T) {
        if self.0.state.lock().done(key) {
            self.0.changed.notify_one();
        }
    }

    /// Ends the queue: what waits is dropped, [`Queue::next`] returns none.
    pub fn stop(&self) {
        self.0.state.lock().stopped = true;
        self.0.changed.notify_waiters();
        self.0.changed.notify_one();
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        Observed::stats(&*self.0)
    }
}

impl<T: Eq + Hash + Clone> State<T> {
    fn add(&mut self, key: T) -> bool {
        if self.stopped || self.dirty.contains(&key) {
            return false;
        }
        if self.dirty.len() >= MAX_KEYS {
            self.refuse();
            return false;
        }
        self.stats.adds += 1;
        self.dirty.insert(key.clone());
        if self.working.contains(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    fn add_at(&mut self, key: T, at: Instant) {
        if self.stopped {
            return;
        }
        match self.delayed_at.get(&key) {
            Some((earlier, _)) if *earlier <= at => return,
            Some(slot) => {
                self.delayed.remove(slot);
            }
            None if self.delayed.len() >= MAX_KEYS => return self.refuse(),
            None => {}
        }
        self.sequence += 1;
        let slot = (at, self.sequence);
        self.delayed.insert(slot, key.clone());
        self.delayed_at.insert(key, slot);
    }

    fn refuse(&mut self) {
        self.stats.refused += 1;
        tracing::error!(
            queue = self.stats.name,
            bound = MAX_KEYS,
            "work queue is full; a key was refused"
        );
    }

    fn fail(&mut self, key: &T) -> Duration {
        self.stats.retries += 1;
        let failures = self.failures.entry(key.clone()).or_default();
        let delay = BACKOFF_BASE.saturating_mul(1 << (*failures).min(20));
        *failures += 1;
        delay.min(BACKOFF_MAX)
    }

    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.delayed_at.remove(&key);
            self.add(key);
        }
    }

    fn take(&mut self) -> Option<T> {
        let key = self.ready.pop_front()?;
        self.dirty.remove(&key);
        self.working.insert(key.clone());
        Some(key)
    }

    fn done(&mut self, key: &T) -> bool {
        self.working.remove(key);
        if self.dirty.contains(key) {
            self.ready.push_back(key.clone());
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_queued_once_and_never_worked_on_twice() {
        let queue = Queue::new("test");
        queue.add(1);
        queue.add(1);
        assert_eq!(queue.next().await, Some(1));
        queue.add(1);
        assert_eq!(queue.stats().depth, 0, "it waits for done");
        queue.done(&1);
        assert_eq!(queue.next().await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn delays_double_and_the_earlier_time_holds() {
        let queue = Queue::new("test");
        let start = Instant::now();
        for wait in [5, 10, 20] {
            let before = Instant::now();
            queue.add_rate_limited("k");
            assert_eq!(queue.next().await, Some("k"));
            assert_eq!(before.elapsed().as_millis(), wait);
            queue.done(&"k");
        }
        queue.forget(&"k");
        queue.add_after("k", Duration::from_secs(9));
        queue.add_after("k", Duration::from_secs(3));
        queue.add_after("k", Duration::from_secs(6));
        assert_eq!(queue.next().await, Some("k"));
        assert_eq!(start.elapsed().as_secs(), 3);
        queue.stop();
        assert_eq!(queue.next().await, None);
    }
}
