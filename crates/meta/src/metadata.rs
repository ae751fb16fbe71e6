//! Rules of `metadata` that hold for every kind (`apimachinery/pkg/api/validation/objectmeta.go`).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::{Error, ErrorList, Path};
use crate::{names, object};

const ORPHAN_FINALIZER: &str = "orphan";
const FOREGROUND_FINALIZER: &str = "foregroundDeletion";

/// All keys and values of the annotations together.
pub const ANNOTATION_BYTES_MAX: usize = 256 << 10;
const IMMUTABLE: &str = "field is immutable";
/// Metadata an update cannot change.
const IMMUTABLE_FIELDS: [&str; 6] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];
const FIELD_MANAGER_LENGTH_MAX: usize = 128;

/// Problems of a name or, with `true`, of a `generateName`.
pub type NameRule<'a> = &'a dyn Fn(&str, bool) -> Vec<String>;

/// `ValidateObjectMeta`.
pub fn validate(value: &Value, namespaced: bool, name_rule: NameRule<'_>) -> ErrorList {
    validate_at(value, namespaced, name_rule, &Path::new("metadata"))
}

/// `ValidateObjectMeta` of a resource embedded in another, whose metadata is at a path.
pub fn validate_at(value: &Value, namespaced: bool, name_rule: NameRule<'_>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let generate_name = object::generate_name(value);
    if !generate_name.is_empty() {
        errors.extend_invalid(
            &path.child("generateName"),
            generate_name,
            name_rule(generate_name, true),
        );
    }
    let name = object::name(value);
    if name.is_empty() {
        errors.push(Error::required(
            &path.child("name"),
            "name or generateName is required",
        ));
    } else {
        errors.extend_invalid(&path.child("name"), name, name_rule(name, false));
    }
    validate_namespace(
        &mut errors,
        &path.child("namespace"),
        object::namespace(value),
        namespaced,
    );
    let generation = object::generation(value);
    if generation < 0 {
        let detail = "must be greater than or equal to 0";
        errors.push(Error::invalid(&path.child("generation"), generation, detail));
    }
    validate_shared(&mut errors, path, value);
    validate_finalizers(&mut errors, &path.child("finalizers"), &object::finalizers(value));
    errors
}

fn validate_namespace(errors: &mut ErrorList, path: &Path, namespace: &str, namespaced: bool) {
    match (namespaced, namespace) {
        (true, "") => errors.push(Error::required(path, "")),
        (true, namespace) => {
            errors.extend_invalid(path, namespace, names::name_is_dns_label(namespace, false))
        }
        (false, "") => {}
        (false, _) => errors.push(Error::forbidden(path, "not allowed on this type")),
    }
}

/// What create and update check alike.
fn validate_shared(errors: &mut ErrorList, path: &Path, value: &Value) {
    let labels = path.child("labels");
    for (key, value) in object::label_entries(value) {
        errors.extend_invalid(&labels, key, names::is_qualified_name(key));
        errors.extend_invalid(&labels, value, names::is_label_value(value));
    }
    validate_annotations(errors, &path.child("annotations"), value);
    validate_owners(errors, &path.child("ownerReferences"), value);
    validate_managed_fields(errors, &path.child("managedFields"), value);
}

fn validate_annotations(errors: &mut ErrorList, path: &Path, value: &Value) {
    let Some(annotations) = value["metadata"]["annotations"].as_object() else {
        return;
    };
    let mut bytes = 0;
    for (key, value) in annotations {
        bytes += key.len() + value.as_str().map_or(0, str::len);
        errors.extend_invalid(path, key, names::is_qualified_name(&key.to_lowercase()));
    }
    if bytes > ANNOTATION_BYTES_MAX {
        errors.push(Error::too_long(path, ANNOTATION_BYTES_MAX as i64));
    }
}

