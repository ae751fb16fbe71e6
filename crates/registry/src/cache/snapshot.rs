//! The objects of one resource at one revision: never changes, shared by whoever reads it.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdSet;

use crate::cursor::Cursor;
use crate::filter::Filter;
use crate::object::Object;

/// Objects by `namespace/name`, in the order of their store keys.
pub(crate) type Objects = OrdSet<Object>;

#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    pub objects: Objects,
    /// The revision of the last change in here.
    pub changed: u64,
}

impl Snapshot {
    pub fn get(&self, key: &str) -> Option<&Object> {
        self.objects.get(key.as_bytes())
    }

    /// Everything the filter lets through.
    pub fn select(self: &Arc<Self>, filter: &Filter) -> Vec<Object> {
        let mut items = Vec::new();
        Cursor::new(Arc::clone(self), filter.clone(), "", None).read(|object| {
            items.push(object.clone());
            true
        });
        items
    }

    /// Where a page of at most `limit` items (not 0) ends, if more follow it, and how many; those are counted only
    /// without selectors.
    pub fn cut(&self, filter: &Filter, start: &str, limit: usize) -> Option<(Arc<str>, u64)> {
        if filter.single_key().is_some() {
            return None;
        }
        let prefix = filter.key_prefix();
        let from = if start > prefix.as_str() { start } else { &prefix };
        let from = Bound::Included(from.as_bytes());
        let everything = filter.is_everything();
        let mut rest = self
            .objects
            .range::<_, [u8]>((from, Bound::Unbounded))
            .take_while(|object| object.key().starts_with(&prefix))
            .filter(|object| everything || filter.matches(object));
        let last = rest.nth(limit - 1)?;
        rest.next()?;
        let remaining = if everything { 1 + rest.count() as u64 } else { 1 };
        Some((Arc::from(last.key()), remaining))
    }
}
