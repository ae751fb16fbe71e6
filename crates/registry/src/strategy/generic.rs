//! What every kind does unless its strategy says otherwise, from two facts of its schema: has it a status, has it
//! a generation.

use corten_meta::object;
use serde_json::{Value, json};

use super::{StrategyContext, disabled};
use crate::resource::{ResourceInfo, Subresource};

/// Clients cannot create a status; the first generation is 1.
pub fn prepare_for_create(ctx: &StrategyContext<'_>, object: &mut Value) {
    if ctx.resource.has_status {
        object["status"] = ctx.resource.empty_status.clone();
    }
    if ctx.resource.has_generation {
        object::set_generation(object, 1);
    }
    disabled::drop(ctx.resource, object, &Value::Null);
}

/// The main resource keeps the old status, the status subresource keeps everything but status and metadata.
/// The generation rises when what the user wants has changed.
pub fn prepare_for_update(ctx: &StrategyContext<'_>, object: &mut Value, old: &Value) {
    if ctx.subresource == Subresource::BINDING {
        // The handler has made spec and status from the stored object.
        return;
    }
    disabled::drop(ctx.resource, object, old);
    if !ctx.resource.has_status {
        return bump_generation(ctx.resource, object, old);
    }
    if ctx.subresource == Subresource::STATUS {
        keep_all_but_status(object, old);
        keep_metadata(ctx.resource, object, old);
    } else {
        reset_status(object, &old["status"]);
        bump_generation(ctx.resource, object, old);
    }
}

/// Puts the old status back; an absent one is the empty object, as Go encodes it.
pub fn reset_status(object: &mut Value, status: &Value) {
    object["status"] = if status.is_null() {
        json!({})
    } else {
        status.clone()
    };
}

/// Everything but `status` and `metadata` as it was.
pub fn keep_all_but_status(object: &mut Value, old: &Value) {
    let (Some(new), Some(old)) = (object.as_object_mut(), old.as_object()) else {
        return;
    };
    new.retain(|key, _| matches!(key.as_str(), "status" | "metadata") || old.contains_key(key));
    for (key, value) in old {
        if !matches!(key.as_str(), "status" | "metadata") {
            new.insert(key.clone(), value.clone());
        }
    }
}

/// What users give to an object, and what its deletion and generation are.
const OF_STATUS: &[&str] = &[
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "deletionTimestamp",
    "generation",
];

/// Puts back what a write of a status does not change in metadata of these kinds; others let it change. Facts: the
/// `PrepareForUpdate` of upstream's status strategies.
fn keep_metadata(resource: &ResourceInfo, object: &mut Value, old: &Value) {
    let kept = match (&*resource.group, &*resource.plural) {
        ("apps", "deployments") => &["labels"],
        ("apiregistration.k8s.io", "apiservices") => &OF_STATUS[..4],
        ("storage.k8s.io", "volumeattachments")
        | ("networking.k8s.io", "servicecidrs")
        | ("admissionregistration.k8s.io", "validatingadmissionpolicies")
        | ("resource.k8s.io", "resourceclaims") => OF_STATUS,
        ("flowcontrol.apiserver.k8s.io", _) => return keep_all_metadata(object, old),
        _ => return,
    };
    for field in kept {
        copy_field(&mut object["metadata"], &old["metadata"], field);
    }
}

/// Makes a field what it is in another object: absent where it is absent there.
pub(super) fn copy_field(to: &mut Value, from: &Value, field: &str) {
    let Some(to) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => to.insert(field.to_owned(), value.clone()),
        None => to.remove(field),
    };
}

/// All but who owns which fields.
fn keep_all_metadata(object: &mut Value, old: &Value) {
    let given = std::mem::replace(&mut object["metadata"], old["metadata"].clone());
    copy_field(&mut object["metadata"], &given, "managedFields");
}

/// One more than before if anything but `status` and `metadata` differs.
pub fn bump_generation(resource: &ResourceInfo, object: &mut Value, old: &Value) {
    if resource.has_generation && !same_intent(object, old) {
        let generation = object::generation(old) + 1;
        object::set_generation(object, generation);
    }
}

fn same_intent(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else {
        return new == old;
    };
    let intent = |key: &&String| !matches!(key.as_str(), "status" | "metadata" | "apiVersion" | "kind");
    new.keys().filter(intent).count() == old.keys().filter(intent).count()
        && new
            .iter()
            .filter(|(key, _)| intent(key))
            .all(|(key, value)| old.get(key) == Some(value))
}
