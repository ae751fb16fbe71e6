//! Metadata, on top of what holds for every kind.

use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::metadata::ANNOTATION_BYTES_MAX;
use corten_meta::names;
use serde_json::Value;

use super::At;
use crate::metadata;

/// Finalizers without a domain that core kinds may have.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];
const CONDITION_REASON_MAX: usize = 1024;
const CONDITION_MESSAGE_MAX: usize = 32 << 10;

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
    for (key, value) in at.entries() {
        if !matches!(key, "annotations" | "labels") && !value.is_null() {
            // Upstream makes the path of the Go name.
            let key = if key == "uid" { "uID" } else { key };
            at.get(key).forbidden(errors, "cannot be set");
        }
    }
}

/// `metav1.Condition`s.
pub(in crate::strategy) fn conditions(list: &At<'_, '_>, errors: &mut ErrorList) {
    let mut seen = std::collections::HashSet::new();
    for condition in list.items() {
        if !seen.insert(condition.get("type").str()) {
            condition.get("type").duplicate(errors);
        }
        self::condition(&condition, errors);
    }
}

fn condition(at: &At<'_, '_>, errors: &mut ErrorList) {
    super::label_name(&at.get("type"), errors);
    let (status, generation) = (at.get("status"), at.get("observedGeneration"));
    if !["False", "True", "Unknown"].contains(&status.str()) {
        status.not_supported(errors, &["False", "True", "Unknown"]);
    }
    if generation.int().is_some_and(|number| number < 0) {
        generation.invalid(errors, "must be greater than or equal to zero");
    }
    if !at.get("lastTransitionTime").is_set() {
        at.get("lastTransitionTime").required(errors, "");
    }
    let (reason, message) = (at.get("reason"), at.get("message"));
    if reason.is_empty() {
        reason.required(errors, "");
    } else {
        if let Some(text) = condition_reason(reason.str()) {
            reason.invalid(errors, &text);
        }
        if reason.len() > CONDITION_REASON_MAX {
            reason.too_long(errors, CONDITION_REASON_MAX as i64);
        }
    }
    if message.len() > CONDITION_MESSAGE_MAX {
        message.too_long(errors, CONDITION_MESSAGE_MAX as i64);
    }
}

/// `^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`
fn condition_reason(reason: &str) -> Option<String> {
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b',' | b':');
    let last = |c: &u8| c.is_ascii_alphanumeric() || *c == b'_';
    let valid = reason.bytes().next().is_some_and(|c| c.is_ascii_alphabetic())
        && reason.bytes().all(inner)
        && reason.as_bytes().last().is_some_and(last);
    (!valid).then(|| {
        names::regex_error(
            "a condition reason must start with alphabetic character, optionally followed by a string of \
             alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
            "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
            &[
                "my_name",
                "MY_NAME",
                "MyName",
                "ReasonA,ReasonB",
                "ReasonA:ReasonB",
            ],
        )
    })
}

/// The same value as before.
pub(in crate::strategy) fn immutable(path: &Path, new: &Value, old: &Value, errors: &mut ErrorList) {
    if new != old {
        errors.push(Error::invalid(path, new.clone(), "field is immutable"));
    }
}
