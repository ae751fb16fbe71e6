//! A list read piece by piece: it holds the snapshot it began with and a place in it, never its items.

use std::ops::Bound;
use std::sync::Arc;

use crate::cache::Snapshot;
use crate::filter::Filter;
use crate::object::Object;

/// What is left of a list. Consistent at the revision it was opened at, however long reading takes.
#[derive(Clone)]
pub(crate) struct Cursor {
    snapshot: Arc<Snapshot>,
    filter: Filter,
    prefix: String,
    /// Where to go on.
    next: Bound<Arc<str>>,
    /// Key of the last item, where that is not the snapshot's last match.
    last: Option<Arc<str>>,
    done: bool,
}

impl Cursor {
    /// Everything that matches from the first key not below `start` on, up to the key `last`.
    pub(crate) fn new(snapshot: Arc<Snapshot>, filter: Filter, start: &str, last: Option<Arc<str>>) -> Self {
        let prefix = filter.key_prefix();
        let start = if start > prefix.as_str() { start } else { &prefix };
        let next = Bound::Included(Arc::from(start));
        Self {
            snapshot,
            filter,
            prefix,
            next,
            last,
            done: false,
        }
    }

    /// Shows `take` one item after the other until it returns false (which has taken that one) or none is left.
    pub fn read(&mut self, mut take: impl FnMut(&Object) -> bool) {
        if self.done {
            return;
        }
        if let Some(key) = self.filter.single_key() {
            self.done = true;
            let found = self
                .snapshot
                .get(&key)
                .filter(|object| self.filter.matches(object));
            let within = matches!(&self.next, Bound::Included(start) if **start <= *key);
            if let Some(object) = found.filter(|_| within) {
                take(object);
            }
            return;
        }
        let from = match &self.next {
            Bound::Included(key) => Bound::Included(key.as_bytes()),
            Bound::Excluded(key) => Bound::Excluded(key.as_bytes()),
            Bound::Unbounded => Bound::Unbounded,
        };
        let mut rest = self
            .snapshot
            .objects
            .range::<_, [u8]>((from, Bound::Unbounded))
            .take_while(|object| object.key_bytes().starts_with(self.prefix.as_bytes()));
        let selects = !self.filter.is_everything();
        let last = self.last.as_deref().map(str::as_bytes);
        let mut stopped = None;
        for object in rest.by_ref() {
            if selects && !self.filter.matches(object) {
                continue;
            }
            let more = take(object);
            if last == Some(object.key_bytes()) {
                break;
            }
            if !more {
                stopped = Some(Arc::from(object.key()));
                break;
            }
        }
        drop(rest);
        match stopped {
            Some(key) => self.next = Bound::Excluded(key),
            None => self.done = true,
        }
    }

    /// Nothing is left. May be false although nothing is: the end is seen when it is reached.
    pub fn is_done(&self) -> bool {
        self.done
    }
}
