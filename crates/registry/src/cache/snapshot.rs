//! The objects of one resource at one revision: never changes, shared by whoever reads it.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::cursor::Cursor;
use crate::filter::Filter;
use crate::object::Object;

/// Objects by `namespace/name`, in the order of their store keys.
pub(crate) type Objects = OrdMap<Arc<str>, Arc<Object>>;

#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    pub objects: Objects,
    /// The revision of the last change in here.
    pub changed: u64,
}

impl Snapshot {
    pub fn get(&self, key: &str) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// Everything the filter lets through.
    pub fn select(self: &Arc<Self>, filter: &Filter) -> Vec<Arc<Object>> {
        let mut items = Vec::new();
        Cursor::new(Arc::clone(self), filter.clone(), "", None).read(|object| {
            items.push(Arc::clone(object));
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
        let from = Bound::Included(if start > prefix.as_str() { start } else { &prefix });
        let everything = filter.is_everything();
        let mut rest = self
            .objects
            .range::<_, str>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&prefix))
            .filter(|(_, object)| everything || filter.matches(object));
        let (last, _) = rest.nth(limit - 1)?;
        rest.next()?;
        let remaining = if everything { 1 + rest.count() as u64 } else { 1 };
        Some((Arc::clone(last), remaining))
    }
}
