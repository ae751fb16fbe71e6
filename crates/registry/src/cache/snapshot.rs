//! The objects of one resource at one revision: never changes, shared by whoever reads it.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

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

/// A part of a list.
pub(crate) struct Page {
    pub items: Vec<Arc<Object>>,
    /// Key of the last item, when more follow.
    pub cut_after: Option<Arc<str>>,
    /// Items that follow, counted only when asked for.
    pub remaining: u64,
}

impl Snapshot {
    pub fn get(&self, key: &str) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// Everything the filter lets through.
    pub fn select(&self, filter: &Filter) -> Vec<Arc<Object>> {
        self.page(filter, "", 0).items
    }

    /// At most `limit` matching objects (0 for all), beginning with the first key not below `start`.
    pub fn page(&self, filter: &Filter, start: &str, limit: usize) -> Page {
        let mut page = Page {
            items: Vec::new(),
            cut_after: None,
            remaining: 0,
        };
        if let Some(key) = filter.single_key() {
            let found = self
                .objects
                .get(key.as_str())
                .filter(|object| filter.matches(object));
            page.items
                .extend(found.filter(|_| start <= key.as_str()).cloned());
            return page;
        }
        let prefix = filter.key_prefix();
        let from = if start > prefix.as_str() {
            start
        } else {
            prefix.as_str()
        };
        let keys = (Bound::Included(from), Bound::<&str>::Unbounded);
        let everything = filter.is_everything();
        let mut rest = self
            .objects
            .range::<_, str>(keys)
            .take_while(|(key, _)| key.starts_with(&prefix));
        for (_, object) in rest.by_ref() {
            if limit != 0 && page.items.len() == limit {
                // With selectors the rest need not match: one match is enough to say that more follows.
                if everything || filter.matches(object) {
                    page.cut_after = page.items.last().map(|last| Arc::clone(&last.key));
                    page.remaining = 1;
                    break;
                }
                continue;
            }
            if filter.matches(object) {
                page.items.push(Arc::clone(object));
            }
        }
        if everything && page.cut_after.is_some() {
            page.remaining += rest.count() as u64;
        }
        page
    }
}
