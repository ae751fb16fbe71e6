//! Metadata in its proper form: read as an `ObjectMeta`, of the object itself and of those embedded in it.

use std::sync::LazyLock;

use corten_meta::field::{Error, Path};
use corten_schema::types::{TypeId, named};
use corten_schema::{Mode, normalize};
use serde_json::{Map, Value};

use crate::place::Place;
use crate::structural::Structural;

fn object_meta() -> Option<TypeId> {
    static TYPE: LazyLock<Option<TypeId>> =
        LazyLock::new(|| named("apimachinery/pkg/apis/meta/v1", "ObjectMeta"));
    *TYPE
}

/// What to do about metadata that is not as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoerceError {
    /// Answer an error: for what clients send.
    Report,
    /// Drop the field at fault: for what was stored before there were rules.
    Drop,
}

/// Brings the `metadata` of an object to the form of an `ObjectMeta`. Answers unknown fields as `metadata.foo`; the error
/// is Go's text for a value of the wrong type.
pub fn coerce(
    object: &mut Map<String, Value>,
    errors: CoerceError,
    path: &Path,
) -> Result<Vec<String>, String> {
    let (Some(id), Some(metadata)) = (object_meta(), object.get_mut("metadata")) else {
        return Ok(Vec::new());
    };
    let mut read = metadata.clone();
    let found = match normalize(id, &mut read, Mode::Warn) {
        Ok(found) => found,
        Err(status) if errors == CoerceError::Report => return Err(status.message),
        Err(_) => {
            read = Value::Object(one_by_one(id, metadata));
            Vec::new()
        }
    };
    if let Value::Object(map) = &mut read
        && map.get("creationTimestamp").is_some_and(Value::is_null)
    {
        map.remove("creationTimestamp");
    }
    *metadata = if read.is_null() {
        Value::Object(Map::new())
    } else {
        read
    };
    let prefix = path.child("metadata");
    Ok(found
        .iter()
        .filter_map(|text| unknown(text, prefix.as_str()))
        .collect())
}

/// `unknown field "labels"` under `metadata`.
fn unknown(finding: &str, prefix: &str) -> Option<String> {
    let name = finding.strip_prefix("unknown field \"")?.strip_suffix('"')?;
    Some(format!("{prefix}.{name}"))
}

/// The members that can be read, each on its own.
fn one_by_one(id: TypeId, metadata: &Value) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, value) in metadata.as_object().into_iter().flatten() {
        let mut single = Value::Object([(name.clone(), value.clone())].into_iter().collect());
        if normalize(id, &mut single, Mode::Ignore).is_ok()
            && let Value::Object(map) = single
        {
            out.extend(map.into_iter().filter(|(_, v)| !v.is_null()));
        }
    }
    out
}

/// Brings `apiVersion`, `kind` and `metadata` of embedded resources to their form. At the root of a resource the object's
/// own are as well when `resource_root` is set. Answers the paths of unknown fields, sorted.
pub fn coerce_embedded(
    object: &mut Value,
    schema: &Structural,
    resource_root: bool,
    errors: CoerceError,
    path: &Path,
) -> Result<Vec<String>, Error> {
    if !resource_root && !schema.any(&|s| s.embedded_resource) {
        return Ok(Vec::new());
    }
    let mut unknown = Vec::new();
    let start = if path.as_str().is_empty() {
        Place::ROOT
    } else {
        Place::under(path)
    };
    let embedded = resource_root || schema.embedded_resource;
    walk(object, schema, embedded, errors, &start, &mut unknown)?;
    unknown.sort();
    Ok(unknown)
}

fn walk(
    value: &mut Value,
    schema: &Structural,
    embedded: bool,
    errors: CoerceError,
    at: &Place<'_>,
    unknown: &mut Vec<String>,
) -> Result<(), Error> {
    match value {
        Value::Object(map) => {
            if embedded {
                type_meta(map, errors, at)?;
                let shown = map.get("metadata").cloned();
                match coerce(map, errors, &at.path()) {
                    Ok(found) => unknown.extend(found),
                    Err(text) => {
                        let path = at.field("metadata").path();
                        return Err(Error::invalid(&path, shown.unwrap_or_default(), text));
                    }
                }
            }
            for (name, value) in map {
                if let Some(property) = schema.property(name) {
                    let embedded = property.embedded_resource;
                    walk(value, property, embedded, errors, &at.field(name), unknown)?;
                } else if let Some(schema) = schema.additional_schema() {
                    walk(
                        value,
                        schema,
                        schema.embedded_resource,
                        errors,
                        &at.key(name),
                        unknown,
                    )?;
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.items.as_deref() {
                for (index, item) in items.iter_mut().enumerate() {
                    walk(
                        item,
                        schema,
                        schema.embedded_resource,
                        errors,
                        &at.index(index),
                        unknown,
                    )?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn type_meta(map: &mut Map<String, Value>, errors: CoerceError, at: &Place<'_>) -> Result<(), Error> {
    for name in ["apiVersion", "kind"] {
        let Some(value) = map.get(name).filter(|v| !v.is_string()) else {
            continue;
        };
        if errors == CoerceError::Report {
            return Err(Error::invalid(
                &at.field(name).path(),
                value.clone(),
                "must be a string",
            ));
        }
        map.remove(name);
    }
    Ok(())
}
