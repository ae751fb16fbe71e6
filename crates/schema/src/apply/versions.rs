//! What managers own in other versions of a kind: a change is looked at in the version that each of them wrote. Rules:
//! structured-merge-diff's `merge/update.go`. Custom kinds have the same paths in all versions.

use std::collections::BTreeMap;

use corten_meta::GroupVersionKind;
use serde_json::Value;

use super::compare::{self, Comparison};
use super::managed::{Entry, Managers};
use super::remove;
use super::set::Set;
use super::shape::{Node, field_set, with_named_fields};
use crate::types::type_of;
use crate::{Mode, convert, typed};

/// A change in the version of the write, and in those of managers that wrote others.
pub(super) struct Comparisons {
    pub own: Comparison,
    others: BTreeMap<String, Comparison>,
}

impl Comparisons {
    pub fn of(&self, version: &str) -> &Comparison {
        self.others.get(version).unwrap_or(&self.own)
    }
}

/// An object and its type in a version of its kind; none where there is no such version.
fn in_version(kind: &str, version: &str, object: &Value) -> Option<(Node<'static>, Value)> {
    let target = GroupVersionKind::from_api_version(version, kind).ok()?;
    let id = type_of(&target)?;
    let mut object = convert::to(object.clone(), &target);
    typed::normalize(id, &mut object, Mode::Ignore).ok()?;
    Some((Node::of(id), object))
}

fn differ(gvk: &GroupVersionKind) -> bool {
    convert::CONVERTED.contains(&&*gvk.kind)
}

/// Adds to `own`, the change in the version of `gvk`, the same change in versions of `managers`.
pub(super) fn comparisons(
    gvk: &GroupVersionKind,
    own: Comparison,
    managers: &Managers,
    [before, after]: [&Value; 2],
    reset: &Set,
) -> Comparisons {
    let mut others = BTreeMap::new();
    if differ(gvk) {
        let written = gvk.api_version();
        for version in managers
            .versions()
            .into_iter()
            .filter(|version| **version != written)
        {
            let (old, new) = (
                in_version(&gvk.kind, version, before),
                in_version(&gvk.kind, version, after),
            );
            if let (Some((node, old)), Some((_, new))) = (old, new) {
                let change = compare::values(node, &old, &new).without(reset);
                others.insert(version.clone(), change);
            }
        }
    }
    Comparisons { own, others }
}

/// Removes from `merged` what the manager applied last time and does not now (`now`, in the version of `gvk`), where no one
/// else has it. None where all is in one version.
pub(super) fn prune(
    gvk: &GroupVersionKind,
    merged: &Value,
    last: &Entry,
    others: &Managers,
    now: &Set,
) -> Option<Value> {
    let written = gvk.api_version();
    let one_version =
        last.api_version == written && others.versions().iter().all(|version| **version == written);
    if one_version || !differ(gvk) {
        return None;
    }
    let at = |version: &str, object: &Value| in_version(&gvk.kind, version, object);
    let (node, merged) = at(&last.api_version, merged)?;
    let gone = with_named_fields(node, &last.fields.set());
    let mut pruned = remove::items(node, &merged, &gone);
    let mut owned = others.by_version();
    let own = owned.entry(written.clone()).or_default();
    *own = own.union(now);
    // What is needed to convert comes back first.
    let first = owned.remove_entry(&last.api_version);
    for (version, set) in first.into_iter().chain(owned) {
        let ((node, merged), (_, less)) = (at(&version, &merged)?, at(&version, &pruned)?);
        let kept = with_named_fields(node, &field_set(node, &less));
        let kept = kept.union(&with_named_fields(node, &set));
        let all = with_named_fields(node, &field_set(node, &merged));
        let more = remove::items(node, &merged, &all.difference(&kept));
        pruned = at(&last.api_version, &more)?.1;
    }
    let all = with_named_fields(node, &field_set(node, &merged));
    let kept = with_named_fields(node, &field_set(node, &pruned));
    let dangling = all.difference(&kept).intersection(&gone);
    at(&written, &remove::items(node, &merged, &dangling)).map(|(_, object)| object)
}
