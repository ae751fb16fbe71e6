//! One migration of a resource at a time: the oldest first. Pure. Upstream: migrationrunner.go.

use std::sync::Arc;

use corten_client::object::MetaExt;
use jiff::Timestamp;
use k8s_openapi::api::storagemigration::v1beta1::StorageVersionMigration;

use super::{conditions, holds, is_over};
use crate::core::context::time;

/// What happens to a migration now.
#[derive(Debug, PartialEq)]
pub enum Turn {
    /// It is over and still counts as running.
    Ended(Arc<StorageVersionMigration>),
    /// It is the next to run.
    Begins(Arc<StorageVersionMigration>),
    Runs(Arc<StorageVersionMigration>),
}

/// The turns of all migrations of one resource, in the order in which they are to be taken.
#[must_use]
pub fn turns(all: &[Arc<StorageVersionMigration>]) -> Vec<Turn> {
    let (running, others): (Vec<_>, Vec<_>) = all.iter().cloned().partition(|m| holds(m, "Running"));
    let (over, running): (Vec<_>, Vec<_>) = running.into_iter().partition(|m| is_over(m));
    let mut turns: Vec<Turn> = over.into_iter().map(Turn::Ended).collect();
    if running.is_empty() {
        let age = |m: &Arc<StorageVersionMigration>| {
            let made = m.metadata.creation_timestamp.as_ref().map(|t| t.0);
            (made, m.metadata.name().to_owned())
        };
        let waiting = others.into_iter().filter(|m| !is_over(m));
        turns.extend(waiting.min_by_key(age).map(Turn::Begins));
    }
    turns.extend(running.into_iter().map(Turn::Runs));
    turns
}

/// The migration with `Running` set to `False`.
pub(super) fn no_more_running(
    migration: &StorageVersionMigration,
    now: Timestamp,
) -> StorageVersionMigration {
    let generation = migration
        .metadata
        .generation
        .filter(|generation| *generation != 0);
    let mut changed = migration.clone();
    let mut own: Vec<_> = conditions(migration).cloned().collect();
    for condition in own.iter_mut().filter(|c| c.type_ == "Running") {
        condition.status = "False".into();
        condition.reason = "MigrationCompleted".into();
        condition.message = "Migration completed".into();
        condition.last_transition_time = time(now);
        condition.observed_generation = generation;
    }
    changed.status.get_or_insert_default().conditions = Some(own);
    changed
}
