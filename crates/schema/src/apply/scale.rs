//! Owners of `spec.replicas` as owners of a Scale's, and back: applying to `scale` changes who owns the field of the object.
//! Rules: upstream's `managedfields/scalehandler.go`.

use corten_meta::GroupVersionKind;
use serde_json::Value;

use super::managed::{Entry, Fields, Id, Managers, Operation};
use super::set::Set;

const SCALE: &str = "autoscaling/v1";

fn replicas() -> Set {
    Set::of_paths(&[&["spec", "replicas"]])
}

fn has_replicas(entry: &Entry) -> bool {
    !entry.fields.set().intersection(&replicas()).is_empty()
}

/// The entry's version is one of the object's group: its count stands at `spec.replicas`.
fn is_known(entry: &Entry, gvk: &GroupVersionKind) -> bool {
    let version = GroupVersionKind::from_api_version(&entry.api_version, "");
    version.is_ok_and(|version| version.group == gvk.group)
}

fn in_version(id: Id, version: &str) -> Id {
    let api_version = match id.operation {
        Operation::Apply => String::new(),
        Operation::Update => version.to_owned(),
    };
    Id { api_version, ..id }
}

/// Those of an object's managed fields that are about its count, as a Scale's.
pub fn to_scale(of: &Value, gvk: &GroupVersionKind) -> Value {
    let counted = Managers::of(of).map(|(id, entry)| {
        let counts = is_known(&entry, gvk) && has_replicas(&entry);
        counts.then(|| {
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
pub fn to_object(scale: &Value, of: &mut Value, gvk: &GroupVersionKind) {
    let mut of_scale = Managers::of(scale);
    let mut kept = Managers::of(of).map(|(id, mut entry)| {
        if !is_known(&entry, gvk) {
            return None;
        }
        if has_replicas(&entry) && of_scale.take(&in_version(id.clone(), SCALE)).is_none() {
            let left = entry.fields.set().difference(&replicas());
            entry.fields = Fields::Set(left);
        }
        (!entry.fields.is_empty()).then_some((id, entry))
    });
    let version = gvk.api_version();
    let added = of_scale.map(|(id, entry)| {
        let entry = Entry {
            api_version: version.clone(),
            ..entry
        };
        Some((in_version(id, &version), entry))
    });
    kept.absorb(added);
    kept.write_to(of);
}
