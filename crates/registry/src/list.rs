//! Lists: pages of one moment, whose items are read piece by piece.

use std::sync::Arc;

use corten_meta::field::{Error as FieldError, ErrorList, Path};
use corten_meta::{Result, Status};

use crate::cache::Snapshot;
use crate::cursor::Cursor;
use crate::dispatch;
use crate::errors::{continue_expired, list_expired, store_error};
use crate::filter::Filter;
use crate::items::{Items, OpenPage};
use crate::object::Object;
use crate::options::{ListOptions, ListPage, VersionMatch};
use crate::read::{list_options_invalid, parse_version};
use crate::registry::Registry;
use crate::resource::Resource;
use crate::token::Token;

/// Of a page of at most so many items with selectors the items are picked out, so that each object is matched once; of
/// a longer one only the end is sought, and its items are matched again when they are read.
const PICKED_MAX: usize = 1000;

/// Which state a list shows.
enum Moment {
    /// The newest, with nothing missing.
    Newest,
    /// Not older than this; 0 for anything.
    NotOlderThan(u64),
    Exactly(u64),
}

/// A page's items, and its last key and how many follow (where that is known) if there is a page after it.
struct Cut {
    items: Items,
    follow: Option<(Arc<str>, Option<u64>)>,
}

impl Registry {
    /// One page, consistent at its revision.
    pub async fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<ListPage> {
        let mut page = self.open_list(resource, namespace, options).await?;
        let mut items = Vec::new();
        while !page.items.is_done() {
            page.items.prepare().await?;
            page.items.read(|object| {
                items.push(object.clone());
                true
            })?;
        }
        Ok(ListPage {
            revision: page.revision,
            items,
            continue_token: page.continue_token,
            remaining: page.remaining,
        })
    }

    /// One page, to be read piece by piece. What a webhook has to convert is converted a review at a time
    /// ([`Items::prepare`]), the first now.
    pub async fn open_list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<OpenPage> {
        self.metrics.lists.add(1);
        check_list(options)?;
        let filter = Filter::new(
            resource,
            namespace,
            options.label_selector.as_ref(),
            options.field_selector.as_ref(),
        )?;
        let prefix = filter.key_prefix();
        let token = match options.continue_token.as_str() {
            "" => None,
            token => Some(Token::decode(token)?),
        };
        let moment = moment(options, token.as_ref())?;
        let start = token
            .as_ref()
            .map(|token| format!("{prefix}{}", token.start.trim_start_matches('/')))
            .unwrap_or_default();
        let found = self.snapshot_at(resource, moment).await;
        let (snapshot, revision) = found.map_err(|status| self.expired(status, token))?;
        let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
        let cut = cut(resource, &snapshot, filter, &start, limit).await?;
        let (mut continue_token, mut remaining) = (String::new(), None);
        if let Some((last, follow)) = cut.follow {
            let last = last.strip_prefix(&prefix).unwrap_or(&last);
            continue_token = Token::after(last, i64::try_from(revision).unwrap_or(i64::MAX)).encode();
            remaining = follow;
            resource.cache().pin(revision, &snapshot);
        }
        Ok(OpenPage {
            revision,
            continue_token,
            remaining,
            items: cut.items.in_version().await?,
        })
    }

    /// A page that is gone offers a token that goes on at the newest revision.
    fn expired(&self, status: Status, token: Option<Token>) -> Status {
        if status.code != 410 {
            return status;
        }
        self.metrics.lists_expired.add(1);
        match token {
            Some(token) => continue_expired(
                Token {
                    revision: -1,
                    ..token
                }
                .encode(),
            ),
            None => status,
        }
    }

    async fn snapshot_at(&self, resource: &Resource, moment: Moment) -> Result<(Arc<Snapshot>, u64)> {
        let applied = match moment {
            Moment::Newest => self.wait_current().await?,
            Moment::NotOlderThan(revision) | Moment::Exactly(revision) => self.wait_applied(revision).await?,
        };
        if let Moment::Exactly(revision) = moment {
            self.check_readable(revision).await?;
        }
        let newest = resource.cache().snapshot();
        match moment {
            Moment::Exactly(revision) if newest.changed <= revision => Ok((newest, revision)),
            Moment::Exactly(revision) => Ok((self.old_snapshot(resource, revision).await?, revision)),
            // Nothing of the resource changed between its last change and what is applied.
            _ => {
                let revision = newest.changed.max(applied);
                Ok((newest, revision))
            }
        }
    }

    /// What the store has forgotten is gone, also where nothing has changed since: clients count on tokens to expire.
    async fn check_readable(&self, revision: u64) -> Result<()> {
        let compacted = self.store.compacted_revision().await;
        if revision < compacted.map_err(|error| store_error(&error))? {
            return Err(list_expired());
        }
        Ok(())
    }

