//! Storage-version migration: everything of a resource is written once more, so that it is stored in the version that is
//! written today. Only where the gate StorageVersionMigrator is on. Upstream: pkg/controller/storageversionmigrator, whose
//! three controllers are the three steps here.
//!
//! `turns.rs` decides whose turn it is, `definition.rs` tells the CustomResourceDefinition of it, `writing.rs` writes.

mod definition;
mod turns;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use corten_client::driver::Next;
use corten_client::object::MetaExt;
use corten_client::{Caller, Error, Informer, Key, Queue};
use corten_meta::resource_version;
use jiff::Timestamp;
use k8s_openapi::api::storagemigration::v1beta1::StorageVersionMigration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ListMeta};
use serde::Deserialize;

use crate::core::context::time;
use crate::core::discovery::{Served, served};
use crate::core::{Action, Context, Executor, Reconcile, Write, drive};

pub use definition::{begun, ended};
pub use turns::{Turn, turns};

const WORKERS: usize = 5;
const CONTROLLER: &str = "storage-version-migrator-controller";
const FAILED: &str = "StorageVersionMigrationFailed";
/// A resource that is not served may have been defined a moment ago.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// For a change of a definition to be served.
const UNTIL_SERVED: Duration = Duration::from_millis(200);
/// What a resource must know to be migrated.
const VERBS: [&str; 3] = ["update", "patch", "list"];

/// What is migrated: resources by group and plural, as keys of the queue.
fn key_of(migration: &StorageVersionMigration) -> Key {
    let resource = migration.spec.as_ref().map(|s| &s.resource);
    let part = |text: fn(&_) -> &String| resource.map(text).map_or("", String::as_str);
    Key::new(part(|r| &r.group), part(|r| &r.resource))
}

/// The condition of a kind, if it is `True`.
fn holds(migration: &StorageVersionMigration, kind: &str) -> bool {
    conditions(migration).any(|c| c.type_ == kind && c.status == "True")
}

fn conditions(migration: &StorageVersionMigration) -> impl Iterator<Item = &Condition> {
    let status = migration.status.as_ref();
    status.and_then(|s| s.conditions.as_ref()).into_iter().flatten()
}

/// Succeeded or failed.
fn is_over(migration: &StorageVersionMigration) -> bool {
    holds(migration, "Succeeded") || holds(migration, "Failed")
}

/// The migration with a condition that it did not have.
fn with_condition(
    migration: &StorageVersionMigration,
    kind: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> StorageVersionMigration {
    let mut changed = migration.clone();
    if conditions(migration).any(|c| c.type_ == kind && matches!(c.status.as_str(), "True" | "False")) {
        return changed;
    }
    let conditions = &mut changed.status.get_or_insert_default().conditions;
    conditions.get_or_insert_default().push(Condition {
        type_: kind.into(),
        status: "True".into(),
        last_transition_time: time(now),
        reason: reason.into(),
        message: message.into(),
        observed_generation: None,
    });
    changed
}

/// The revision up to which is migrated, once it is noted.
fn until(migration: &StorageVersionMigration) -> Option<&str> {
    let noted = migration.status.as_ref()?.resource_version.as_deref();
    noted.filter(|version| !version.is_empty())
}

/// What is to be done about the migration whose turn it is, as far as what is served says; none: it can be carried out.
#[must_use]
pub fn obstacle(
    migration: &StorageVersionMigration,
    found: Option<&Served>,
    now: Timestamp,
) -> Option<Result<Duration, String>> {
    let begun = until(migration).is_some();
    let Some(found) = found else {
        let made = migration
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(now, |t| t.0);
        let left = (made + PATIENCE).duration_since(now);
        if left.is_positive() {
            return Some(Ok(left.unsigned_abs().min(LOOK_AGAIN)));
        }
        return Some(Err(if begun {
            "migration encountered unhandled error: unable to obtain GVR from discovery".into()
        } else {
            "resource does not exist in discovery".into()
        }));
    };
    if begun || found.can(&VERBS) {
        return None;
    }
    let named = corten_meta::quote(&found.gvr());
    let verbs = VERBS.join(" ");
    Some(Err(format!(
        "resource {named} does not support discovery operations: [{verbs}]"
    )))
}

#[derive(Deserialize)]
struct Head {
    metadata: ListMeta,
}

struct Controller {
    context: Context,
    executor: Executor,
    migrations: Informer<StorageVersionMigration>,
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let migrations = context.factory.informer::<StorageVersionMigration>();
    let queue: Queue<Key> = Queue::new("storage_version_migrator");
    let adding = queue.clone();
    migrations.on_event(move |event| adding.add(key_of(event.object())));
    migrations.synced().await;
    let stop = context.stop.clone();
    let this = Controller {
        executor: context.executor(CONTROLLER),
        context,
        migrations,
    };
    drive("storage_version_migrator", queue, WORKERS, stop, this).await;
}

impl Reconcile for Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let mut all = self.migrations.list();
        all.retain(|migration| key_of(migration) == *key);
        let now = self.context.now();
        for turn in turns(&all) {
            match turn {
                Turn::Ended(migration) => self.end(&migration, now).await?,
                Turn::Begins(migration) => self.begin(&migration, now).await?,
                Turn::Runs(migration) => return self.carry_out(&migration).await,
            }
        }
        Ok(Next::Done)
    }
}

