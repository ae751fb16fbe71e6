//! Printer columns, subresources and selectable fields of a version.

use std::collections::HashSet;

use corten_meta::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::{field_path, items, text};
use crate::structural::{Structural, Type};

const KINDS: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const FORMATS: [&str; 8] = [
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
];
/// Most fields a version's objects can be selected by.
const SELECTABLE_MAX: usize = 8;

pub(super) fn columns(list: &Value, path: &Path, errors: &mut ErrorList) {
    for (index, column) in items(list).iter().enumerate() {
        let path = path.index(index);
        if text(column, "name").is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        }
        let (kind, format) = (text(column, "type"), text(column, "format"));
        let detail = format!("must be one of {}", KINDS.join(","));
        if kind.is_empty() {
            errors.push(Error::required(&path.child("type"), detail));
        } else if !KINDS.contains(&kind) {
            errors.push(Error::invalid(&path.child("type"), kind, detail));
        }
        if !format.is_empty() && !FORMATS.contains(&format) {
            let detail = format!("must be one of {}", FORMATS.join(","));
            errors.push(Error::invalid(&path.child("format"), format, detail));
        }
        let at = path.child("JSONPath");
        match text(column, "jsonPath") {
            "" => errors.push(Error::required(&at, "")),
            given => errors.extend(simple_path(given, &at)),
        }
    }
}

fn simple_path(text: &str, path: &Path) -> Option<Error> {
    (!text.starts_with('.')).then(|| Error::invalid(path, text, "must be a simple json path starting with ."))
}

pub(super) fn subresources(value: &Value, path: &Path, errors: &mut ErrorList) {
    let scale = &value["scale"];
    if !scale.is_object() {
        return;
    }
    for (key, root) in [("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")] {
        let at = path.child("scale").child(key);
        match text(scale, key) {
            "" => errors.push(Error::required(&at, "")),
            given => errors.extend(simple_path(given, &at).or_else(|| {
                let under = given.strip_prefix(root).is_some_and(|rest| rest.starts_with('.'));
                (!under).then(|| Error::invalid(&at, given, format!("should be a json path under {root}")))
            })),
        }
    }
    let given = text(scale, "labelSelectorPath");
    let at = path.child("scale").child("labelSelectorPath");
    if !given.is_empty() {
        errors.extend(simple_path(given, &at).or_else(|| {
            let under = given.starts_with(".spec.") || given.starts_with(".status.");
            (!under)
                .then(|| Error::invalid(&at, given, "should be a json path under either .spec or .status"))
        }));
    }
}

/// `too_many_before` is for what an update leaves as it was.
pub(super) fn selectable(
    list: &Value,
    schema: Option<&Structural>,
    too_many_before: bool,
    path: &Path,
    errors: &mut ErrorList,
) {
    let mut unique = HashSet::new();
    for (index, field) in items(list).iter().enumerate() {
        let at = path.index(index).child("jsonPath");
        let given = text(field, "jsonPath");
        if given.is_empty() {
            errors.push(Error::required(&at, ""));
            continue;
        }
        let Some(schema) = schema else { continue };
        let found = match field_path::follow(given, schema, false) {
            Ok(found) => found,
            Err(error) => {
                errors.push(Error::invalid(&at, given, format!("is an invalid path: {error}")));
                continue;
            }
        };
        if found.root == "metadata" {
            errors.push(Error::invalid(&at, given, "must not point to fields in metadata"));
        }
        if !matches!(found.schema.kind, Type::String | Type::Boolean | Type::Integer) {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.push(Error::invalid(&at, given, detail));
        }
        if !unique.insert(found.path) {
            errors.push(Error::duplicate(&at, given));
        }
    }
    if unique.len() > SELECTABLE_MAX && !too_many_before {
        errors.push(Error::too_many(path, unique.len() as i64, SELECTABLE_MAX as i64));
    }
}

/// Whether a version had more selectable fields than are allowed, and has the same ones now.
pub(super) fn had_too_many(new: &Value, old: &Value) -> bool {
    items(old).len() > SELECTABLE_MAX && new == old
}
