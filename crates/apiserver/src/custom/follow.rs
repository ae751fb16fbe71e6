//! Follows the definitions in the registry: gives each its status, serves it, and takes it away. One task; nothing runs
//! while no definition changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_meta::{Result, Status, object};
use corten_registry::strategy::definition::CLEANUP_FINALIZER;
use corten_registry::{Resource, VersionMatch, WatchEvent, WatchOptions};
use futures::StreamExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, oneshot};

use super::cleanup;
use super::conditions::{Taken, holds, settle};
use super::conversion::Reviewer;
use super::served::{Definition, Kinds};
use super::status::{now, write_status};
use crate::bootstrap::local_services;
use crate::server::Inner;

/// A definition as it was last seen, with the status it should have, and of its spec only group and names: the schemas
/// are in the registry's cache already, compactly.
struct Known {
    object: Value,
    /// Of the whole spec: another one is served anew.
    spec: [u8; 32],
    serving: Option<Definition>,
    /// The end of its instances has begun.
    ending: bool,
}

struct Follower {
    server: Arc<Inner>,
    definitions: Resource,
    reviewer: Arc<dyn Reviewer>,
    known: BTreeMap<String, Known>,
    number: u64,
    /// Until everything stored is taken in, nothing is published.
    loading: bool,
    /// What is served has changed since it was published.
    changed: bool,
    /// One at a time writes the APIServices of what is served.
    services: Arc<Mutex<()>>,
    /// Handles that others have replaced, to be closed once that is published.
    replaced: Vec<Resource>,
}

/// Serves every stored definition, then follows them until the server stops. Returns when the stored ones are served.
///
/// # Errors
/// Where definitions cannot be watched.
pub async fn start(server: &Arc<Inner>, reviewer: Arc<dyn Reviewer>) -> Result<()> {
    let definitions = server.stored(super::GROUP, super::PLURAL)?;
    let follower = Follower {
        server: server.clone(),
        definitions,
        reviewer,
        known: BTreeMap::new(),
        number: 0,
        loading: true,
        changed: true,
        services: Arc::default(),
        replaced: Vec::new(),
    };
    let (synced, wait) = oneshot::channel();
    let stop = server.stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = follower.follow(synced) => {}
            () = stop.cancelled() => {}
        }
    });
    wait.await
        .map_err(|_| Status::internal("the watch of definitions ended before it began"))
}

