//! Get and watch: from the watch cache, and from the store's history where that is asked for.

use std::sync::Arc;

use corten_meta::field::{Error as FieldError, ErrorList, Path};
use corten_meta::number::parse_uint;
use corten_meta::{GroupKind, Result, Status};

use crate::cache::{CacheEvent, Subscription};
use crate::dispatch;
use crate::filter::Filter;
use crate::object::Object;
use crate::options::{VersionMatch, WatchOptions};
use crate::registry::Registry;
use crate::resource::Resource;
use crate::watch::{Bookmarks, WatchEvent, WatchStream};

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
            version => self.wait_applied(parse_start(version)?).await?,
        };
        let found = resource.cache().get(&resource.key(namespace, name));
        let found = found.ok_or_else(|| resource.missing(name))?;
        resource.in_version(found).await
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
            version => Some(parse_start(version)?),
        };
        let started = match (version, options.send_initial_events) {
            (Some(version), Some(true)) => {
                let marked = options.bookmarks;
                self.watch_with_state(resource, &filter, version, marked).await
            }
            (None, Some(true)) => self.watch_newest(resource, &filter, options.bookmarks).await,
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
            Arc::new(CacheEvent::new(revision, object, previous)?).seen_through(filter)
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

/// The resourceVersion of a list.
pub(crate) fn parse_version(text: &str) -> Result<u64> {
    parse_uint(text).map_err(|problem| {
        let field = format!("resourceVersion: Invalid value: {text:?}: {problem}");
        Status::bad_request(format!("invalid resource version: {field}"))
    })
}

/// The resourceVersion of a get or watch. Unlike a list's, upstream's storage does not make a request's fault of its error.
fn parse_start(text: &str) -> Result<u64> {
    parse_uint(text).map_err(|problem| {
        let field = format!("resourceVersion: Invalid value: {text:?}: {problem}");
        Status::new(500, "", field)
    })
}

pub(crate) fn list_options_invalid(errors: ErrorList) -> Status {
    Status::invalid(&GroupKind::new("meta.k8s.io", "ListOptions"), "", errors)
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
