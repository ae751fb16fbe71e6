//! A bounded queue with one reader that takes and gives many items at once: one lock and at most one wake-up, however many
//! they are. A channel costs both for each item, which is felt where every change goes to each of many readers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::queue::Bound;

/// Room that an emptied queue keeps for what comes next.
const KEPT: usize = 64;

struct Shared<T> {
    items: VecDeque<T>,
    /// Who found nothing, and is told when there is something. While there are items it has been told.
    reader: Option<Waker>,
    /// The other side has gone.
    closed: bool,
}

impl<T> Shared<T> {
    fn close(&mut self) -> Option<Waker> {
        self.closed = true;
        self.reader.take()
    }
}

/// Why items were not taken. The reader gets what was put in before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The reader has gone.
    Closed,
    /// There would be more than the bound.
    Full,
}

pub struct Sender<T> {
    shared: Arc<Mutex<Shared<T>>>,
    most: usize,
}

pub struct Receiver<T> {
    shared: Arc<Mutex<Shared<T>>>,
    /// Taken from the shared ones, all at once.
    taken: VecDeque<T>,
}

/// An empty queue that holds as many items as `bound` says, and once more as many as its reader has taken but not read.
pub fn channel<T>(bound: Bound) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Mutex::new(Shared {
        items: VecDeque::new(),
        reader: None,
        closed: false,
    }));
    let sender = Sender {
        shared: Arc::clone(&shared),
        most: bound.items,
    };
    let taken = VecDeque::new();
    (sender, Receiver { shared, taken })
}

impl<T> Sender<T> {
    /// Puts in all items or none.
    ///
    /// # Errors
    /// Where the reader has gone, or the items are more than the queue has room for.
    pub fn send_all(&self, items: impl ExactSizeIterator<Item = T>) -> Result<(), Refused> {
        let mut shared = self.shared.lock();
        if shared.closed {
            return Err(Refused::Closed);
        }
        if shared.items.len() + items.len() > self.most {
            return Err(Refused::Full);
        }
        let told = !shared.items.is_empty();
        shared.items.extend(items);
        if !told
            && !shared.items.is_empty()
            && let Some(reader) = &shared.reader
        {
            reader.wake_by_ref();
        }
        Ok(())
    }

    /// Whether the reader has gone.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let reader = self.shared.lock().close();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// The next item that is there already.
    pub fn try_next(&mut self) -> Option<T> {
        if self.taken.is_empty() {
            take(&mut self.taken, &mut self.shared.lock());
        }
        self.taken.pop_front()
    }

    /// The next item; `None` when there is none and the sender has gone.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if self.taken.is_empty() {
            let mut shared = self.shared.lock();
            if shared.items.is_empty() && !shared.closed {
                match &mut shared.reader {
                    Some(reader) => reader.clone_from(cx.waker()),
                    None => shared.reader = Some(cx.waker().clone()),
                }
                return Poll::Pending;
            }
            take(&mut self.taken, &mut shared);
        }
        Poll::Ready(self.taken.pop_front())
    }

    /// How many items [`Receiver::try_next`] gives without looking for more.
    pub fn taken(&self) -> usize {
        self.taken.len()
    }
}

/// Into `taken`, which is empty.
fn take<T>(taken: &mut VecDeque<T>, shared: &mut Shared<T>) {
    if taken.capacity() > KEPT {
        *taken = VecDeque::new();
    }
    std::mem::swap(&mut shared.items, taken);
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let items = {
            let mut shared = self.shared.lock();
            let _ = shared.close();
            std::mem::take(&mut shared.items)
        };
        drop(items);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    const BOUND: Bound = Bound::new("test", 8);

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn one_wake_for_what_comes_before_it_is_read() {
        let (sender, mut receiver) = channel(BOUND);
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let woken = || count.0.load(Ordering::Relaxed);
        assert!(receiver.poll_next(&mut cx).is_pending());
        sender.send_all([].into_iter()).unwrap();
        assert_eq!(woken(), 0);
        sender.send_all([1, 2].into_iter()).unwrap();
        sender.send_all([3].into_iter()).unwrap();
        assert_eq!(woken(), 1);
        for item in 1..=3 {
            assert_eq!(receiver.poll_next(&mut cx), Poll::Ready(Some(item)));
        }
        assert!(receiver.poll_next(&mut cx).is_pending());
        sender.send_all([4].into_iter()).unwrap();
        assert_eq!(
            (woken(), receiver.try_next(), receiver.try_next()),
            (2, Some(4), None)
        );
        sender.send_all([5].into_iter()).unwrap();
        assert_eq!(woken(), 3, "who took the last without asking for more is told");
    }

    #[test]
    fn all_or_none_within_the_bound() {
        let (sender, mut receiver) = channel(BOUND);
        sender.send_all(0..6).unwrap();
        assert_eq!(sender.send_all(6..9), Err(Refused::Full));
        sender.send_all(6..8).unwrap();
        let all: Vec<i32> = std::iter::from_fn(|| receiver.try_next()).collect();
        assert_eq!(all, (0..8).collect::<Vec<_>>());
        sender.send_all(0..8).unwrap();
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.send_all(0..1), Err(Refused::Closed));
    }

    #[test]
    fn what_was_put_in_is_read_after_the_sender_has_gone() {
        let (sender, mut receiver) = channel(BOUND);
        sender.send_all(0..2).unwrap();
        drop(sender);
        let mut cx = Context::from_waker(Waker::noop());
        let mut next = || receiver.poll_next(&mut cx);
        assert_eq!(
            [next(), next(), next()],
            [0, 1, -1].map(|i| Poll::Ready((i >= 0).then_some(i)))
        );
    }

    #[test]
    fn room_of_a_burst_is_given_back() {
        let (sender, mut receiver) = channel(Bound::new("test", 1000));
        for _ in 0..3 {
            sender.send_all(0..1000).unwrap();
            while receiver.try_next().is_some() {}
        }
        let shared = sender.shared.lock().items.capacity();
        assert!(shared.min(receiver.taken.capacity()) <= KEPT);
    }

    /// Across threads nothing is lost, doubled or out of order, and the end is seen.
    #[test]
    fn across_threads() {
        let (sender, mut receiver) = channel(Bound::new("test", 64));
        let writer = std::thread::spawn(move || {
            let mut next = 0_u32;
            while next < 100_000 {
                let count = (next % 7 + 1).min(100_000 - next);
                match sender.send_all(next..next + count) {
                    Ok(()) => next += count,
                    Err(_) => std::thread::yield_now(),
                }
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut expected = 0;
            while let Some(item) = poll_fn(|cx| receiver.poll_next(cx)).await {
                assert_eq!(item, expected);
                expected += 1;
            }
            assert_eq!(expected, 100_000);
        });
        writer.join().unwrap();
    }
}
