//! A list read piece by piece: it holds the snapshot it began with and a place in it, never its items.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use corten_meta::Result;

use crate::cache::Snapshot;
use crate::filter::Filter;
use crate::object::Object;
use crate::resource::Resource;

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

/// One page of a list whose items are read piece by piece.
pub struct OpenPage {
    /// The resourceVersion of the list.
    pub revision: u64,
    /// For the page after this, "" if there is none.
    pub continue_token: String,
    /// Items after this page, where that is known.
    pub remaining: Option<u64>,
    pub items: Items,
}

/// What is left of a page's items, in the version of the handle they were asked of.
#[derive(Clone)]
pub struct Items {
    resource: Resource,
    source: Source,
}

#[derive(Clone)]
enum Source {
    /// The watch cache, piece by piece.
    Cursor(Box<Cursor>),
    /// Objects at hand.
    Objects(VecDeque<Object>),
}

impl Items {
    pub(crate) fn of_cursor(resource: &Resource, cursor: Cursor) -> Self {
        Self {
            resource: resource.clone(),
            source: Source::Cursor(Box::new(cursor)),
        }
    }

    /// Objects of a resource that are at hand.
    pub fn of_objects(resource: &Resource, objects: Vec<Object>) -> Self {
        Self {
            resource: resource.clone(),
            source: Source::Objects(objects.into()),
        }
    }

    /// Shows `take` one item after the other until it returns false (which has taken that one) or none is left.
    ///
    /// # Errors
    /// Where an object cannot be converted: nothing is to be made of the rest.
    pub fn read(&mut self, mut take: impl FnMut(&Object) -> bool) -> Result<()> {
        let mut outcome = Ok(());
        let mut take = |object: &Object| match self.resource.at_once_in_version(object) {
            Ok(None) => take(object),
            Ok(Some(converted)) => take(&converted),
            Err(status) => {
                outcome = Err(status);
                false
            }
        };
        match &mut self.source {
            Source::Cursor(cursor) => cursor.read(take),
            Source::Objects(objects) => {
                while let Some(object) = objects.pop_front()
                    && take(&object)
                {}
            }
        }
        outcome
    }

    /// Nothing is left. May be false although nothing is: the end is seen when it is reached.
    pub fn is_done(&self) -> bool {
        match &self.source {
            Source::Cursor(cursor) => cursor.done,
            Source::Objects(objects) => objects.is_empty(),
        }
    }

    /// The same items, converted now where a webhook has to be asked: what it refuses fails the list, not its stream.
    pub(crate) async fn in_version(self) -> Result<Self> {
        if !self.resource.asks() {
            return Ok(self);
        }
        let Source::Cursor(mut cursor) = self.source else {
            return Ok(self);
        };
        let mut others = false;
        cursor.clone().read(|object| {
            others = !self.resource.has_version(object);
            !others
        });
        if !others {
            let source = Source::Cursor(cursor);
            return Ok(Self { source, ..self });
        }
        let mut objects = Vec::new();
        cursor.read(|object| {
            objects.push(object.clone());
            true
        });
        let objects = self.resource.all_in_version(objects).await?;
        Ok(Self::of_objects(&self.resource, objects))
    }
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
