//! Second encodings of objects (protobuf), kept while they are among the last that were made: a watcher's event is encoded
//! once for all watchers, and no client's choice of encoding doubles the watch cache.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use corten_meta::Result;
use parking_lot::Mutex;

/// Bytes of encodings that are kept, of all objects together; the oldest go first.
const ENCODINGS_BYTES_MAX: usize = 16 << 20;
/// What keeping one costs besides its bytes, about.
const ENTRY_BYTES: usize = 96;

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    order: VecDeque::new(),
    bytes: 0,
});

struct Kept {
    order: VecDeque<Arc<Bytes>>,
    bytes: usize,
}

/// The encoding of one object, if it is kept.
#[derive(Debug, Default)]
pub(crate) struct Encoding(Mutex<Weak<Bytes>>);

impl Encoding {
    /// The encoding: made by the first caller, for whom others wait.
    pub fn get_or(&self, encode: impl FnOnce() -> Result<Bytes>) -> Result<Bytes> {
        let mut known = self.0.lock();
        if let Some(bytes) = known.upgrade() {
            return Ok(Bytes::clone(&bytes));
        }
        let made = Arc::new(encode()?);
        *known = Arc::downgrade(&made);
        let bytes = Bytes::clone(&made);
        KEPT.lock().keep(made, ENCODINGS_BYTES_MAX);
        Ok(bytes)
    }
}

impl Kept {
    fn keep(&mut self, made: Arc<Bytes>, most: usize) {
        self.bytes += made.len() + ENTRY_BYTES;
        self.order.push_back(made);
        while self.bytes > most
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= oldest.len() + ENTRY_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_oldest_go_at_the_bound() {
        let mut kept = Kept {
            order: VecDeque::new(),
            bytes: 0,
        };
        let made = |n: u8| Arc::new(Bytes::from(vec![n; 1000]));
        let weak: Vec<Weak<Bytes>> = (0..10)
            .map(|n| {
                let made = made(n);
                let weak = Arc::downgrade(&made);
                kept.keep(made, 5000);
                assert!(kept.bytes <= 5000);
                weak
            })
            .collect();
        let alive = weak.iter().filter(|weak| weak.upgrade().is_some()).count();
        assert_eq!((alive, kept.order.len()), (4, 4));
        assert!(weak[9].upgrade().is_some());
    }

    #[test]
    fn one_encoding_is_shared() {
        let encoding = Encoding::default();
        let first = encoding.get_or(|| Ok(Bytes::from_static(b"a"))).unwrap();
        let second = encoding.get_or(|| panic!("encoded again")).unwrap();
        assert_eq!(first, second);
    }
}
