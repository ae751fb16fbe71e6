//! A list in JSON as frames that are made while they are sent: long objects are the watch cache's own buffers, short ones
//! are joined. Nothing of it grows with the list.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use corten_registry::{Cursor, Object};

use crate::body::Body;
use crate::catalog::Served;
use crate::items;

/// What short objects are joined to: what one write to a TLS connection takes.
const FRAME_BYTES: usize = 64 * 1024;
/// Objects shorter than this are joined: one frame costs more than copying so little.
const SMALL_BYTES: usize = 8 * 1024;
/// Between objects.
const COMMA: usize = 1;

/// Where the items come from.
pub enum Source {
    /// The watch cache, piece by piece.
    Cursor(Box<Cursor>),
    /// Objects at hand.
    Objects(VecDeque<Arc<Object>>),
}

impl Source {
    /// Shows `take` one item after the other until it returns false (which has taken that one). True at the end.
    fn read(&mut self, mut take: impl FnMut(&Arc<Object>) -> bool) -> bool {
        match self {
            Self::Cursor(cursor) => {
                cursor.read(take);
                cursor.is_done()
            }
            Self::Objects(objects) => {
                while let Some(object) = objects.pop_front() {
                    if !take(&object) {
                        return objects.is_empty();
                    }
                }
                true
            }
        }
    }
}

/// A list whose answer begins with `head`, up to and with the bracket that opens its items.
pub fn body(served: Arc<Served>, head: String, source: Source) -> Body {
    let mut frames = Frames {
        served,
        source: Some(source),
        frame: head.into_bytes(),
        first: true,
        waiting: None,
    };
    match frames.next() {
        Some(only) if frames.source.is_none() && frames.waiting.is_none() => Body::Full(only),
        Some(first) => Body::Frames(Box::new(std::iter::once(first).chain(frames))),
        None => Body::Empty,
    }
}

struct Frames {
    served: Arc<Served>,
    /// None once its end has been written.
    source: Option<Source>,
    /// What is to be sent first.
    frame: Vec<u8>,
    /// No item was written yet.
    first: bool,
    /// A long object, sent after `frame`.
    waiting: Option<Bytes>,
}

impl Iterator for Frames {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(long) = self.waiting.take_if(|_| self.frame.is_empty()) {
            return Some(long);
        }
        if let Some(mut source) = self.source.take() {
            if self.waiting.is_none() {
                if source.read(|object| self.take(&object.bytes)) && self.waiting.is_none() {
                    self.frame.extend_from_slice(b"]}\n");
                    return Some(std::mem::take(&mut self.frame).into());
                }
            }
            self.source = Some(source);
        }
        if self.frame.is_empty() {
            return self.waiting.take();
        }
        Some(std::mem::take(&mut self.frame).into())
    }
}

impl Frames {
    /// Takes an object; true where one more has room.
    fn take(&mut self, object: &Bytes) -> bool {
        if !std::mem::take(&mut self.first) {
            self.frame.push(b',');
        }
        let head = if self.served.custom.is_some() {
            Some(0)
        } else {
            object
                .starts_with(self.served.item_head.as_bytes())
                .then_some(self.served.item_head.len())
        };
        match head {
            Some(skipped) => {
                if skipped > 0 {
                    self.frame.push(b'{');
                }
                if object.len() >= SMALL_BYTES {
                    self.waiting = Some(object.slice(skipped..));
                    return false;
                }
                if self.frame.capacity() < FRAME_BYTES {
                    self.frame.reserve_exact(FRAME_BYTES - self.frame.len());
                }
                self.frame.extend_from_slice(&object[skipped..]);
            }
            None => items::write(&mut self.frame, object),
        }
        self.frame.len() + COMMA + SMALL_BYTES <= FRAME_BYTES
    }
}
