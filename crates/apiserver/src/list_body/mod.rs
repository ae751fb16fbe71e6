//! Lists as frames that are made while they are sent, in every encoding and shape. Nothing of a list grows with it: there
//! is the frame being filled, the item being encoded, and a place in the items; and what one review holds, where a webhook
//! converts them.

mod protobuf;
mod stored;
#[cfg(test)]
mod tests;
mod text;

use bytes::Bytes;
use corten_meta::Status;
use corten_registry::{Items, Object};
use futures::{StreamExt, stream};

pub use self::protobuf::{Encode, Protobuf};
pub use self::stored::{Metadata, Stored};
pub use self::text::{Layout, Row, Text};
use crate::body::{Body, BoxError};

/// What short items are joined to: what one write to a TLS connection takes. A frame is longer by no more than its last
/// item.
const FRAME_BYTES: usize = 64 * 1024;
/// Items shorter than this are joined: one frame costs more than copying so little.
const SMALL_BYTES: usize = 8 * 1024;
/// What stands between items, at most.
const BETWEEN: usize = 8;

/// How a list and its items are written.
pub trait Form: Send {
    /// Everything before the first item.
    fn begin(&mut self) -> Vec<u8>;

    /// Appends an item, or gives back what of it is long enough to go as it is.
    ///
    /// # Errors
    /// Where the encoding cannot express it.
    fn item(&mut self, out: &mut Vec<u8>, object: &Object, first: bool) -> Result<Option<Bytes>, Status>;

    /// Everything after the last item; `empty` where there was none.
    ///
    /// # Errors
    /// Where the items were not what they were announced to be.
    fn end(&mut self, out: &mut Vec<u8>, empty: bool) -> Result<(), Status>;
}

/// A list of these items.
///
/// # Errors
/// Where the first frame cannot be made. What fails later cuts the connection.
pub fn body(form: Box<dyn Form>, items: Items) -> Result<Body, Status> {
    let asks = items.asks();
    let mut frames = Frames::new(form, items);
    match frames.next_frame()? {
        Some(only) if frames.items.is_none() && frames.waiting.is_none() => Ok(Body::Full(only)),
        Some(first) if asks => {
            let next = async |mut frames: Frames| Some((frames.next_awaited().await?, frames));
            let rest = stream::unfold(frames, next).map(|frame| frame.map_err(BoxError::from));
            let first = stream::once(std::future::ready(Ok(first)));
            Ok(Body::Awaited(Box::pin(first.chain(rest))))
        }
        Some(first) => {
            let rest = frames.map(|frame| frame.map_err(BoxError::from));
            Ok(Body::Frames(Box::new(std::iter::once(Ok(first)).chain(rest))))
        }
        None => Ok(Body::Empty),
    }
}

struct Frames {
    form: Box<dyn Form>,
    /// None once their end has been written.
    items: Option<Items>,
    /// What is to be sent first.
    frame: Vec<u8>,
    /// No item was written yet.
    first: bool,
    /// A long item, sent after `frame`.
    waiting: Option<Bytes>,
}

impl Iterator for Frames {
    type Item = Result<Bytes, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_frame();
        if next.is_err() {
            (self.items, self.waiting) = (None, None);
            self.frame.clear();
        }
        next.transpose()
    }
}

impl Frames {
    fn new(mut form: Box<dyn Form>, items: Items) -> Self {
        Self {
            frame: form.begin(),
            form,
            items: Some(items),
            first: true,
            waiting: None,
        }
    }

    fn next_frame(&mut self) -> Result<Option<Bytes>, Status> {
        if let Some(long) = self.waiting.take_if(|_| self.frame.is_empty()) {
            return Ok(Some(long));
        }
        if let Some(mut items) = self.items.take() {
            // Reading may leave a long item waiting, also the last one.
            let mut ended = false;
            if self.waiting.is_none() {
                self.fill(&mut items)?;
                ended = items.is_done();
            }
            if ended && self.waiting.is_none() {
                self.form.end(&mut self.frame, self.first)?;
                return Ok(Some(std::mem::take(&mut self.frame).into()));
            }
            self.items = Some(items);
        }
        if self.frame.is_empty() {
            return Ok(self.waiting.take());
        }
        Ok(Some(std::mem::take(&mut self.frame).into()))
    }

    /// The same where a webhook has to be asked for further items.
    async fn next_awaited(&mut self) -> Option<Result<Bytes, Status>> {
        if self.waiting.is_none()
            && let Some(items) = &mut self.items
            && let Err(status) = items.prepare().await
        {
            self.items = None;
            self.frame.clear();
            return Some(Err(status));
        }
        self.next()
    }

    fn fill(&mut self, items: &mut Items) -> Result<(), Status> {
        let mut outcome = Ok(());
        items.read(|object| match self.take(object) {
            Ok(more) => more,
            Err(status) => {
                outcome = Err(status);
                false
            }
        })?;
        outcome
    }

    /// Takes an item; true where one more has room.
    fn take(&mut self, object: &Object) -> Result<bool, Status> {
        // Makes room for a whole frame, where items are joined.
        if object.json().len() < SMALL_BYTES && self.frame.capacity() < FRAME_BYTES {
            self.frame.reserve_exact(FRAME_BYTES - self.frame.len());
        }
        let first = std::mem::take(&mut self.first);
        self.waiting = self.form.item(&mut self.frame, object, first)?;
        Ok(self.waiting.is_none() && self.frame.len() + BETWEEN + SMALL_BYTES <= FRAME_BYTES)
    }
}
