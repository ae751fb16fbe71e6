//! How often a watch is written to. Each write costs both ends a system call, a TLS record and a wake-up, whatever it carries:
//! while there are very many writes, a watch that changes all the time is written to at a pace, and each write then carries
//! all that has come meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use corten_registry::{WatchEvent, WatchStream};
use futures::Stream;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::limits::WATCH_COALESCE_FRAMES;

/// Between two writes of a watch that is written to without end, while what all watches deliver leaves time for it.
const PACE: Duration = Duration::from_millis(9);
/// The same at most: the longest that an event waits here.
const SLOWEST: Duration = Duration::from_millis(36);
/// Deliveries of all watches a second for each millisecond of the pace: beyond 90,000 a second writes become rarer rather than
/// more, so that the processor's time goes to what they carry. A write costs both ends together some 30 µs, whatever it carries.
const PER_MILLISECOND: f64 = 10_000.0;
/// What a watch may be ahead of its pace, eight writes at [`PACE`]: one that changes now and then never waits.
const CREDIT: Duration = Duration::from_millis(72);
/// The part of the pace by which that of one watch may be faster.
const SPREAD: f64 = 0.25;
/// How long writes of all watches are counted together.
const WINDOW: Duration = Duration::from_millis(10);
/// Over how long the rate of deliveries is smoothed: they come in bursts.
const SMOOTHED: Duration = Duration::from_millis(100);
/// Writes in a window from which on there are very many: a fifth of what one core can do.
const MANY: u32 = 200;

/// The writes of all watches of a server.
#[derive(Default)]
pub struct Traffic(Mutex<Window>);

#[derive(Default)]
struct Window {
    began: Option<Instant>,
    writes: u32,
    deliveries: u32,
    /// There were very many in the window before.
    busy: bool,
    /// Deliveries a second, smoothed.
    rate: f64,
}

impl Window {
    /// Begins anew after a window of this age.
    fn turn(&mut self, age: Duration, now: Instant) {
        let weight = (age.as_secs_f64() / SMOOTHED.as_secs_f64()).min(1.0);
        let rate = f64::from(self.deliveries) / age.as_secs_f64();
        *self = Self {
            began: Some(now),
            busy: self.writes >= MANY && age < WINDOW * 2,
            rate: self.rate + (rate - self.rate) * weight,
            ..Self::default()
        };
    }

    fn pace(&self) -> Duration {
        Duration::from_secs_f64(self.rate / PER_MILLISECOND / 1000.0).clamp(PACE, SLOWEST)
    }
}

impl Traffic {
    /// Counts a write of so many events; the pace where there are very many writes.
    fn write(&self, events: usize, now: Instant) -> Option<Duration> {
        let mut window = self.0.lock();
        let age = window
            .began
            .map_or(Duration::MAX, |began| now.saturating_duration_since(began));
        if age >= WINDOW {
            window.turn(age, now);
        }
        window.writes += 1;
        window.deliveries = window
            .deliveries
            .saturating_add(u32::try_from(events).unwrap_or(u32::MAX));
        (window.busy || window.writes >= MANY).then(|| window.pace())
    }
}

/// Where events come from: the next one and those that are ready behind it, at most so many.
pub trait Batches: Unpin {
    type Item;

    fn poll_batch(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Option<Vec<Self::Item>>>;
}

impl Batches for WatchStream {
    type Item = WatchEvent;

    fn poll_batch(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Option<Vec<WatchEvent>>> {
        Self::poll_batch(self, cx, most)
    }
}

/// Items in batches of those that are ready together, at most [`WATCH_COALESCE_FRAMES`], until the server stops.
pub struct Coalesced<S> {
    items: S,
    stop: CancellationToken,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    traffic: Arc<Traffic>,
    /// When all batches so far would have gone out at their pace.
    due: Option<Instant>,
    /// Made when a watch first has to wait: most never do.
    pause: Option<Pin<Box<Sleep>>>,
    paused: bool,
    /// Its own part of the pace: watches of the same events would be written to all at once, and then none.
    part: f64,
}

impl<S> Coalesced<S> {
    pub fn new(items: S, traffic: Arc<Traffic>, stop: CancellationToken) -> Self {
        Self::at_part(items, traffic, stop, 1.0 - rand::random::<f64>() * SPREAD)
    }

