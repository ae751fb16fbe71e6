//! The rules of deletion, without the writes (`rest.BeforeDelete`, `deletionFinalizersForGarbageCollection`).

use std::time::{Duration, SystemTime};

use corten_meta::field::{Error as FieldError, ErrorList, Path};
use corten_meta::{GroupKind, GroupResource, Result, Status, object};
use serde_json::Value;

use super::{FOREGROUND_FINALIZER, ORPHAN_FINALIZER, time_text};
use crate::options::{DeleteOptions, Propagation};
use crate::resource::ResourceInfo;
use crate::strategy::{GcPolicy, StrategyContext};

/// What kind of deletion it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grace {
    /// At once, finalizers permitting.
    None,
    /// The object now carries its deletion timestamp and this grace period.
    Begun(i64),
    /// It was being deleted gracefully already, and goes on so.
    Pending,
}

/// `ValidateDeleteOptions`.
pub(super) fn check_options(options: &DeleteOptions) -> Result<()> {
    let mut errors = ErrorList::new();
    let path = Path::new("propagationPolicy");
    let text = match &options.propagation {
        None => return Ok(()),
        Some(Propagation::Orphan) => "Orphan",
        Some(Propagation::Background) => "Background",
        Some(Propagation::Foreground) => "Foreground",
        Some(Propagation::Invalid(text)) => text,
    };
    if options.orphan_dependents.is_some() {
        let detail = "orphanDependents and deletionPropagation cannot be both set";
        errors.push(FieldError::invalid(&path, text, detail));
    }
    if matches!(options.propagation, Some(Propagation::Invalid(_))) {
        let known = ["Foreground", "Background", "Orphan", "nil"];
        errors.push(FieldError::not_supported(&path, text, &known));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(
        &GroupKind::new("meta.k8s.io", "DeleteOptions"),
        "",
        errors,
    ))
}

/// The uid and resourceVersion the request demands, in `BeforeDelete`'s words.
pub(super) fn check_preconditions(
    resource: &ResourceInfo,
    options: &DeleteOptions,
    object: &Value,
) -> Result<()> {
    // Upstream names the kind where the resource would be.
    let kind = GroupResource {
        group: resource.group.clone(),
        resource: resource.kind.clone(),
    };
    let wanted = &options.preconditions;
    let refuse = |what: &str, wanted: &str, found: &str, why: &str| {
        let detail = format!(
            "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). {why}"
        );
        Err(Status::conflict(&kind, object::name(object), detail))
    };
    let (uid, version) = (object::uid(object), object::resource_version(object));
    match (&wanted.uid, &wanted.resource_version) {
        (Some(wanted), _) if wanted != uid => refuse(
            "UID",
            wanted,
            uid,
            "The object might have been deleted and then recreated",
        ),
        (_, Some(wanted)) if wanted != version => refuse(
            "ResourceVersion",
            wanted,
            version,
            "The object might have been modified",
        ),
        _ => Ok(()),
    }
}

/// Sets deletion timestamp and grace period where the kind is deleted gracefully.
pub(super) fn begin(ctx: &StrategyContext<'_>, options: &DeleteOptions, object: &mut Value) -> Grace {
    let requested = options
        .grace_period_seconds
        .map(|seconds| if seconds < 0 { 1 } else { seconds });
    let strategy = &ctx.resource.strategy;
    let now = ctx.write.now;
    if object::deletion_timestamp(object).is_some() {
        return shorten(
            object,
            requested,
            now,
            strategy.graceful_delete(ctx, object, requested).is_some(),
        );
    }
    let Some(period) = strategy.graceful_delete(ctx, object, requested) else {
        return Grace::None;
    };
    set_deletion(object, now + seconds(period), period);
    bump_generation(object);
    Grace::Begun(period)
}

/// A deletion under way may only become quicker.
fn shorten(object: &mut Value, requested: Option<i64>, now: SystemTime, graceful: bool) -> Grace {
    let current = match object::deletion_grace_period_seconds(object) {
        None | Some(0) => return Grace::None,
        Some(current) if current < 0 => 1,
        Some(current) => current,
    };
    if !graceful {
        return Grace::None;
    }
    let Some(mut period) = requested.filter(|period| *period < current) else {
        return Grace::Pending;
    };
    let end = object::deletion_timestamp(object)
        .and_then(corten_meta::time::parse)
        .map(SystemTime::from);
    let mut end = end.unwrap_or(now) - seconds(current) + seconds(period);
    if end < now {
        end = now;
        // Still graceful: whoever holds the object confirms its end.
        period = period.min(1);
    }
    set_deletion(object, end, period);
    Grace::Begun(period)
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

fn set_deletion(object: &mut Value, at: SystemTime, period: i64) {
    object::set_deletion_timestamp(object, Some(&time_text(at)));
    object::set_deletion_grace_period_seconds(object, Some(period));
}

fn bump_generation(object: &mut Value) {
    let generation = object::generation(object);
    if generation > 0 {
        object::set_generation(object, generation + 1);
    }
}

/// Deleting, but finalizers hold it (`markAsDeleting`).
pub(super) fn mark_as_deleting(object: &mut Value, now: SystemTime) {
    let existing = object::deletion_timestamp(object);
    if existing.is_none() {
        bump_generation(object);
    }
    let existing = object::deletion_timestamp(object)
        .and_then(corten_meta::time::parse)
        .map(SystemTime::from);
    if existing.is_none_or(|existing| existing > now) {
        object::set_deletion_timestamp(object, Some(&time_text(now)));
    }
    object::set_deletion_grace_period_seconds(object, Some(0));
}

/// Sets the garbage collector's finalizers as the request, the object and the kind want. True if that changed them.
pub(super) fn set_propagation(policy: GcPolicy, options: &DeleteOptions, object: &mut Value) -> bool {
    let before = object::finalizers(object);
    let (orphan, foreground) = propagation(policy, options, &before);
    let mut after: Vec<String> = before
        .iter()
        .filter(|name| !matches!(name.as_str(), ORPHAN_FINALIZER | FOREGROUND_FINALIZER))
        .cloned()
        .collect();
    if orphan {
        after.push(ORPHAN_FINALIZER.to_owned());
    }
    if foreground {
        after.push(FOREGROUND_FINALIZER.to_owned());
    }
    let same = before.len() == after.len() && before.iter().all(|name| after.contains(name));
    if !same {
        object::set_finalizers(object, &after);
    }
    !same
}

/// Whether dependents are orphaned, and whether they are deleted first: the request decides, else finalizers that are
/// there, else the kind.
fn propagation(policy: GcPolicy, options: &DeleteOptions, finalizers: &[String]) -> (bool, bool) {
    if policy == GcPolicy::Unsupported {
        return (false, false);
    }
    if let Some(orphan) = options.orphan_dependents {
        return (orphan, false);
    }
    match &options.propagation {
        Some(Propagation::Orphan) => return (true, false),
        Some(Propagation::Foreground) => return (false, true),
        Some(Propagation::Background) => return (false, false),
        Some(Propagation::Invalid(_)) | None => {}
    }
    let present = |name: &&String| matches!(name.as_str(), ORPHAN_FINALIZER | FOREGROUND_FINALIZER);
    match finalizers.iter().find(present).map(String::as_str) {
        Some(ORPHAN_FINALIZER) => (true, false),
        Some(_) => (false, true),
        None => (policy == GcPolicy::OrphanDependents, false),
    }
}
