//! Metadata, on top of what holds for every kind.

use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::names;
use serde_json::Value;

use super::At;
use crate::metadata;

/// Finalizers without a domain that core kinds may have.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];
const ANNOTATION_BYTES_MAX: usize = 256 << 10;

/// Rule for a name, or with `true` for a name's prefix.
type NameRule = fn(&str, bool) -> Vec<String>;

/// `ValidateObjectMeta` as core kinds have it.
pub(in crate::strategy) fn object_meta(object: &Value, namespaced: bool, rule: NameRule) -> ErrorList {
    let mut errors = metadata::validate(object, namespaced, &rule);
    kube_finalizers(object, &mut errors);
    errors
}

/// What core kinds add to the rules of every update.
pub(in crate::strategy) fn object_meta_update(object: &Value, errors: &mut ErrorList) {
    kube_finalizers(object, errors);
}

fn kube_finalizers(object: &Value, errors: &mut ErrorList) {
    let at = At::top("metadata", object.get("metadata").unwrap_or(&Value::Null));
    for finalizer in at.get("finalizers").items() {
        kube_finalizer(&finalizer, errors);
    }
}

/// A standard finalizer, or one with a domain.
pub(in crate::strategy) fn kube_finalizer(at: &At<'_, '_>, errors: &mut ErrorList) {
    let name = at.str();
    if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
        at.invalid(
            errors,
            "name is neither a standard finalizer name nor is it fully qualified",
        );
    }
}

/// The annotations of a template.
pub(in crate::strategy) fn annotations(at: &At<'_, '_>, errors: &mut ErrorList) {
    let mut bytes = 0;
    for (key, value) in at.entries() {
        bytes += key.len() + value.as_str().map_or(0, str::len);
        let messages = names::is_qualified_name(&key.to_lowercase());
        errors.extend(
            messages
                .into_iter()
                .map(|message| Error::invalid(&at.path(), key, message)),
        );
    }
    if bytes > ANNOTATION_BYTES_MAX {
        at.too_long(errors, ANNOTATION_BYTES_MAX as i64);
    }
}

/// Metadata of an embedded template: labels and annotations, nothing else.
pub(in crate::strategy) fn template_meta(at: &At<'_, '_>, errors: &mut ErrorList) {
    annotations(&at.get("annotations"), errors);
    super::label_map(&at.get("labels"), errors);
    for (key, _) in at
        .entries()
        .filter(|(key, _)| !matches!(*key, "annotations" | "labels" | "creationTimestamp"))
    {
        at.get(key).forbidden(errors, "cannot be set");
    }
}

/// The same value as before.
pub(in crate::strategy) fn immutable(path: &Path, new: &Value, old: &Value, errors: &mut ErrorList) {
    if new != old {
        errors.push(Error::invalid(path, new.clone(), "field is immutable"));
    }
}
