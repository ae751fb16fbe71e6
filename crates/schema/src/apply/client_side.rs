//! Objects that `kubectl apply` wrote on the client's side before it applies them here. Rules: upstream's
//! `managedfields/internal/lastappliedmanager.go` and `lastappliedupdater.go`.

use corten_meta::metadata::ANNOTATION_BYTES_MAX;
use corten_meta::{html_safe, object};
use serde_json::{Map, Value};

use super::compare;
use super::set::Set;
use super::shape::{Node, field_set};

/// Who may take over what it once applied on the client's side.
const KUBECTL: &str = "kubectl";
/// What it applied last, as JSON.
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The fields that an object still has as they were last applied on the client's side: no conflicts for kubectl. None for
/// others, and where the annotation is of another version or does not fit.
pub(super) fn not_in_conflict(manager: &str, node: Node<'_>, live: &Value, api_version: &str) -> Option<Set> {
    let noted = object::annotation(live, ANNOTATION).filter(|_| manager == KUBECTL)?;
    let applied: Value = serde_json::from_str(noted).ok()?;
    let fits =
        object::api_version(&applied) == api_version && super::validate::errors(node, &applied).is_empty();
    if !fits {
        return None;
    }
    let changed = compare::values(node, &applied, live);
    let touched = changed.modified.union(&changed.added).union(&changed.removed);
    Some(field_set(node, &applied).difference(&touched))
}

/// Where kubectl applies to an object that has the annotation, it says from now on what is applied here.
pub(super) fn note(manager: &str, configuration: &Value, out: &mut Value) {
    let is_noted = object::annotation(out, ANNOTATION).is_some_and(|noted| !noted.is_empty());
    if manager != KUBECTL || !is_noted {
        return;
    }
    let mut applied = configuration.clone();
    if let Some(annotations) = annotations_mut(&mut applied) {
        annotations.remove(ANNOTATION);
    }
    let text = html_safe(&applied.to_string()) + "\n";
    let Some(annotations) = annotations_mut(out) else {
        return;
    };
    annotations.insert(ANNOTATION.to_owned(), text.into());
    let bytes = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len);
    if annotations.iter().map(bytes).sum::<usize>() > ANNOTATION_BYTES_MAX {
        annotations.remove(ANNOTATION);
    }
}

fn annotations_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.pointer_mut("/metadata/annotations")?.as_object_mut()
}
