//! What a watcher receives.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use corten_meta::Status;
use futures::Stream;

use crate::object::Object;

/// One event of a watch. The object's bytes are shared by every watcher of the event.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    Added(Arc<Object>),
    Modified(Arc<Object>),
    /// The last state, with the resourceVersion of the deletion.
    Deleted(Arc<Object>),
    /// Only kind and resourceVersion (and the end of initial events as annotation).
    Bookmark(Arc<Object>),
    /// The watch ends here; 410 Expired asks the client to list again.
    Error(Status),
}

/// A watch. Ends after an error, at its timeout, or when its reader was too slow.
pub struct WatchStream {}

impl Stream for WatchStream {
    type Item = WatchEvent;

    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        Poll::Ready(None)
    }
}