fn validate_owners(errors: &mut ErrorList, path: &Path, value: &Value) {
    let owners = object::owner_refs(value);
    let mut controller: Option<String> = None;
    for owner in owners {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        if version_of(text("apiVersion")).is_empty() {
            let detail = "version must not be empty";
            errors.push(Error::invalid(
                &path.child("apiVersion"),
                text("apiVersion"),
                detail,
            ));
        }
        for field in ["kind", "name", "uid"] {
            if text(field).is_empty() {
                errors.push(Error::invalid(&path.child(field), "", "must not be empty"));
            }
        }
        if (text("apiVersion"), text("kind")) == ("v1", "Event") {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(Error::invalid(path, owner.clone(), detail));
        }
        if owner["controller"] == true {
            let name = format!("{}/{}", text("kind"), text("name"));
            if let Some(first) = &controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                );
                errors.push(Error::invalid(path, owners.to_vec(), detail));
            } else {
                controller = Some(name);
            }
        }
    }
}

/// The version of an apiVersion; what has more than one slash has none.
fn version_of(api_version: &str) -> &str {
    let (_, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if version.contains('/') { "" } else { version }
}

fn validate_managed_fields(errors: &mut ErrorList, path: &Path, value: &Value) {
    let entries = value["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten();
    for (at, entry) in entries.enumerate() {
        let path = path.index(at);
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        if !matches!(text("operation"), "Apply" | "Update") {
            let detail = "must be `Apply` or `Update`";
            errors.push(Error::invalid(
                &path.child("operation"),
                text("operation"),
                detail,
            ));
        }
        if !matches!(text("fieldsType"), "" | "FieldsV1") {
            errors.push(Error::invalid(
                &path.child("fieldsType"),
                text("fieldsType"),
                "must be `FieldsV1`",
            ));
        }
        if text("manager").len() > FIELD_MANAGER_LENGTH_MAX {
            errors.push(Error::too_long(
                &path.child("manager"),
                FIELD_MANAGER_LENGTH_MAX as i64,
            ));
        }
    }
}

fn validate_finalizers(errors: &mut ErrorList, path: &Path, finalizers: &[String]) {
    for finalizer in finalizers {
        errors.extend_invalid(path, finalizer, names::is_qualified_name(finalizer));
    }
    let has = |wanted: &str| finalizers.iter().any(|finalizer| finalizer == wanted);
    if has(ORPHAN_FINALIZER) && has(FOREGROUND_FINALIZER) {
        let detail = format!("finalizer {ORPHAN_FINALIZER} and {FOREGROUND_FINALIZER} cannot be both set");
        errors.push(Error::invalid(path, finalizers.to_vec(), detail));
    }
}

/// `ValidateObjectMetaUpdate`, without what [`validate`] checks.
pub fn validate_update(new: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("metadata");
    if object::deletion_timestamp(old).is_some() {
        let before: BTreeSet<String> = object::finalizers(old).into_iter().collect();
        let added: BTreeSet<String> = object::finalizers(new)
            .into_iter()
            .filter(|finalizer| !before.contains(finalizer))
            .collect();
        if !added.is_empty() {
            let added: Vec<String> = added.iter().map(|finalizer| format!("{finalizer:?}")).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            errors.push(Error::forbidden(&path.child("finalizers"), detail));
        }
    }
    if object::resource_version(new).is_empty() {
        let detail = "must be specified for an update";
        errors.push(Error::invalid(&path.child("resourceVersion"), "", detail));
    }
    if object::generation(new) < object::generation(old) {
        let detail = "must not be decremented";
        errors.push(Error::invalid(
            &path.child("generation"),
            object::generation(new),
            detail,
        ));
    }
    for field in IMMUTABLE_FIELDS {
        let (now, before) = (&new["metadata"][field], &old["metadata"][field]);
        if now != before {
            let shown = if now.is_null() {
                Value::String(String::new())
            } else {
                now.clone()
            };
            errors.push(Error::invalid(&path.child(field), shown, IMMUTABLE));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_has_a_version() {
        assert_eq!(version_of("v1"), "v1");
        assert_eq!(version_of("apps/v1"), "v1");
        for none in ["", "apps/", "a/b/c"] {
            assert_eq!(version_of(none), "", "{none}");
        }
    }
}