    /// Written to at this part of the pace.
    fn at_part(items: S, traffic: Arc<Traffic>, stop: CancellationToken, part: f64) -> Self {
        Self {
            items,
            stopped: Box::pin(stop.clone().cancelled_owned()),
            stop,
            traffic,
            due: None,
            pause: None,
            paused: false,
            part,
        }
    }

    /// Counts one more batch of so many; too far ahead, the next one waits.
    fn charge(&mut self, events: usize) {
        let now = Instant::now();
        let pace = self.traffic.write(events, now);
        if events >= WATCH_COALESCE_FRAMES {
            // A full batch is as good as batches get: more of them wait already.
            return;
        }
        // Only what itself changes without end is slowed down for the sake of all.
        let own = pace
            .filter(|_| events > 1)
            .map_or(PACE, |pace| pace.mul_f64(self.part));
        let due = self.due.map_or(now, |due| due.max(now)) + own;
        let earliest = due - CREDIT;
        if pace.is_none() || earliest <= now {
            // A debt from a busier moment is forgotten.
            self.due = Some(due.min(now + CREDIT));
            return;
        }
        self.due = Some(due);
        self.paused = true;
        match &mut self.pause {
            Some(pause) => pause.as_mut().reset(earliest),
            None => self.pause = Some(Box::pin(sleep_until(earliest))),
        }
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = self.pause.as_mut().filter(|_| self.paused) {
            ready!(pause.as_mut().poll(cx));
        }
        self.paused = false;
        Poll::Ready(())
    }
}

impl<S: Batches> Stream for Coalesced<S> {
    type Item = Vec<<S as Batches>::Item>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let batch = match self.poll_pause(cx) {
            Poll::Ready(()) => self.items.poll_batch(cx, WATCH_COALESCE_FRAMES),
            Poll::Pending => Poll::Pending,
        };
        match batch {
            Poll::Ready(Some(batch)) if !self.stop.is_cancelled() => {
                self.charge(batch.len());
                Poll::Ready(Some(batch))
            }
            Poll::Ready(_) => Poll::Ready(None),
            // Only who has nothing to do asks to be told of the end.
            Poll::Pending => self.stopped.as_mut().poll(cx).map(|()| None),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::StreamExt;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;

    impl Batches for UnboundedReceiver<u32> {
        type Item = u32;

        fn poll_batch(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Option<Vec<u32>>> {
            let mut batch = Vec::new();
            let taken = ready!(self.poll_recv_many(cx, &mut batch, most));
            Poll::Ready((taken > 0).then_some(batch))
        }
    }

    /// A watch at this part of the pace.
    fn open_at(part: f64) -> (UnboundedSender<u32>, Coalesced<UnboundedReceiver<u32>>) {
        let (sender, receiver) = unbounded_channel();
        let items = Coalesced::at_part(receiver, Arc::default(), CancellationToken::new(), part);
        (sender, items)
    }

    fn open() -> (UnboundedSender<u32>, Coalesced<UnboundedReceiver<u32>>) {
        open_at(1.0)
    }

    /// Each item is told at once, one after the other.
    async fn nothing_waits(items: u32, between: Duration, others: u32) {
        let (sender, mut batches) = open();
        for item in 0..items {
            for _ in 0..others {
                batches.traffic.write(1, Instant::now());
            }
            sender.send(item).unwrap();
            let before = Instant::now();
            assert_eq!(batches.next().await.unwrap(), [item]);
            assert_eq!(before.elapsed(), Duration::ZERO);
            tokio::time::advance(between).await;
        }
    }

    /// What changes a hundred times a second is told at once each time, however much others are written to.
    #[tokio::test(start_paused = true)]
    async fn a_quiet_watch_never_waits() {
        nothing_waits(500, Duration::from_millis(10), MANY).await;
        nothing_waits(500, Duration::from_millis(10), MANY * 50).await;
    }

    /// Few watches are told at once however much they change.
    #[tokio::test(start_paused = true)]
    async fn where_little_is_written_nothing_waits() {
        nothing_waits(2_000, Duration::from_millis(1), 0).await;
    }

    /// An item each millisecond beside other watches' writes of so many events, in order and with nothing left out; the
    /// sizes of its batches.
    async fn batches_beside(events: usize, part: f64) -> Vec<usize> {
        let (sender, mut batches) = open_at(part);
        let traffic = batches.traffic.clone();
        let others = tokio::spawn(async move {
            loop {
                for _ in 0..MANY {
                    traffic.write(events, Instant::now());
                }
                tokio::time::sleep(WINDOW / 2).await;
            }
        });
        let source = tokio::spawn(async move {
            for item in 0..2_000 {
                sender.send(item).unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let (mut seen, mut sizes) = (Vec::new(), Vec::new());
        while let Some(batch) = batches.next().await {
            sizes.push(batch.len());
            seen.extend(batch);
        }
        source.await.unwrap();
        others.abort();
        assert_eq!(seen, (0..2_000).collect::<Vec<_>>());
        sizes
    }

    /// What changes without end is told at a pace.
    #[tokio::test(start_paused = true)]
    async fn a_busy_watch_is_written_to_at_a_pace() {
        let sizes = batches_beside(1, 1.0).await;
        assert!(sizes.len() <= 2_000 / 9 + 26, "{} writes", sizes.len());
        assert!(sizes.iter().all(|size| *size <= 11), "{sizes:?}");
    }

    /// The more all watches deliver the slower, to an end.
    #[tokio::test(start_paused = true)]
    async fn the_pace_slows_down_with_deliveries() {
        // 40,000 writes a second: 200,000 deliveries, and 1,600,000.
        let sizes = batches_beside(5, 1.0).await;
        let slower = *sizes.iter().max().unwrap();
        assert!((19..=22).contains(&slower), "{sizes:?}");
        let sizes = batches_beside(40, 1.0).await;
        let slowest = *sizes.iter().max().unwrap();
        assert!((35..=38).contains(&slowest), "{sizes:?}");
    }

    /// Watches of the same events have paces of their own, none slower than the pace and none faster than by its part.
    #[tokio::test(start_paused = true)]
    async fn a_watch_has_a_part_of_the_pace() {
        let fastest = batches_beside(40, 1.0 - SPREAD).await;
        let most = *fastest.iter().max().unwrap();
        assert!((26..=29).contains(&most), "{fastest:?}");
        for _ in 0..1_000 {
            let items = unbounded_channel::<u32>().1;
            let part = Coalesced::new(items, Arc::default(), CancellationToken::new()).part;
            assert!((1.0 - SPREAD..=1.0).contains(&part), "{part}");
        }
    }

    /// The first events of a watch are many and ready: they do not wait for the pace.
    #[tokio::test(start_paused = true)]
    async fn full_batches_do_not_wait() {
        let (sender, mut batches) = open();
        let count = WATCH_COALESCE_FRAMES * 100;
        (0..count).for_each(|item| sender.send(item as u32).unwrap());
        drop(sender);
        let before = Instant::now();
        let mut seen = 0;
        while let Some(batch) = batches.next().await {
            seen += batch.len();
        }
        assert_eq!((seen, before.elapsed()), (count, Duration::ZERO));
    }

    /// A watch ends with the server, whether it waits for events or for its pace.
    #[tokio::test(start_paused = true)]
    async fn the_server_s_end_is_a_watch_s() {
        for waiting in [true, false] {
            let (sender, mut batches) = open();
            let stop = batches.stop.clone();
            if !waiting {
                sender.send(1).unwrap();
            }
            tokio::spawn(async move { stop.cancel() });
            if waiting {
                assert_eq!(batches.next().await, None);
            } else {
                assert_eq!(batches.next().await.unwrap(), [1]);
                batches.paused = true;
                batches.pause = Some(Box::pin(sleep_until(Instant::now() + SLOWEST)));
                let before = Instant::now();
                assert_eq!((batches.next().await, before.elapsed()), (None, Duration::ZERO));
            }
        }
    }
}
