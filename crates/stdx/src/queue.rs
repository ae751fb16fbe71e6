//! Bounded channels that know their name, for metrics and messages.

use tokio::sync::mpsc;

/// What a queue is called and how much it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    pub name: &'static str,
    pub items: usize,
}

impl Bound {
    pub const fn new(name: &'static str, items: usize) -> Self {
        Self { name, items }
    }

    /// A channel of this size: senders wait while it is full.
    pub fn channel<T>(self) -> (mpsc::Sender<T>, mpsc::Receiver<T>) {
        mpsc::channel(self.items)
    }
}