impl Controller {
    fn caller(&self) -> &Caller {
        &self.executor.caller
    }

    async fn write(&self, migration: &StorageVersionMigration) -> Result<(), Error> {
        self.executor
            .apply(vec![Write::status(migration).into()], None)
            .await
    }

    async fn begin(&self, migration: &StorageVersionMigration, now: Timestamp) -> Result<(), Error> {
        let message = "The migration is running";
        let running = with_condition(migration, "Running", "MigrationRunning", message, now);
        if let Some(definition) = definition::find(self.caller(), &key_of(migration)).await? {
            let told: Action = begun(&definition, migration.metadata.name(), now).into();
            self.executor.apply(vec![told], None).await?;
        }
        self.write(&running).await
    }

    async fn end(&self, migration: &StorageVersionMigration, now: Timestamp) -> Result<(), Error> {
        if let Some(definition) = definition::find(self.caller(), &key_of(migration)).await? {
            let told: Action = ended(&definition, holds(migration, "Succeeded"), now).into();
            self.executor.apply(vec![told], None).await?;
        }
        self.write(&turns::no_more_running(migration, now)).await
    }

    async fn fail(&self, migration: &StorageVersionMigration, message: &str) -> Result<Next, Error> {
        let failed = with_condition(migration, "Failed", FAILED, message, self.context.now());
        self.write(&failed).await.map(|()| Next::Done)
    }

    /// First the revision up to which is migrated is noted, then the objects are written.
    async fn carry_out(&self, migration: &Arc<StorageVersionMigration>) -> Result<Next, Error> {
        let key = key_of(migration);
        let all = served(self.caller()).await?;
        let found = all
            .into_iter()
            .find(|s| s.group == key.ns() && s.plural == key.name());
        match obstacle(migration, found.as_ref(), self.context.now()) {
            Some(Ok(wait)) => return Ok(Next::After(wait)),
            Some(Err(message)) => return self.fail(migration, &message).await,
            None => {}
        }
        let Some(found) = found else { return Ok(Next::Done) };
        let Some(until) = until(migration) else {
            // From that revision on everything is written in the new version.
            let definition = definition::find(self.caller(), &key).await?;
            if let Some(definition) = definition
                && !definition::is_served(self.caller(), &definition, &found).await?
            {
                return Ok(Next::After(UNTIL_SERVED));
            }
            return self.note_revision(migration, &found).await;
        };
        match writing::write_all(self.caller(), &found, until).await? {
            Err(message) => self.fail(migration, &message).await,
            Ok(()) => {
                let (now, reason) = (self.context.now(), "StorageVersionMigrationSucceeded");
                let done = with_condition(migration, "Succeeded", reason, "", now);
                self.write(&done).await.map(|()| Next::Done)
            }
        }
    }

    async fn note_revision(
        &self,
        migration: &StorageVersionMigration,
        found: &Served,
    ) -> Result<Next, Error> {
        let collection = found.path("", "");
        let head: Head = self.caller().read(&format!("{collection}?limit=1")).await?;
        let latest = head.metadata.resource_version.unwrap_or_default();
        if let Err(error) = resource_version::check(&latest) {
            let message = format!("latest resourceVersion for {} is not valid: {error}", found.gvr());
            return self.fail(migration, &message).await;
        }
        let mut noted = migration.clone();
        noted.status.get_or_insert_default().resource_version = Some(latest);
        self.write(&noted).await.map(|()| Next::Done)
    }
}

#[cfg(test)]
mod tests;
