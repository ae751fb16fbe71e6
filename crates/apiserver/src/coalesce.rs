//! How often a watch is written to. Each write costs both ends a system call, a TLS record and a wake-up, whatever it carries:
//! while there are very many writes, a watch that changes all the time is written to at a pace, and each write then carries
//! all that has come meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::WATCH_COALESCE_FRAMES;

/// Between two writes of a watch that is written to without end. The longest that an event waits here.
const PACE: Duration = Duration::from_millis(9);
/// Writes that a watch may be ahead of its pace: one that changes now and then never waits.
const AHEAD: u32 = 16;
/// How long writes of all watches are counted together.
const WINDOW: Duration = Duration::from_millis(10);
/// Writes in a window from which on there are very many: a fifth of what one core can do.
const MANY: u32 = 200;

/// The writes of all watches of a server.
#[derive(Default)]
pub struct Traffic(Mutex<Window>);

#[derive(Default)]
struct Window {
    began: Option<Instant>,
    writes: u32,
    /// There were very many in the window before.
    busy: bool,
}

impl Traffic {
    /// Counts a write; true where there are very many.
    fn write(&self, now: Instant) -> bool {
        let mut window = self.0.lock();
        let age = window
            .began
            .map_or(Duration::MAX, |began| now.saturating_duration_since(began));
        if age >= WINDOW {
            window.busy = window.writes >= MANY && age < WINDOW * 2;
            window.began = Some(now);
            window.writes = 0;
        }
        window.writes += 1;
        window.busy || window.writes >= MANY
    }
}

/// Items in batches of those that are ready together, at most [`WATCH_COALESCE_FRAMES`].
pub struct Coalesced<S> {
    items: S,
    traffic: Arc<Traffic>,
    /// When all batches so far would have gone out at [`PACE`].
    due: Option<Instant>,
    /// Made when a watch first has to wait: most never do.
    pause: Option<Pin<Box<Sleep>>>,
    paused: bool,
    ended: bool,
}

impl<S> Coalesced<S> {
    pub fn new(items: S, traffic: Arc<Traffic>) -> Self {
        Self {
            items,
            traffic,
            due: None,
            pause: None,
            paused: false,
            ended: false,
        }
    }

    /// Counts one more batch; too far ahead, the next one waits.
    fn charge(&mut self) {
        let now = Instant::now();
        let due = self.due.map_or(now, |due| due.max(now)) + PACE;
        self.due = Some(due);
        let earliest = due - PACE * AHEAD;
        if !self.traffic.write(now) {
            // A debt from a busier moment is forgotten.
            self.due = Some(due.min(now + PACE * AHEAD));
            return;
        }
        if earliest <= now {
            return;
        }
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

impl<S: Stream + Unpin> Stream for Coalesced<S> {
    type Item = Vec<S::Item>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(self.poll_pause(cx));
        let mut batch = Vec::new();
        while !self.ended && batch.len() < WATCH_COALESCE_FRAMES {
            match Pin::new(&mut self.items).poll_next(cx) {
                Poll::Ready(Some(item)) => batch.push(item),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending if batch.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if batch.is_empty() {
            return Poll::Ready(None);
        }
        // A full batch is as good as batches get: more of them wait already.
        if batch.len() < WATCH_COALESCE_FRAMES {
            self.charge();
        }
        Poll::Ready(Some(batch))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::StreamExt;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::UnboundedReceiverStream;

    use super::*;

    fn open() -> (
        mpsc::UnboundedSender<u32>,
        Coalesced<UnboundedReceiverStream<u32>>,
    ) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let items = Coalesced::new(UnboundedReceiverStream::new(receiver), Arc::default());
        (sender, items)
    }

    /// Each item is told at once, one after the other.
    async fn nothing_waits(items: u32, between: Duration, others: u32) {
        let (sender, mut batches) = open();
        for item in 0..items {
            for _ in 0..others {
                batches.traffic.write(Instant::now());
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
    }

    /// Few watches are told at once however much they change.
    #[tokio::test(start_paused = true)]
    async fn where_little_is_written_nothing_waits() {
        nothing_waits(2_000, Duration::from_millis(1), 0).await;
    }

    /// What changes without end is told at a pace, in order and with nothing left out.
    #[tokio::test(start_paused = true)]
    async fn a_busy_watch_is_written_to_at_a_pace() {
        let (sender, mut batches) = open();
        // Other watches are written to all the time too.
        let traffic = batches.traffic.clone();
        let others = tokio::spawn(async move {
            loop {
                for _ in 0..MANY {
                    traffic.write(Instant::now());
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
        assert!(
            sizes.len() <= 2_000 / 9 + AHEAD as usize + 10,
            "{} writes",
            sizes.len()
        );
        assert!(sizes.iter().all(|size| *size <= 11), "{sizes:?}");
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
}
