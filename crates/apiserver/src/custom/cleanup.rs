//! The end of a definition's instances: all are deleted before the definition itself may go. Rules: upstream's
//! `controller/finalizer`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use corten_meta::{Result, Status, object};
use corten_registry::strategy::definition::{CLEANUP_FINALIZER, set_condition};
use corten_registry::{
    DeleteOptions, ListOptions, Resource, VersionMatch, WatchEvent, WatchOptions, WriteContext,
};
use futures::StreamExt;
use serde_json::{Value, json};

use super::status::{now, write_status};
use crate::server::Inner;

/// How long the instances' own finalizers may take before the condition says that they do.
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// Between attempts after a failure; each is twice the one before.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MOST: Duration = Duration::from_secs(60);

/// One definition's end.
pub struct Ending {
    pub server: Arc<Inner>,
    pub definitions: Resource,
    pub name: String,
    pub uid: String,
    /// None where it was never served.
    pub instances: Option<Resource>,
}

/// `reason` and `message` of the Terminating condition.
type Told = (&'static str, &'static str, String);

impl Ending {
    /// Deletes, waits, and lets the definition go.
    pub async fn run(self) {
        let mut pause = RETRY_FIRST;
        loop {
            match self.attempt().await {
                Ok(()) => return,
                Err(status) if status.is_not_found() => return,
                Err(error) => {
                    tracing::warn!(%error, definition = self.name, "its instances cannot be deleted yet");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MOST);
        }
    }

    async fn attempt(&self) -> Result<()> {
        let progress = "CustomResource deletion is in progress";
        self.tell(("True", "InstanceDeletionInProgress", progress.to_owned()), false)
            .await?;
        let Some(instances) = &self.instances else {
            let text = "resource was never established".to_owned();
            return self.tell(("False", "NeverEstablished", text), true).await;
        };
        if let Err(error) = self.delete_all(instances).await {
            let text = format!("could not issue all deletes: {}", error.message);
            self.tell(("True", "InstanceDeletionFailed", text), false).await?;
            return Err(error);
        }
        if let Ok(gone) = tokio::time::timeout(GONE_WITHIN, self.all_gone(instances)).await {
            gone?;
        } else {
            let text = "could not confirm zero CustomResources remaining: context deadline exceeded";
            self.tell(("True", "InstanceDeletionCheck", text.to_owned()), false)
                .await?;
            self.all_gone(instances).await?;
        }
        let text = "removed all instances".to_owned();
        self.tell(("False", "InstanceDeletionCompleted", text), true)
            .await
    }

    async fn delete_all(&self, instances: &Resource) -> Result<()> {
        let ctx = WriteContext::of_server(SystemTime::now());
        let (options, everything) = (DeleteOptions::default(), ListOptions::default());
        let registry = &self.server.registry;
        registry
            .delete_collection(&ctx, instances, None, &options, &everything)
            .await
            .map(drop)
    }

    /// Waits until there is no instance. One that comes meanwhile is waited for too.
    async fn all_gone(&self, instances: &Resource) -> Result<()> {
        let options = WatchOptions {
            version_match: Some(VersionMatch::NotOlderThan),
            bookmarks: true,
            send_initial_events: Some(true),
            ..WatchOptions::default()
        };
        let mut events = self.server.registry.watch(instances, None, &options).await?;
        let (mut left, mut initial) = (HashSet::new(), true);
        while let Some(event) = events.next().await {
            match event {
                WatchEvent::Added(object) => drop(left.insert(object.key().to_owned())),
                WatchEvent::Deleted(object) => drop(left.remove(object.key())),
                WatchEvent::Bookmark(_) => initial = false,
                WatchEvent::Undecided(change) => {
                    if let Some(object) = change.deleted() {
                        left.remove(object.key());
                    }
                }
                WatchEvent::Modified(_) => {}
                WatchEvent::Error(status) => return Err(status),
            }
            if !initial && left.is_empty() {
                return Ok(());
            }
        }
        Err(Status::internal("the watch of instances ended"))
    }

    /// Writes the condition; `last` also lets the definition go.
    async fn tell(&self, (status, reason, message): Told, last: bool) -> Result<()> {
        let change = |live: &Value| {
            let mut wanted = live.clone();
            if object::uid(live) != self.uid {
                return Err(Status::not_found(&self.definitions.group_resource(), &self.name));
            }
            let condition =
                json!({"type": "Terminating", "status": status, "reason": reason, "message": message});
            set_condition(&mut wanted, condition, &now());
            if last {
                let mut finalizers = object::finalizers(live);
                finalizers.retain(|finalizer| finalizer != CLEANUP_FINALIZER);
                object::set_finalizers(&mut wanted, &finalizers);
            }
            Ok(wanted)
        };
        write_status(&self.server.registry, &self.definitions, &self.name, change).await
    }
}
