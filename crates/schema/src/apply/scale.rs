//! Owners of `spec.replicas` as owners of a Scale's, and back: applying to `scale` changes who owns the field of the object.
//! Rules: upstream's `managedfields/scalehandler.go`.

use std::collections::BTreeMap;

use corten_meta::GroupVersionKind;
use serde_json::Value;

use super::managed::{Entry, Fields, Id, Managers, Operation};
use super::set::Set;

const SCALE: &str = "autoscaling/v1";

/// The steps to the count in a custom kind's versions, by `group/version`; none for a version without a scale.
pub type ReplicasPaths = BTreeMap<String, Option<Vec<String>>>;

/// Where the versions of a kind have their count.
#[derive(Clone, Copy)]
pub enum Counts<'a> {
    /// At `spec.replicas` in all of this group.
    Builtin(&'a str),
    Custom(&'a ReplicasPaths),
}

impl Counts<'_> {
    /// `None` for a version that is not the kind's, none within for one without a scale.
    fn of(&self, api_version: &str) -> Option<Option<Set>> {
        match self {
            Self::Builtin(group) => {
                let version = GroupVersionKind::from_api_version(api_version, "").ok()?;
                (version.group == *group).then(|| Some(replicas()))
            }
            Self::Custom(paths) => {
                let set = |steps: &Vec<String>| {
                    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
                    Set::of_paths(&[&steps])
                };
                paths.get(api_version).map(|steps| steps.as_ref().map(set))
            }
        }
    }
}

/// Where a Scale has it.
fn replicas() -> Set {
    Set::of_paths(&[&["spec", "replicas"]])
}

fn has(entry: &Entry, count: &Set) -> bool {
    !entry.fields.set().intersection(count).is_empty()
}

fn in_version(id: Id, version: &str) -> Id {
    let api_version = match id.operation {
        Operation::Apply => String::new(),
        Operation::Update => version.to_owned(),
    };
    Id { api_version, ..id }
}

/// Those of an object's managed fields that are about its count, as a Scale's.
pub fn to_scale(of: &Value, counts: Counts<'_>) -> Value {
    let counted = Managers::of(of).map(|(id, entry)| {
        let count = counts.of(&entry.api_version).flatten()?;
        has(&entry, &count).then(|| {
            let entry = Entry {
                api_version: SCALE.to_owned(),
                fields: Fields::Set(replicas()),
                ..entry
            };
            (in_version(id, SCALE), entry)
        })
    });
    counted.into_list()
}

/// Puts the managed fields of a Scale in the place of those that an object had about its count.
pub fn to_object(scale: &Value, of: &mut Value, gvk: &GroupVersionKind, counts: Counts<'_>) {
    let mut of_scale = Managers::of(scale);
    let mut kept = Managers::of(of).map(|(id, mut entry)| {
        let count = counts.of(&entry.api_version)?;
        if let Some(count) = count.filter(|count| has(&entry, count))
            && of_scale.take(&in_version(id.clone(), SCALE)).is_none()
        {
            let left = entry.fields.set().difference(&count);
            entry.fields = Fields::Set(left);
        }
        (!entry.fields.is_empty()).then_some((id, entry))
    });
    let version = gvk.api_version();
    let count = counts.of(&version).flatten().unwrap_or_else(replicas);
    let added = of_scale.map(|(id, entry)| {
        let entry = Entry {
            api_version: version.clone(),
            fields: Fields::Set(count.clone()),
            ..entry
        };
        Some((in_version(id, &version), entry))
    });
    kept.absorb(added);
    kept.write_to(of);
}
