//! Equal values once: what thousands of objects have in common is kept one time and shared.
//!
//! A table holds weak references only, so that a value goes with the last object that has it; what is left of it in the
//! table goes when the table next grows.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// Values kept under one hash; beyond it a value is not shared. Only values that differ in what their hash leaves out
/// meet here.
const MAX_ALIKE: usize = 16;
/// Tables this small are not swept.
const SMALL: usize = 256;

struct Slots<T: ?Sized> {
    by_hash: HashMap<u64, Vec<Weak<T>>>,
    /// The size at which dropped values are looked for: twice what lived when they last were.
    sweep_at: usize,
}

/// A table of shared values. Bounded by the values alive: dropped ones are never more than half of it.
pub(crate) struct Table<T: ?Sized> {
    hasher: RandomState,
    slots: Mutex<Slots<T>>,
}

impl<T: ?Sized> Default for Table<T> {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            slots: Mutex::new(Slots {
                by_hash: HashMap::new(),
                sweep_at: SMALL,
            }),
        }
    }
}

impl<T: ?Sized + PartialEq> Table<T> {
    /// The shared value equal to this one. Equal values must give equal hashes.
    pub fn share<V>(&self, value: V, hash: impl FnOnce(&T, &mut DefaultHasher)) -> Arc<T>
    where
        V: Borrow<T> + Into<Arc<T>>,
    {
        let mut hasher = self.hasher.build_hasher();
        hash(value.borrow(), &mut hasher);
        let key = hasher.finish();
        let mut slots = self.slots.lock();
        let alike = slots.by_hash.get(&key).into_iter().flatten();
        if let Some(found) = alike
            .filter_map(Weak::upgrade)
            .find(|known| **known == *value.borrow())
        {
            return found;
        }
        let shared = value.into();
        slots.remember(key, &shared);
        shared
    }
}

impl<T: ?Sized> Slots<T> {
    fn remember(&mut self, key: u64, value: &Arc<T>) {
        if self.by_hash.len() >= self.sweep_at {
            self.sweep();
        }
        let alike = self.by_hash.entry(key).or_default();
        alike.retain(|known| known.strong_count() > 0);
        if alike.len() < MAX_ALIKE {
            alike.reserve_exact(1);
            alike.push(Arc::downgrade(value));
        }
    }

    fn sweep(&mut self) {
        self.by_hash.retain(|_, alike| {
            alike.retain(|value| value.strong_count() > 0);
            !alike.is_empty()
        });
        self.sweep_at = (self.by_hash.len() * 2).max(SMALL);
        self.by_hash.shrink_to(self.sweep_at);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hash;

    use super::*;

    #[test]
    fn equal_values_are_one_and_go_with_their_last_holder() {
        let table: Table<str> = Table::default();
        let share = |text: &str| table.share(text, |text, hasher| text.hash(hasher));
        let (first, second) = (share("a"), share("a"));
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &share("b")));
        for number in 0..10 * SMALL {
            share(&number.to_string());
        }
        let slots = table.slots.lock();
        assert!(slots.by_hash.len() <= SMALL, "{}", slots.by_hash.len());
        drop(slots);
        assert!(Arc::ptr_eq(&first, &share("a")));
    }

    #[test]
    fn values_whose_hashes_leave_something_out_are_told_apart() {
        let table: Table<(u8, u8)> = Table::default();
        let share = |value: (u8, u8)| table.share(value, |value, hasher| value.0.hash(hasher));
        let all: Vec<_> = (0..MAX_ALIKE as u8 + 2).map(|n| share((0, n))).collect();
        assert!(all.iter().zip(0..).all(|(value, n)| **value == (0, n)));
        assert!(Arc::ptr_eq(&all[1], &share((0, 1))));
    }
}
