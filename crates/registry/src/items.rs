//! The items of a list's page in the version of the handle they were asked of, read piece by piece. Where a webhook converts
//! them, so many are at hand as one review takes; the next are asked for when those have been read.

use std::collections::VecDeque;

use corten_meta::{Result, Status};

use crate::converted::{CONVERTED_TOGETHER, CONVERTED_TOGETHER_BYTES};
use crate::cursor::Cursor;
use crate::filter::Filter;
use crate::object::Object;
use crate::resource::Resource;

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

/// What is left of a page's items.
#[derive(Clone)]
pub struct Items {
    resource: Resource,
    source: Source,
    /// Where a webhook has to be asked.
    asking: Option<Box<Asking>>,
}

#[derive(Clone)]
enum Source {
    /// The watch cache, piece by piece.
    Cursor(Box<Cursor>),
    /// Objects at hand.
    Objects(VecDeque<Object>),
}

/// Items that a webhook converts, and of those what it is to select.
#[derive(Clone, Default)]
struct Asking {
    filter: Option<Filter>,
    /// Converted.
    ready: VecDeque<Object>,
}

impl Source {
    fn read(&mut self, mut take: impl FnMut(&Object) -> bool) {
        match self {
            Self::Cursor(cursor) => cursor.read(take),
            Self::Objects(objects) => {
                while let Some(object) = objects.pop_front()
                    && take(&object)
                {}
            }
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Cursor(cursor) => cursor.is_done(),
            Self::Objects(objects) => objects.is_empty(),
        }
    }

    /// So many as go into one review.
    fn batch(&mut self) -> Vec<Object> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        self.read(|object| {
            bytes += object.json().len();
            batch.push(object.clone());
            batch.len() < CONVERTED_TOGETHER && bytes < CONVERTED_TOGETHER_BYTES
        });
        batch
    }
}

impl Items {
    pub(crate) fn of_cursor(resource: &Resource, cursor: Cursor) -> Self {
        Self::new(resource, Source::Cursor(Box::new(cursor)))
    }

    /// Objects of a resource that are at hand.
    pub fn of_objects(resource: &Resource, objects: Vec<Object>) -> Self {
        Self::new(resource, Source::Objects(objects.into()))
    }

    fn new(resource: &Resource, source: Source) -> Self {
        Self {
            resource: resource.clone(),
            source,
            asking: None,
        }
    }

    /// Of these what the filter selects when a webhook has converted it.
    pub(crate) fn selected_late(self, filter: &Filter) -> Self {
        let (filter, ready) = (Some(filter.clone()), VecDeque::new());
        let asking = Some(Box::new(Asking { filter, ready }));
        Self { asking, ..self }
    }

    /// There are more than are at hand: [`Items::prepare`] has to be waited for.
    pub fn asks(&self) -> bool {
        self.asking.is_some() && !self.source.is_done()
    }

    /// Shows `take` one item after the other until it returns false (which has taken that one) or none is left; of items
    /// that a webhook converts, until none is at hand ([`Items::prepare`]).
    ///
    /// # Errors
    /// Where an object cannot be converted: nothing is to be made of the rest.
    pub fn read(&mut self, mut take: impl FnMut(&Object) -> bool) -> Result<()> {
        if let Some(asking) = &mut self.asking {
            if asking.ready.is_empty() && !self.source.is_done() {
                return Err(Status::internal("items are read before they are converted"));
            }
            while let Some(object) = asking.ready.pop_front()
                && take(&object)
            {}
            return Ok(());
        }
        let mut outcome = Ok(());
        self.source
            .read(|object| match self.resource.at_once_in_version(object) {
                Ok(None) => take(object),
                Ok(Some(converted)) => take(&converted),
                Err(status) => {
                    outcome = Err(status);
                    false
                }
            });
        outcome
    }

    /// Nothing is left. May be false although nothing is: the end is seen when it is reached.
    pub fn is_done(&self) -> bool {
        self.source.is_done() && self.asking.as_ref().is_none_or(|asking| asking.ready.is_empty())
    }

    /// Waits until an item is at hand, or none is left.
    ///
    /// # Errors
    /// Where a webhook fails or gives something else.
    pub async fn prepare(&mut self) -> Result<()> {
        let Some(asking) = &mut self.asking else {
            return Ok(());
        };
        while asking.ready.is_empty() && !self.source.is_done() {
            let batch = self.source.batch();
            let Some(filter) = &asking.filter else {
                asking.ready = self.resource.all_in_version(batch).await?.into();
                continue;
            };
            let converted = self.resource.all_in_version(batch.clone()).await?;
            for (cached, converted) in batch.iter().zip(converted) {
                if filter.selects_converted(cached, &converted)? {
                    asking.ready.push_back(converted);
                }
            }
        }
        Ok(())
    }

    /// The same items, the first of them converted where a webhook has to be asked: what it refuses of them fails the list,
    /// not its stream.
    pub(crate) async fn in_version(mut self) -> Result<Self> {
        if self.resource.asks() && self.asking.is_none() {
            let mut others = false;
            self.source.clone().read(|object| {
                others = !self.resource.has_version(object);
                !others
            });
            self.asking = others.then(Box::default);
        }
        self.prepare().await?;
        Ok(self)
    }
}
