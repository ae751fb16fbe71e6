//! The rules of embedded resources: what identifies an object must be there, and its metadata be valid.

use corten_meta::field::{Error, ErrorList};
use corten_meta::{GroupVersion, metadata, names};
use serde_json::{Map, Value};

use crate::place::Place;
use crate::structural::Structural;

/// Checks each resource embedded in an object, and the object itself where the schema says that it is one.
pub fn validate(object: &Value, schema: &Structural, resource_root: bool) -> ErrorList {
    validate_at(object, schema, resource_root, &Place::ROOT)
}

pub(crate) fn validate_at(
    object: &Value,
    schema: &Structural,
    resource_root: bool,
    at: &Place<'_>,
) -> ErrorList {
    let mut errors = ErrorList::new();
    if resource_root || schema.any(&|s| s.embedded_resource) {
        let embedded = resource_root || schema.embedded_resource;
        walk(object, schema, embedded, at, &mut errors);
    }
    errors
}

fn walk(value: &Value, schema: &Structural, embedded: bool, at: &Place<'_>, errors: &mut ErrorList) {
    match value {
        Value::Object(map) => {
            if embedded {
                resource(value, map, at, errors);
            }
            for (name, value) in map {
                if let Some(property) = schema.property(name) {
                    walk(
                        value,
                        property,
                        property.embedded_resource,
                        &at.field(name),
                        errors,
                    );
                } else if let Some(schema) = schema.additional_schema() {
                    walk(value, schema, schema.embedded_resource, &at.key(name), errors);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.items.as_deref() {
                for (index, item) in items.iter().enumerate() {
                    walk(item, schema, schema.embedded_resource, &at.index(index), errors);
                }
            }
        }
        _ => {}
    }
}

fn resource(object: &Value, map: &Map<String, Value>, at: &Place<'_>, errors: &mut ErrorList) {
    for name in ["apiVersion", "kind"] {
        match map.get(name) {
            None => errors.push(Error::required(&at.field(name).path(), "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(Error::invalid(&at.field(name).path(), "", "must not be empty"));
            }
            Some(Value::String(text)) => {
                if let Some(problem) = identifier(name, text) {
                    errors.push(Error::invalid(&at.field(name).path(), text.as_str(), problem));
                }
            }
            Some(other) => {
                errors.push(Error::invalid(
                    &at.field(name).path(),
                    other.clone(),
                    "must be a string",
                ));
            }
        }
    }
    let Some(given) = map.get("metadata") else { return };
    let mut copy = Map::from_iter([("metadata".to_owned(), given.clone())]);
    let path = at.field("metadata").path();
    match super::coerce(&mut copy, super::CoerceError::Report, &at.path()) {
        Err(text) => errors.push(Error::invalid(&path, given.clone(), text)),
        Ok(_) => {
            let mut copy = Value::Object(copy);
            if corten_meta::object::name(&copy).is_empty() {
                // A name is not asked for here.
                copy["metadata"]["name"] = Value::from("fakename");
            }
            let namespaced = !corten_meta::object::namespace(object).is_empty();
            errors.extend(metadata::validate_at(
                &copy,
                namespaced,
                &names::is_path_segment,
                &path,
            ));
        }
    }
}

fn identifier(name: &str, text: &str) -> Option<String> {
    if name == "apiVersion" {
        return GroupVersion::parse(text).err();
    }
    let messages = names::is_dns1035_label(&text.to_lowercase());
    (!messages.is_empty()).then(|| {
        format!(
            "may have mixed case, but should otherwise match: {}",
            messages.join(",")
        )
    })
}
