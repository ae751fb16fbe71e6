//! Create, update and status update of custom objects (`registry/customresource`). The rules of metadata are the registry's.

use std::collections::BTreeSet;

use corten_meta::field::{Error, ErrorList, ErrorType, Path};
use corten_meta::{names, object, quote};
use serde_json::{Map, Value};

use super::Version;
use crate::validate;

const STANDARD_FINALIZERS: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];
const UNCHECKED: &str = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

impl Version {
    pub fn prepare_for_create(&self, object: &mut Value) {
        if self.has_status
            && let Some(map) = object.as_object_mut()
        {
            map.remove("status");
        }
        object::set_generation(object, 1);
    }

    /// Keeps the status where it has a door of its own; the generation rises with any change but to metadata.
    pub fn prepare_for_update(&self, object: &mut Value, old: &Value) {
        if self.has_status
            && let Some(map) = object.as_object_mut()
        {
            match old.get("status") {
                Some(status) => drop(map.insert("status".to_owned(), status.clone())),
                None => drop(map.remove("status")),
            }
        }
        let before = object::generation(old);
        let generation = if is_same_intent(object, old) {
            before
        } else {
            before + 1
        };
        object::set_generation(object, generation);
    }

    /// Only the status is new, and who owns its fields.
    pub fn prepare_for_status_update(&self, object: &mut Value, old: &Value) {
        let status = object.get("status").cloned();
        let managed = object::metadata(object).get("managedFields").cloned();
        *object = old.clone();
        if let Some(map) = object.as_object_mut() {
            match status {
                Some(status) => drop(map.insert("status".to_owned(), status)),
                None => drop(map.remove("status")),
            }
        }
        let metadata = object::metadata_mut(object);
        match managed {
            Some(managed) => drop(metadata.insert("managedFields".to_owned(), managed)),
            None => drop(metadata.remove("managedFields")),
        }
    }

    pub fn validate(&self, object: &Value) -> ErrorList {
        let mut errors = self.type_meta(object);
        if !errors.is_empty() {
            return errors;
        }
        if let Some(schema) = &self.schema {
            errors.extend(validate::object(object, schema, &Path::root()));
        }
        self.scale_rules(object, true, &mut errors);
        if let Some(schema) = &self.schema {
            errors.extend(crate::object::validate_embedded(object, schema, false));
            errors.extend(validate::lists(object, schema));
        }
        self.run_rules(object, None, &mut errors);
        errors
    }

    pub fn validate_update(&self, object: &Value, old: &Value) -> ErrorList {
        let mut errors = self.type_meta(object);
        if !errors.is_empty() {
            return errors;
        }
        if let Some(schema) = &self.schema {
            errors.extend(validate::change(object, old, schema, &Path::root()));
        }
        self.scale_rules(object, true, &mut errors);
        if let Some(schema) = &self.schema {
            errors.extend(crate::object::validate_embedded(object, schema, false));
            errors.extend(self.list_rules(object, old));
        }
        self.run_rules(object, Some(old), &mut errors);
        errors
    }

    pub fn validate_status_update(&self, object: &Value, old: &Value) -> ErrorList {
        let mut errors = self.type_meta(object);
        if !errors.is_empty() {
            return errors;
        }
        let schema = self
            .schema
            .as_deref()
            .and_then(|schema| schema.property("status"));
        if let (Some(status), Some(schema)) = (object.get("status"), schema) {
            let path = Path::new("status");
            errors.extend(match old.get("status") {
                Some(old) => validate::change(status, old, schema, &path),
                None => validate::object(status, schema, &path),
            });
        }
        self.scale_rules(object, false, &mut errors);
        errors.extend(self.list_rules(object, old));
        self.run_rules(object, Some(old), &mut errors);
        errors
    }

    /// Advice on finalizers that are new.
    pub fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let before = old.map(object::finalizers).unwrap_or_default();
        let added: BTreeSet<String> = object::finalizers(object)
            .into_iter()
            .filter(|finalizer| !before.contains(finalizer))
            .collect();
        added
            .iter()
            .flat_map(|finalizer| finalizer_warnings(finalizer))
            .collect()
    }

    fn type_meta(&self, value: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let (kind, api_version) = (object::kind(value), object::api_version(value));
        if kind != self.gvk.kind {
            let detail = format!("must be {}", self.gvk.kind);
            errors.push(Error::invalid(&Path::new("kind"), kind, detail));
        }
        let wanted = self.gvk.api_version();
        if api_version != wanted {
            let detail = format!("must be {wanted}");
            errors.push(Error::invalid(&Path::new("apiVersion"), api_version, detail));
        }
        errors
    }

    fn scale_rules(&self, object: &Value, spec: bool, errors: &mut ErrorList) {
        if let Some(scale) = &self.scale {
            if spec {
                errors.extend(scale.validate_spec(object));
            }
            errors.extend(scale.validate_status(object));
        }
    }

    /// Lists that were wrong before may stay so.
    fn list_rules(&self, object: &Value, old: &Value) -> ErrorList {
        let Some(schema) = &self.schema else {
            return ErrorList::new();
        };
        let errors = validate::lists(object, schema);
        if errors.is_empty() || validate::lists(old, schema).is_empty() {
            return errors;
        }
        ErrorList::new()
    }

    fn run_rules(&self, object: &Value, old: Option<&Value>, errors: &mut ErrorList) {
        let (Some(rules), Some(schema)) = (&self.rules, &self.schema) else {
            return;
        };
        if errors.iter().any(is_blocking) {
            errors.push(Error::invalid(&Path::new("<nil>"), Value::Null, UNCHECKED));
        } else {
            errors.extend(rules.validate(schema, object, old));
        }
    }
}

/// Rules must not see objects that are not even of the right shape.
fn is_blocking(error: &Error) -> bool {
    use ErrorType::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
    matches!(
        error.error_type,
        NotSupported | Required | TooLong | TooMany | TypeInvalid
    )
}

/// The same but for metadata.
fn is_same_intent(new: &Value, old: &Value) -> bool {
    let members = |value: &Value| {
        let all = value.as_object().map(Map::len).unwrap_or_default();
        all - usize::from(value.get("metadata").is_some())
    };
    let stated = new
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != "metadata");
    let mut pairs = stated.map(|(key, value)| (Some(value), old.get(key)));
    members(new) == members(old) && pairs.all(|(new, old)| new == old)
}

fn finalizer_warnings(finalizer: &str) -> Vec<String> {
    let head = format!("metadata.finalizers: {}", quote(finalizer));
    let mut out: Vec<String> = names::is_qualified_name(finalizer)
        .iter()
        .map(|message| format!("{head}: {message}"))
        .collect();
    if !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer) {
        let path = if finalizer.contains('.') {
            " including a path (/)"
        } else {
            ""
        };
        out.push(format!(
            "{head}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other finalizer writers"
        ));
    }
    out
}
