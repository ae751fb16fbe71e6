//! Get, list and watch: from the watch cache, and from the store's history where that is asked for.

use std::sync::Arc;

use corten_meta::field::{Error as FieldError, ErrorList, Path};
use corten_meta::{GroupKind, Result, Status};

use crate::cache::{CacheEvent, Snapshot, Subscription};
use crate::cursor::{Cursor, OpenPage};
use crate::dispatch;
use crate::errors::{continue_expired, list_expired, store_error};
use crate::filter::Filter;
use crate::object::Object;
use crate::options::{ListOptions, ListPage, VersionMatch, WatchOptions};
use crate::registry::Registry;
use crate::resource::Resource;
use crate::token::Token;
use crate::watch::{Bookmarks, WatchEvent, WatchStream};

/// Which state a list shows.
enum Moment {
    /// The newest, with nothing missing.
    Newest,
    /// Not older than this; 0 for anything.
    NotOlderThan(u64),
    Exactly(u64),
}

impl Registry {
    /// `resource_version` as in `GetOptions`: "" for the newest, "0" for anything, N for not older than N.
    pub async fn get(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        resource_version: &str,
    ) -> Result<Object> {
        self.metrics.gets.add(1);
        match resource_version {
            "" => self.wait_current().await?,
            version => self.wait_applied(parse_version(version)?).await?,
        };
        let found = resource.cache().get(&resource.key(namespace, name));
        let found = found.ok_or_else(|| Status::not_found(&resource.group_resource(), name))?;
        resource.in_version(found).await
    }

    /// One page, consistent at its revision.
    pub async fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<ListPage> {
        let mut page = self.open_list(resource, namespace, options).await?;
        let mut items = Vec::new();
        page.items.read(|object| {
            items.push(object.clone());
            true
        });
        Ok(ListPage {
            revision: page.revision,
            items: resource.all_in_version(items).await?,
            continue_token: page.continue_token,
            remaining: page.remaining,
        })
    }