impl Follower {
    async fn follow(mut self, synced: oneshot::Sender<()>) {
        let mut synced = Some(synced);
        loop {
            let options = WatchOptions {
                version_match: Some(VersionMatch::NotOlderThan),
                bookmarks: true,
                send_initial_events: Some(true),
                ..WatchOptions::default()
            };
            let registry = self.server.registry.clone();
            let mut events = match registry.watch(&self.definitions, None, &options).await {
                Ok(events) => events,
                Err(error) => return tracing::error!(%error, "definitions cannot be watched"),
            };
            let mut seen = Some(Vec::new());
            while let Some(event) = events.next().await {
                match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        seen.iter_mut()
                            .for_each(|seen| seen.push(object.name().to_owned()));
                        match object.value() {
                            Ok(value) => self.upsert(value).await,
                            Err(error) => tracing::error!(%error, "a definition cannot be read"),
                        }
                    }
                    WatchEvent::Deleted(object) => self.remove(object.name()).await,
                    WatchEvent::Bookmark(_) => {
                        if let Some(seen) = seen.take() {
                            self.loaded(&seen, &mut synced).await;
                        }
                    }
                    WatchEvent::Undecided(_) => {}
                    WatchEvent::Error(error) => {
                        tracing::debug!(%error, "the watch of definitions ended, starting again");
                        break;
                    }
                }
            }
        }
    }

    /// Everything that is stored has been seen: what else was known has gone.
    async fn loaded(&mut self, seen: &[String], synced: &mut Option<oneshot::Sender<()>>) {
        let gone: Vec<String> = self
            .known
            .keys()
            .filter(|name| !seen.contains(name))
            .cloned()
            .collect();
        for name in gone {
            self.remove(&name).await;
        }
        self.loading = false;
        self.publish();
        if let Some(synced) = synced.take() {
            let _ = synced.send(());
        }
    }

    async fn upsert(&mut self, object: Value) {
        let name = object::name(&object).to_owned();
        let group = object["spec"]["group"].clone();
        let before = self.known.get(&name).map(|known| known.object.clone());
        self.settle(&name, object).await;
        // A name that was let go may be what another waits for.
        let names = |object: Option<&Value>| object.map(|o| o["status"]["acceptedNames"].clone());
        let after = self.known.get(&name).map(|known| &known.object);
        if before.is_some() && names(before.as_ref()) != names(after) {
            self.settle_conflicts(&group).await;
        }
        self.publish();
    }

    async fn remove(&mut self, name: &str) {
        let Some(known) = self.known.remove(name) else {
            return;
        };
        if let Some(serving) = &known.serving {
            self.server.registry.unregister(&serving.stored);
            self.changed = true;
        }
        self.settle_conflicts(&known.object["spec"]["group"]).await;
        self.publish();
    }

    /// Definitions of a group that do not have all their names try again.
    async fn settle_conflicts(&mut self, group: &Value) {
        let waiting: Vec<String> = self
            .known
            .iter()
            .filter(|(_, known)| known.object["spec"]["group"] == *group)
            .filter(|(_, known)| !holds(&known.object, "NamesAccepted", "True"))
            .map(|(name, _)| name.clone())
            .collect();
        for name in waiting {
            let registry = self.server.registry.clone();
            let found = registry.get(&self.definitions, "", &name, "0").await;
            match found.and_then(|object| object.value()) {
                Ok(object) => self.settle(&name, object).await,
                // Its own event is on the way.
                Err(error) => tracing::debug!(%error, name, "a definition is not there any more"),
            }
        }
    }

    fn taken(&self, name: &str, group: &Value) -> Taken {
        let mut taken = Taken::default();
        let others = self.known.iter().filter(|(other, _)| *other != name);
        for (_, known) in others.filter(|(_, known)| known.object["spec"]["group"] == *group) {
            taken.add(&known.object);
        }
        taken
    }

    /// Serves a definition as it should be, and writes the status that says so.
    async fn settle(&mut self, name: &str, object: Value) {
        let taken = self.taken(name, &object["spec"]["group"]);
        let wanted = settle(&object, &taken, &now());
        let old = self.known.remove(name);
        let ending = old
            .as_ref()
            .is_some_and(|old| old.ending && same_uid(&old.object, &wanted));
        let spec = digest(&wanted["spec"]);
        let serving = self.serve(old, &spec, &wanted).await;
        let write = wanted["status"] != object["status"];
        let mut known = Known {
            object: trimmed(wanted),
            spec,
            serving,
            ending,
        };
        self.end_instances(&mut known);
        self.known.insert(name.to_owned(), known);
        self.publish();
        if write {
            let (server, definitions) = (self.server.clone(), self.definitions.clone());
            let name = name.to_owned();
            tokio::spawn(async move {
                let change = |live: &Value| Ok(settle(live, &taken, &now()));
                if let Err(error) = write_status(&server.registry, &definitions, &name, change).await
                    && !error.is_not_found()
                {
                    tracing::error!(%error, name, "the status of a definition cannot be written");
                }
            });
        }
    }

    async fn serve(&mut self, old: Option<Known>, spec: &[u8; 32], wanted: &Value) -> Option<Definition> {
        let (before, same_spec, serving) = match old {
            Some(old) => (old.object, old.spec == *spec, old.serving),
            None => (Value::Null, false, None),
        };
        if !holds(wanted, "Established", "True") {
            if let Some(serving) = serving {
                self.server.registry.unregister(&serving.stored);
                self.changed = true;
            }
            return None;
        }
        let names = |o: &Value| o["status"]["acceptedNames"].clone();
        let same = same_spec && same_uid(&before, wanted) && names(&before) == names(wanted);
        let terminating = |o: &Value| holds(o, "Terminating", "True");
        if same && serving.is_some() && terminating(&before) == terminating(wanted) {
            return serving;
        }
        self.changed = true;
        let outcome = match &serving {
            Some(serving) if same => serving.with_status(wanted),
            old => {
                let made =
                    Definition::register(&self.server.registry, wanted, &self.reviewer, old.as_ref()).await;
                if made.is_ok() {
                    self.replaced
                        .extend(serving.as_ref().map(|old| old.stored.clone()));
                }
                made
            }
        };
        match outcome {
            Ok(made) => Some(made),
            Err(error) => {
                tracing::error!(%error, name = object::name(wanted), "a definition cannot be served");
                serving
            }
        }
    }

    /// Begins to delete the instances of a definition that is being deleted.
    fn end_instances(&self, known: &mut Known) {
        let held = object::finalizers(&known.object)
            .iter()
            .any(|f| f == CLEANUP_FINALIZER);
        if known.ending || !held || object::deletion_timestamp(&known.object).is_none() {
            return;
        }
        known.ending = true;
        let ending = cleanup::Ending {
            server: self.server.clone(),
            definitions: self.definitions.clone(),
            name: object::name(&known.object).to_owned(),
            uid: object::uid(&known.object).to_owned(),
            instances: known.serving.as_ref().map(|serving| serving.stored.clone()),
        };
        let stop = self.server.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = ending.run() => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Shows requests what is served now. Old handles close after it, so that their watchers find the new ones.
    fn publish(&mut self) {
        if self.loading || !std::mem::take(&mut self.changed) {
            return;
        }
        self.number += 1;
        let served = self.known.values().filter_map(|known| known.serving.as_ref());
        let kinds = Kinds::new(served, self.number);
        let same_versions = kinds.versions() == self.server.catalog.custom().versions();
        self.server.catalog.set_custom(kinds);
        if !same_versions {
            self.register_services();
        }
        for old in self.replaced.drain(..) {
            self.server.registry.close(&old);
        }
    }
}

impl Follower {
    /// Keeps the APIServices as what is served; whoever comes last writes what is true then.
    fn register_services(&self) {
        let (server, turn) = (self.server.clone(), self.services.clone());
        tokio::spawn(async move {
            let _turn = turn.lock().await;
            let kinds = server.catalog.custom();
            if let Err(error) = local_services::sync(&server.registry, kinds.versions()).await {
                tracing::error!(%error, "APIServices of custom kinds cannot be written");
            }
        });
    }
}

fn same_uid(a: &Value, b: &Value) -> bool {
    object::uid(a) == object::uid(b)
}

fn digest(spec: &Value) -> [u8; 32] {
    Sha256::digest(spec.to_string()).into()
}

fn trimmed(mut definition: Value) -> Value {
    let spec = &mut definition["spec"];
    *spec = json!({"group": spec["group"].take(), "names": spec["names"].take()});
    object::metadata_mut(&mut definition).retain(|field, _| {
        matches!(
            field.as_str(),
            "name" | "uid" | "finalizers" | "deletionTimestamp"
        )
    });
    definition
}
