//! Second encodings of objects (protobuf), kept while they are among the last that were made: a watcher's event is encoded
//! once for all watchers, and no client's choice of encoding doubles the watch cache.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use bytes::Bytes;
use corten_meta::Result;
use parking_lot::{Mutex, RwLock};

/// Bytes of encodings that are kept, of all objects together; the oldest go first.
const ENCODINGS_BYTES_MAX: usize = 16 << 20;
/// What keeping one costs besides its bytes, about.
const ENTRY_BYTES: usize = 96;

static KEPT: RwLock<Kept> = RwLock::new(Kept::new());

/// One of these is held while an object is encoded: which one, its address decides.
static MAKING: [Mutex<()>; 64] = [const { Mutex::new(()) }; 64];

/// The newest encodings, numbered in the order in which they were made.
struct Kept {
    /// The number of the oldest; the first ever is 1.
    oldest: u64,
    order: VecDeque<Bytes>,
    bytes: usize,
}

/// The encoding of one object, if it is kept: its number, 0 before there was one. Every object in the cache has this.
#[derive(Debug, Default)]
pub(crate) struct Encoding(AtomicU64);

impl Encoding {
    /// The encoding: made by the first caller, for whom others wait.
    pub fn get_or(&self, encode: impl FnOnce() -> Result<Bytes>) -> Result<Bytes> {
        if let Some(bytes) = self.kept() {
            return Ok(bytes);
        }
        let place = std::ptr::from_ref(self).addr() / 64 % MAKING.len();
        let _one = MAKING[place].lock();
        if let Some(bytes) = self.kept() {
            return Ok(bytes);
        }
        let made = encode()?;
        let number = KEPT.write().keep(made.clone(), ENCODINGS_BYTES_MAX);
        self.0.store(number, Release);
        Ok(made)
    }

    fn kept(&self) -> Option<Bytes> {
        match self.0.load(Acquire) {
            0 => None,
            number => KEPT.read().get(number),
        }
    }
}

impl Kept {
    const fn new() -> Self {
        Self {
            oldest: 1,
            order: VecDeque::new(),
            bytes: 0,
        }
    }

    fn get(&self, number: u64) -> Option<Bytes> {
        let at = number.checked_sub(self.oldest)?;
        self.order.get(usize::try_from(at).ok()?).cloned()
    }

    /// Its number.
    fn keep(&mut self, made: Bytes, most: usize) -> u64 {
        let number = self.oldest + self.order.len() as u64;
        self.bytes += made.len() + ENTRY_BYTES;
        self.order.push_back(made);
        while self.bytes > most
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= oldest.len() + ENTRY_BYTES;
            self.oldest += 1;
        }
        number
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_oldest_go_at_the_bound() {
        let mut kept = Kept::new();
        for n in 0..10 {
            let made = Bytes::from(vec![n; 1000]);
            let number = kept.keep(made.clone(), 5000);
            assert_eq!((number, kept.get(number)), (u64::from(n) + 1, Some(made)));
            assert!(kept.bytes <= 5000);
        }
        let there = (1..=10).filter(|number| kept.get(*number).is_some());
        assert_eq!(there.collect::<Vec<_>>(), [7, 8, 9, 10]);
        assert_eq!(kept.get(11), None);
        let large = kept.keep(Bytes::from(vec![0; 6000]), 5000);
        assert_eq!((kept.get(large), kept.bytes, kept.order.len()), (None, 0, 0));
    }

    #[test]
    fn one_encoding_is_shared() {
        let encoding = Encoding::default();
        assert!(
            encoding
                .get_or(|| Err(corten_meta::Status::internal("x")))
                .is_err()
        );
        let first = encoding.get_or(|| Ok(Bytes::from_static(b"a"))).unwrap();
        let second = encoding.get_or(|| panic!("encoded again")).unwrap();
        assert_eq!(first, second);
        let other = Encoding::default();
        assert_eq!(other.get_or(|| Ok(Bytes::from_static(b"b"))).unwrap(), "b");
        assert_eq!(encoding.get_or(|| panic!("encoded again")).unwrap(), "a");
    }

    /// Who comes while it is being made waits for it.
    #[test]
    fn it_is_made_once() {
        let (encoding, made) = (Encoding::default(), AtomicU64::new(0));
        let all = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    all.wait();
                    let encode = || {
                        made.fetch_add(1, Release);
                        Ok(Bytes::from_static(b"c"))
                    };
                    assert_eq!(encoding.get_or(encode).unwrap(), "c");
                });
            }
        });
        assert_eq!(made.load(Acquire), 1);
    }
}