    /// One page, to be read piece by piece. Its items are as they are stored: those of a resource with several versions
    /// may be in any of them.
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
        let cut = match limit {
            0 => None,
            limit => snapshot.cut(&filter, &start, limit),
        };
        let (mut continue_token, mut remaining) = (String::new(), None);
        if let Some((last, follow)) = &cut {
            let last = last.strip_prefix(&prefix).unwrap_or(last);
            continue_token = Token::after(last, i64::try_from(revision).unwrap_or(i64::MAX)).encode();
            remaining = filter.is_everything().then_some(*follow);
            resource.cache().pin(revision, &snapshot);
        }
        Ok(OpenPage {
            revision,
            continue_token,
            remaining,
            items: Cursor::new(snapshot, filter, &start, cut.map(|(last, _)| last)),
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

    async fn old_snapshot(&self, resource: &Resource, revision: u64) -> Result<Arc<Snapshot>> {
        let compacted = self
            .store
            .compacted_revision()
            .await
            .map_err(|error| store_error(&error))?;
        if revision < compacted {
            return Err(list_expired());
        }
        if let Some(pinned) = resource.cache().pinned(revision) {
            return Ok(pinned);
        }
        let snapshot = Arc::new(dispatch::load(self.store.as_ref(), resource, revision).await?);
        resource.cache().pin(revision, &snapshot);
        Ok(snapshot)
    }

    /// Watches what the options select. A start that is too old is an error event, as upstream sends it.
    pub async fn watch(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        options: &WatchOptions,
    ) -> Result<WatchStream> {
        check_watch(options)?;
        let filter = Filter::new(
            resource,
            namespace,
            options.label_selector.as_ref(),
            options.field_selector.as_ref(),
        )?;
        let version = match options.resource_version.as_str() {
            "" => None,
            version => Some(parse_version(version)?),
        };
        let started = match (version, options.send_initial_events) {
            (Some(version), Some(true)) => self.watch_with_state(resource, &filter, version, true).await,
            (None, Some(true)) => self.watch_newest(resource, &filter, true).await,
            (None, None) => self.watch_newest(resource, &filter, false).await,
            (Some(0), None) => self.watch_with_state(resource, &filter, 0, false).await,
            (None | Some(0), Some(false)) => {
                let after = self.wait_current().await?;
                self.watch_after(resource, &filter, after).await
            }
            (Some(version), _) => self.watch_after(resource, &filter, version).await,
        };
        Ok(match started {
            Ok(subscription) => {
                let stream = WatchStream::new(
                    subscription.initial,
                    subscription.receiver,
                    self.applied.clone(),
                    &self.metrics,
                );
                let bookmarks = options.bookmarks.then(|| Bookmarks::new(resource, &self.clock));
                let deadline = options.timeout.map(|timeout| self.clock.sleep(timeout));
                stream.with_bookmarks(bookmarks).with_deadline(deadline)
            }
            Err(status) => WatchStream::error(status, self.applied.clone(), &self.metrics),
        })
    }

    async fn watch_newest(&self, resource: &Resource, filter: &Filter, marked: bool) -> Result<Subscription> {
        let current = self.current_revision().await?;
        self.watch_with_state(resource, filter, current, marked).await
    }

    /// What there is, closed by a bookmark if `marked`, then what comes.
    async fn watch_with_state(
        &self,
        resource: &Resource,
        filter: &Filter,
        not_older: u64,
        marked: bool,
    ) -> Result<Subscription> {
        let applied = self.wait_applied(not_older).await?;
        let (mut subscription, revision) = resource.cache().subscribe_with_state(filter, applied);
        if marked {
            subscription
                .initial
                .push(Bookmarks::new(resource, &self.clock).at(revision, true));
        }
        Ok(subscription)
    }

    async fn watch_after(&self, resource: &Resource, filter: &Filter, after: u64) -> Result<Subscription> {
        let oldest = match resource.cache().subscribe_after(filter, after) {
            Ok(subscription) => return Ok(subscription),
            Err(oldest) => oldest,
        };
        // The ring has lost it; the store may still know.
        let history = dispatch::history(self.store.as_ref(), resource, after, oldest).await;
        let history = history.map_err(|_| self.too_old(after, oldest))?;
        let mut subscription = resource
            .cache()
            .subscribe_after(filter, oldest)
            .map_err(|oldest| self.too_old(after, oldest))?;
        let events = history.into_iter().filter_map(|(revision, object, previous)| {
            CacheEvent::new(revision, object, previous)?.seen_through(filter)
        });
        let mut initial: Vec<WatchEvent> = events.collect();
        initial.append(&mut subscription.initial);
        subscription.initial = initial;
        Ok(subscription)
    }

    fn too_old(&self, after: u64, oldest: u64) -> Status {
        self.metrics.watches_too_old.add(1);
        Status::expired(format!("too old resource version: {after} ({oldest})"))
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

/// A resourceVersion from a request.
pub(crate) fn parse_version(text: &str) -> Result<u64> {
    text.parse().map_err(|_| {
        let problem = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
        let field = format!("resourceVersion: Invalid value: {text:?}: {problem}");
        Status::bad_request(format!("invalid resource version: {field}"))
    })
}

fn list_options_invalid(errors: ErrorList) -> Status {
    Status::invalid(&GroupKind::new("meta.k8s.io", "ListOptions"), "", errors)
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

/// Upstream's `validateWatchOptions`.
fn check_watch(options: &WatchOptions) -> Result<()> {
    let mut errors = ErrorList::new();
    let path = Path::new("resourceVersionMatch");
    if options.send_initial_events.is_some() && options.version_match != Some(VersionMatch::NotOlderThan) {
        let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(FieldError::forbidden(&path, detail));
    }
    if let Some(version_match) = options.version_match {
        if options.send_initial_events.is_none() {
            let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(FieldError::forbidden(&path, detail));
        }
        if version_match != VersionMatch::NotOlderThan {
            errors.push(FieldError::not_supported(&path, "Exact", &["NotOlderThan"]));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(list_options_invalid(errors))
    }
}
