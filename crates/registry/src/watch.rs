//! What a watcher receives.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use corten_meta::Status;
use corten_stdx::SharedClock;
use corten_stdx::batch::{self, Receiver};
use corten_stdx::clock::Sleep;
use futures::Stream;
use serde_json::json;
use tokio::sync::watch;

use crate::cache::{Undecided, WATCH_BUFFER};
use crate::metrics::Metrics;
use crate::object::Object;
use crate::resource::ResourceInfo;

/// Upstream's `metav1.InitialEventsAnnotationKey`.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";
/// Bookmarks come about this often (upstream: once a minute).
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// One event of a watch. The object's bytes are shared by every watcher of the event.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    Added(Object),
    Modified(Object),
    /// The last state, with the resourceVersion of the deletion.
    Deleted(Object),
    /// To be decided on by [`crate::Resource::events_in_version`]: only of resources whose versions a webhook converts.
    Undecided(Undecided),
    /// Only kind and resourceVersion (and the end of initial events as annotation).
    Bookmark(Object),
    /// The watch ends here; 410 Expired asks the client to list again.
    Error(Status),
}

impl WatchEvent {
    /// The `type` on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Added(_) => "ADDED",
            Self::Modified(_) => "MODIFIED",
            Self::Deleted(_) => "DELETED",
            Self::Bookmark(_) => "BOOKMARK",
            Self::Undecided(_) => "",
            Self::Error(_) => "ERROR",
        }
    }

    /// The object; none of errors and undecided changes.
    pub fn object(&self) -> Option<&Object> {
        match self {
            Self::Added(object) | Self::Modified(object) | Self::Deleted(object) | Self::Bookmark(object) => {
                Some(object)
            }
            Self::Undecided(_) | Self::Error(_) => None,
        }
    }
}

/// What bookmarks of a stream look like and when they come.
pub(crate) struct Bookmarks {
    api_version: String,
    kind: String,
    clock: SharedClock,
    next: Sleep,
}

impl Bookmarks {
    pub fn new(resource: &ResourceInfo, clock: &SharedClock) -> Self {
        Self {
            api_version: resource.api_version(),
            kind: resource.kind.to_string(),
            clock: Arc::clone(clock),
            next: clock.sleep(BOOKMARK_INTERVAL),
        }
    }

    /// The bookmark that says how far the stream has come.
    pub fn at(&self, revision: u64, ends_initial_events: bool) -> WatchEvent {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if ends_initial_events {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = json!({"kind": self.kind, "apiVersion": self.api_version, "metadata": metadata});
        WatchEvent::Bookmark(Object::bookmark(object.to_string().as_bytes(), revision))
    }
}

/// A watch. Ends after an error, at its timeout, or when its reader was too slow.
pub struct WatchStream {
    initial: VecDeque<WatchEvent>,
    receiver: Receiver<WatchEvent>,
    /// What the watch cache has taken in and handed out.
    applied: watch::Receiver<u64>,
    bookmarks: Option<Bookmarks>,
    deadline: Option<Sleep>,
    metrics: Arc<Metrics>,
    ended: bool,
}

impl WatchStream {
    pub(crate) fn new(
        initial: Vec<WatchEvent>,
        receiver: Receiver<WatchEvent>,
        applied: watch::Receiver<u64>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        metrics.watches_started.add(1);
        metrics.watches_open.add(1);
        Self {
            initial: initial.into(),
            receiver,
            applied,
            bookmarks: None,
            deadline: None,
            metrics: Arc::clone(metrics),
            ended: false,
        }
    }

    /// A watch that only says why it cannot be.
    pub(crate) fn error(status: Status, applied: watch::Receiver<u64>, metrics: &Arc<Metrics>) -> Self {
        let (_, receiver) = batch::channel(WATCH_BUFFER);
        Self::new(vec![WatchEvent::Error(status)], receiver, applied, metrics)
    }

    pub(crate) fn with_bookmarks(mut self, bookmarks: Option<Bookmarks>) -> Self {
        self.bookmarks = bookmarks;
        self
    }

    pub(crate) fn with_deadline(mut self, deadline: Option<Sleep>) -> Self {
        self.deadline = deadline;
        self
    }

    /// The next event and those that are there behind it, at most so many in all: lets a writer gather them into one frame.
    /// `None` after the end.
    pub fn poll_batch(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Option<Vec<WatchEvent>>> {
        let Some(first) = ready!(Pin::new(&mut *self).poll_next(cx)) else {
            return Poll::Ready(None);
        };
        let mut batch = Vec::with_capacity(most.min(1 + self.initial.len() + self.receiver.taken()));
        batch.push(first);
        while batch.len() < most
            && let Some(event) = self.try_next()
        {
            batch.push(event);
        }
        Poll::Ready(Some(batch))
    }

    /// The next event that is there already.
    fn try_next(&mut self) -> Option<WatchEvent> {
        if self.ended {
            return None;
        }
        let Some(event) = self.initial.pop_front() else {
            return self.receiver.try_next();
        };
        self.ended = matches!(event, WatchEvent::Error(_));
        Some(event)
    }

    /// Nothing more is ready: time for a bookmark, or the end?
    fn poll_timers(&mut self, cx: &mut Context<'_>, applied: u64) -> Poll<Option<WatchEvent>> {
        let timed_out = self
            .deadline
            .as_mut()
            .is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
        if timed_out {
            self.ended = true;
            // Lets the client resume where it is, and not where its last event was.
            return Poll::Ready(
                self.bookmarks
                    .as_ref()
                    .map(|bookmarks| bookmarks.at(applied, false)),
            );
        }
        let Some(bookmarks) = self.bookmarks.as_mut() else {
            return Poll::Pending;
        };
        if bookmarks.next.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        bookmarks.next = bookmarks.clock.sleep(BOOKMARK_INTERVAL);
        // The new timer must know whom to wake.
        if bookmarks.next.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Some(bookmarks.at(applied, false)))
    }
}

impl Stream for WatchStream {
    type Item = WatchEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(event) = self.try_next() {
            return Poll::Ready(Some(event));
        }
        // Read before the queue is found empty: everything up to here has been delivered then.
        let applied = *self.applied.borrow();
        match self.receiver.poll_next(cx) {
            Poll::Ready(Some(event)) => Poll::Ready(Some(event)),
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_timers(cx, applied),
        }
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.metrics.watches_open.sub(1);
    }
}
