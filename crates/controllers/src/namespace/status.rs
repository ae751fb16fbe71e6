//! The conditions by which a namespace says why it is still there. Upstream's words.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};

use super::content::Remaining;
use crate::core::context::time;

/// Type, reason when all is well, message when all is well; in the order conditions are listed.
const WELL: [(&str, &str, &str); 5] = [
    (
        "NamespaceDeletionDiscoveryFailure",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    (
        "NamespaceContentRemaining",
        "ContentRemoved",
        "All content successfully removed",
    ),
    (
        "NamespaceFinalizersRemaining",
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
];

/// The status of a namespace after an attempt to empty it.
#[must_use]
pub fn conditions(namespace: &Namespace, remaining: &Remaining, now: Timestamp) -> NamespaceStatus {
    let mut status = namespace.status.clone().unwrap_or_default();
    let conditions = status.conditions.get_or_insert_default();
    for (kind, reason, message) in WELL {
        let (value, reason, message) = match trouble(kind, remaining) {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", reason, message.to_owned()),
        };
        match conditions.iter_mut().find(|c| c.type_ == kind) {
            Some(current) => {
                if current.status != value {
                    current.last_transition_time = Some(time(now));
                }
                current.status = value.into();
                current.reason = Some(reason.into());
                current.message = Some(message);
            }
            None => conditions.push(NamespaceCondition {
                type_: kind.into(),
                status: value.into(),
                reason: Some(reason.into()),
                message: Some(message),
                last_transition_time: Some(time(now)),
            }),
        }
    }
    status
}

fn trouble(kind: &str, remaining: &Remaining) -> Option<(&'static str, String)> {
    let join = |parts: Vec<String>| parts.join(", ");
    match kind {
        "NamespaceDeletionDiscoveryFailure" => remaining.discovery.clone().map(|e| ("DiscoveryFailed", e)),
        "NamespaceDeletionContentFailure" if !remaining.errors.is_empty() => {
            let (count, mut errors) = (remaining.errors.len(), remaining.errors.clone());
            errors.sort();
            let what = join(errors);
            Some((
                "ContentDeletionFailed",
                format!("Failed to delete all resource types, {count} remaining: {what}"),
            ))
        }
        "NamespaceContentRemaining" if !remaining.objects.is_empty() => {
            let counts = remaining
                .objects
                .iter()
                .map(|(what, n)| format!("{what} has {n} resource instances"));
            let mut counts: Vec<_> = counts.collect();
            counts.sort();
            Some((
                "SomeResourcesRemain",
                format!("Some resources are remaining: {}", join(counts)),
            ))
        }
        "NamespaceFinalizersRemaining" if !remaining.finalizers.is_empty() => {
            let mut counts: Vec<_> = remaining
                .finalizers
                .iter()
                .map(|(f, n)| format!("{f} in {n} resource instances"))
                .collect();
            counts.sort();
            let what = join(counts);
            Some((
                "SomeFinalizersRemain",
                format!("Some content in the namespace has finalizers remaining: {what}"),
            ))
        }
        _ => None,
    }
}
