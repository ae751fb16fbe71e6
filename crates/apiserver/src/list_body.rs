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
    Objects(VecDeque<Object>),
}

impl Source {
    /// Shows `take` one item after the other until it returns false (which has taken that one). True at the end.
    fn read(&mut self, mut take: impl FnMut(&Object) -> bool) -> bool {
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

/// What an item of the list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// The object; of built-in kinds without kind and version.
    Object,
    /// `PartialObjectMetadata`, which begins with this.
    Metadata(&'static str),
}

/// A list whose answer begins with `head`, up to and with the bracket that opens its items.
pub fn body(served: Arc<Served>, head: String, source: Source, item: Item) -> Body {
    let mut frames = Frames {
        served,
        item,
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
    item: Item,
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
            // Reading may leave a long object waiting, also the last one.
            let ended = self.waiting.is_none() && source.read(|object| self.take(object));
            if ended && self.waiting.is_none() {
                self.frame.extend_from_slice(b"]}\n");
                return Some(std::mem::take(&mut self.frame).into());
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
    fn take(&mut self, object: &Object) -> bool {
        if !std::mem::take(&mut self.first) {
            self.frame.push(b',');
        }
        match self.item {
            Item::Metadata(head) => {
                self.grow();
                self.frame.extend_from_slice(head.as_bytes());
                // An object that was stored has metadata.
                let metadata = object.metadata();
                self.frame.extend_from_slice(metadata.unwrap_or(b"{}"));
                self.frame.push(b'}');
            }
            Item::Object => {
                if let Some(long) = self.take_whole(object) {
                    self.waiting = Some(long);
                    return false;
                }
            }
        }
        self.frame.len() + COMMA + SMALL_BYTES <= FRAME_BYTES
    }

    /// Appends an object, or gives back what of it is long enough to go as it is.
    fn take_whole(&mut self, object: &Object) -> Option<Bytes> {
        let json = object.json();
        let head = self.served.item_head.as_bytes();
        let skipped = match self.served.custom {
            Some(_) => 0,
            None if json.starts_with(head) => {
                self.frame.push(b'{');
                head.len()
            }
            None => {
                items::write(&mut self.frame, json);
                return None;
            }
        };
        if json.len() >= SMALL_BYTES {
            return Some(object.bytes().slice(skipped..));
        }
        self.grow();
        self.frame.extend_from_slice(&json[skipped..]);
        None
    }

    /// Makes room for a whole frame, once there is more than punctuation in it.
    fn grow(&mut self) {
        if self.frame.capacity() < FRAME_BYTES {
            self.frame.reserve_exact(FRAME_BYTES - self.frame.len());
        }
    }
}