    async fn old_snapshot(&self, resource: &Resource, revision: u64) -> Result<Arc<Snapshot>> {
        if let Some(pinned) = resource.cache().pinned(revision) {
            return Ok(pinned);
        }
        let snapshot = Arc::new(dispatch::load(self.store.as_ref(), resource, revision).await?);
        resource.cache().pin(revision, &snapshot);
        Ok(snapshot)
    }
}

/// The page of at most `limit` items (0: all) from the key `start` on.
async fn cut(
    resource: &Resource,
    snapshot: &Arc<Snapshot>,
    filter: Filter,
    start: &str,
    limit: usize,
) -> Result<Cut> {
    let everything = filter.is_everything();
    let cursor = |last| Cursor::new(Arc::clone(snapshot), filter.clone(), start, last);
    if filter.is_late() {
        return select_converted(resource, cursor, &filter, limit).await;
    }
    if limit > 0 && limit <= PICKED_MAX && !everything {
        let (mut picked, mut follows) = (Vec::new(), false);
        cursor(None).read(|object| {
            follows = picked.len() == limit;
            if !follows {
                picked.push(object.clone());
            }
            !follows
        });
        return Ok(Cut::picked(resource, picked, follows));
    }
    let found = match limit {
        0 => None,
        limit => snapshot.cut(&filter, start, limit),
    };
    let last = found.as_ref().map(|(last, _)| Arc::clone(last));
    Ok(Cut {
        items: Items::of_cursor(resource, cursor(last)),
        follow: found.map(|(last, follow)| (last, everything.then_some(follow))),
    })
}

/// What a selector picks that only an object in the handle's version answers. Where a page is long, what it has is converted
/// again when it is read (which asks nobody for what is still kept).
async fn select_converted(
    resource: &Resource,
    cursor: impl Fn(Option<Arc<str>>) -> Cursor,
    filter: &Filter,
    limit: usize,
) -> Result<Cut> {
    let until = |last| Items::of_cursor(resource, cursor(last)).selected_late(filter);
    if limit == 0 {
        let items = until(None);
        return Ok(Cut { items, follow: None });
    }
    let (mut picked, mut count, mut last, mut follows) = (Vec::new(), 0, None, false);
    let mut items = until(None);
    while !follows && !items.is_done() {
        items.prepare().await?;
        items.read(|object| {
            follows = count == limit;
            if follows {
                return false;
            }
            count += 1;
            if count == limit {
                last = Some(Arc::from(object.key()));
            }
            if limit <= PICKED_MAX {
                picked.push(object.clone());
            }
            true
        })?;
    }
    if limit <= PICKED_MAX {
        return Ok(Cut::picked(resource, picked, follows));
    }
    let items = until(last.clone().filter(|_| follows));
    let follow = last.filter(|_| follows).map(|last| (last, None));
    Ok(Cut { items, follow })
}

impl Cut {
    fn picked(resource: &Resource, picked: Vec<Object>, follows: bool) -> Self {
        let last = picked.last().filter(|_| follows);
        Self {
            follow: last.map(|last| (Arc::from(last.key()), None)),
            items: Items::of_objects(resource, picked),
        }
    }
}

fn moment(options: &ListOptions, token: Option<&Token>) -> Result<Moment> {
    if let Some(token) = token {
        if !matches!(options.resource_version.as_str(), "" | "0") {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        return Ok(u64::try_from(token.revision).map_or(Moment::Newest, Moment::Exactly));
    }
    if options.resource_version.is_empty() {
        return Ok(Moment::Newest);
    }
    let version = parse_version(&options.resource_version)?;
    Ok(match options.version_match {
        Some(VersionMatch::Exact) => Moment::Exactly(version),
        // For legacy reasons a limit without a match asks for the exact version.
        None if options.limit > 0 && version > 0 => Moment::Exactly(version),
        _ => Moment::NotOlderThan(version),
    })
}

/// Upstream's `ValidateListOptions`.
fn check_list(options: &ListOptions) -> Result<()> {
    let Some(version_match) = options.version_match else {
        return Ok(());
    };
    let mut errors = ErrorList::new();
    let path = Path::new("resourceVersionMatch");
    let mut forbid = |detail: &str| errors.push(FieldError::forbidden(&path, detail));
    if options.resource_version.is_empty() {
        forbid("resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if !options.continue_token.is_empty() {
        forbid("resourceVersionMatch is forbidden when continue is provided");
    }
    if version_match == VersionMatch::Exact && options.resource_version == "0" {
        forbid("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(list_options_invalid(errors))
    }
}
