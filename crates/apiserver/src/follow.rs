//! Following a resource from inside the server: every object there is, then every change, until stopped.

use std::collections::HashSet;

use corten_registry::{Object, Registry, Resource, VersionMatch, WatchEvent, WatchOptions, WatchStream};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

/// What happened to an object.
pub enum Change<'a> {
    /// It is new or different.
    Upsert(&'a Object),
    /// It is gone; its key (`name` or `namespace/name`) and, where a watch saw it go, its last state.
    Remove(&'a str, Option<&'a Object>),
    /// Everything that was there when the watch began has been told.
    Synced,
}

/// Calls `apply` for everything until `stop`, or until the resource is no longer served.
pub async fn follow(
    registry: &Registry,
    resource: &Resource,
    stop: &CancellationToken,
    apply: impl FnMut(Change<'_>) + Send,
) {
    follow_selected(registry, resource, &WatchOptions::default(), stop, apply).await;
}

/// The same for what the selectors of `wanted` select.
pub async fn follow_selected(
    registry: &Registry,
    resource: &Resource,
    wanted: &WatchOptions,
    stop: &CancellationToken,
    mut apply: impl FnMut(Change<'_>) + Send,
) {
    let mut known: HashSet<Box<str>> = HashSet::new();
    loop {
        let options = WatchOptions {
            version_match: Some(VersionMatch::NotOlderThan),
            bookmarks: true,
            send_initial_events: Some(true),
            ..wanted.clone()
        };
        let events = match registry.watch(resource, None, &options).await {
            Ok(events) => events,
            Err(error) => {
                tracing::error!(%error, ?resource, "cannot be watched");
                return;
            }
        };
        tokio::select! {
            () = take(events, &mut known, &mut apply) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Takes in one watch until it ends. What an earlier watch knew and this one does not show is gone.
async fn take(
    mut events: WatchStream,
    known: &mut HashSet<Box<str>>,
    apply: &mut (impl FnMut(Change<'_>) + Send),
) {
    let mut stale = known.clone();
    let mut initial = true;
    while let Some(event) = events.next().await {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                stale.remove(object.key());
                known.insert(object.key().into());
                apply(Change::Upsert(&object));
            }
            WatchEvent::Deleted(object) => {
                known.remove(object.key());
                apply(Change::Remove(object.key(), Some(&object)));
            }
            WatchEvent::Bookmark(_) if initial => {
                initial = false;
                for key in stale.drain() {
                    known.remove(&key);
                    apply(Change::Remove(&key, None));
                }
                apply(Change::Synced);
            }
            WatchEvent::Bookmark(_) | WatchEvent::Undecided(_) => {}
            WatchEvent::Error(error) => {
                return tracing::debug!(%error, "watch ended, starting again");
            }
        }
    }
}
