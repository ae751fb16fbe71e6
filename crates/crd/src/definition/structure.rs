//! Whether a schema is structural (KEP-1002): every value it speaks of has a type, and junctors only restrict what is
//! described outside of them.

use corten_meta::field::{Error, ErrorList, Path};
use serde_json::{Map, Value, json};

use super::{entries, items, text};

/// Where in a schema a node is, for the text about a missing type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Violations, sorted by their text as upstream has them.
pub(super) fn validate(schema: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    node(schema, Level::Root, path, &mut errors);
    junctors(schema, Some(schema), path, path, &mut errors);
    errors.sort_by_cached_key(ToString::to_string);
    errors
}

fn set(node: &Value, key: &str) -> bool {
    node[key] == true
}

fn node(schema: &Value, level: Level, path: &Path, errors: &mut ErrorList) {
    let kind = text(schema, "type");
    let items = &schema["items"];
    if kind == "array" && (items.is_null() || *items == json!([])) {
        errors.push(Error::required(&path.child("items"), "must be specified"));
    }
    if schema["items"].is_object() {
        node(&schema["items"], Level::Item, &path.child("items"), errors);
    }
    for (name, property) in entries(&schema["properties"]) {
        node(
            property,
            Level::Field,
            &path.child("properties").key(name),
            errors,
        );
    }
    let additional = &schema["additionalProperties"];
    if !additional.is_null() {
        let path = path.child("additionalProperties");
        if level == Level::Root {
            errors.push(Error::forbidden(&path, "must not be used at the root"));
        }
        if additional.is_object() {
            node(additional, Level::Field, &path, errors);
        }
    }
    extensions(schema, path, errors);
    let (any, all) = (
        is_int_or_string(&schema["anyOf"]),
        is_int_or_string(&schema["allOf"][0]["anyOf"]),
    );
    values(schema, any, all, path, errors);
    kinds(schema, kind, level, path, errors);
    if let Some(metadata) = schema["properties"].get("metadata") {
        let checked = level == Level::Root || set(schema, "x-kubernetes-embedded-resource");
        let path = path.child("properties").key("metadata");
        if checked && text(metadata, "type") != "object" {
            errors.push(Error::invalid(
                &path.child("type"),
                text(metadata, "type"),
                "must be object",
            ));
        }
        if level == Level::Root && !restricts_names_only(metadata) {
            errors.push(Error::forbidden(
                &path,
                "must not specify anything other than name and generateName, but metadata is implicitly specified",
            ));
        }
    }
    if set(schema, "x-kubernetes-embedded-resource")
        && !set(schema, "x-kubernetes-preserve-unknown-fields")
        && entries(&schema["properties"]).next().is_none()
    {
        errors.push(Error::required(
            &path.child("properties"),
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        ));
    }
}

fn kinds(schema: &Value, kind: &str, level: Level, path: &Path, errors: &mut ErrorList) {
    let embedded = set(schema, "x-kubernetes-embedded-resource");
    let at = path.child("type");
    let free =
        set(schema, "x-kubernetes-int-or-string") || set(schema, "x-kubernetes-preserve-unknown-fields");
    if embedded && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if kind.is_empty() {
            Error::required(&at, detail)
        } else {
            Error::invalid(&at, kind, detail)
        });
    } else if kind.is_empty() && !free {
        errors.push(Error::required(
            &at,
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        ));
    }
    if embedded && !schema["additionalProperties"].is_null() {
        errors.push(Error::forbidden(
            &path.child("additionalProperties"),
            "must not be used if x-kubernetes-embedded-resource is set",
        ));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.push(Error::invalid(&at, kind, "must be object at the root"));
    }
    if level == Level::Root || embedded {
        for name in ["kind", "apiVersion"] {
            if let Some(property) = schema["properties"].get(name)
                && text(property, "type") != "string"
            {
                let at = path.child("properties").key(name).child("type");
                errors.push(Error::invalid(&at, text(property, "type"), "must be string"));
            }
        }
    }
}

/// `metadata` at the root may restrict names and nothing else. A default is judged elsewhere.
fn restricts_names_only(metadata: &Value) -> bool {
    entries(metadata).all(|(key, value)| match key.as_str() {
        "type" | "default" => true,
        "properties" => {
            let names = entries(value).count();
            names == 0 || entries(value).all(|(name, _)| matches!(name.as_str(), "name" | "generateName"))
        }
        _ => is_zero(value),
    })
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// `[{type: integer}, {type: string}]`, with nothing else in either.
fn is_int_or_string(any_of: &Value) -> bool {
    let only = |value: &Value, kind: &str| {
        let stated: Map<String, Value> = entries(value)
            .filter(|(_, v)| !is_zero(v))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        Value::Object(stated) == json!({ "type": kind })
    };
    let any_of = items(any_of);
    any_of.len() == 2 && only(&any_of[0], "integer") && only(&any_of[1], "string")
}

fn extensions(schema: &Value, path: &Path, errors: &mut ErrorList) {
    if !set(schema, "x-kubernetes-int-or-string") {
        return;
    }
    for key in [
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
    ] {
        if set(schema, key) {
            let detail = "must be false if x-kubernetes-int-or-string is true";
            errors.push(Error::invalid(&path.child(key), true, detail));
        }
    }
}

/// The junctors of a node; what they hold may restrict only. `any` and `all` mark the two spellings of int-or-string.
fn values(schema: &Value, any: bool, all: bool, path: &Path, errors: &mut ErrorList) {
    if !any {
        for (index, nested) in items(&schema["anyOf"]).iter().enumerate() {
            restriction(nested, false, &path.child("anyOf").index(index), errors);
        }
    }
    for (index, nested) in items(&schema["allOf"]).iter().enumerate() {
        restriction(
            nested,
            all && index == 0,
            &path.child("allOf").index(index),
            errors,
        );
    }
    for (index, nested) in items(&schema["oneOf"]).iter().enumerate() {
        restriction(nested, false, &path.child("oneOf").index(index), errors);
    }
    if schema["not"].is_object() {
        restriction(&schema["not"], false, &path.child("not"), errors);
    }
    let pattern = text(schema, "pattern");
    if !pattern.is_empty()
        && let Err(error) = crate::structural::compile_pattern(pattern)
    {
        let detail = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(Error::invalid(&path.child("pattern"), pattern, detail));
    }
}

/// What a restriction may not have: the key, and whether it must be empty, false or undefined.
const FORBIDDEN: [(&str, &str); 12] = [
    ("type", "empty"),
    ("additionalProperties", "undefined"),
    ("default", "undefined"),
    ("title", "empty"),
    ("description", "empty"),
    ("nullable", "false"),
    ("x-kubernetes-preserve-unknown-fields", "false"),
    ("x-kubernetes-embedded-resource", "false"),
    ("x-kubernetes-int-or-string", "false"),
    ("x-kubernetes-list-map-keys", "empty"),
    ("x-kubernetes-list-type", "undefined"),
    ("x-kubernetes-map-type", "undefined"),
];

fn restriction(nested: &Value, skip_any: bool, path: &Path, errors: &mut ErrorList) {
    values(nested, skip_any, false, path, errors);
    if nested["items"].is_object() {
        restriction(&nested["items"], false, &path.child("items"), errors);
    }
    for (name, property) in entries(&nested["properties"]) {
        restriction(property, false, &path.child("properties").key(name), errors);
    }
    for (key, wanted) in FORBIDDEN {
        let value = &nested[key];
        let given = match wanted {
            // `additionalProperties: false` is not told from none.
            "undefined" if key == "additionalProperties" => !is_zero(value) || value.is_object(),
            "undefined" => !value.is_null(),
            _ => !is_zero(value),
        };
        if given {
            let detail = format!("must be {wanted} to be structural");
            errors.push(Error::forbidden(&path.child(key), detail));
        }
    }
    if !items(&nested["x-kubernetes-validations"]).is_empty() {
        let at = path.child("x-kubernetes-validations");
        errors.push(Error::forbidden(&at, "must be empty to be structural"));
    }
    if nested["properties"].get("metadata").is_some() {
        let at = path.child("properties").key("metadata");
        errors.push(Error::forbidden(&at, "must not be specified in a nested context"));
    }
}

/// Completeness: what junctors restrict must be described outside. `schema` is the description there is, at `there`.
fn junctors(nested: &Value, schema: Option<&Value>, there: &Path, path: &Path, errors: &mut ErrorList) {
    if nested["not"].is_object() {
        described(&nested["not"], schema, there, &path.child("not"), errors);
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        for (index, nested) in items(&nested[key]).iter().enumerate() {
            described(nested, schema, there, &path.child(key).index(index), errors);
        }
    }
}

fn described(nested: &Value, schema: Option<&Value>, there: &Path, path: &Path, errors: &mut ErrorList) {
    let missing =
        |there: &Path, path: &Path| Error::required(there, format!("because it is defined in {path}"));
    let Some(schema) = schema else {
        return errors.push(missing(there, path));
    };
    junctors(nested, Some(schema), there, path, errors);
    if nested["items"].is_object() {
        let items = schema.get("items").filter(|s| s.is_object());
        described(
            &nested["items"],
            items,
            &there.child("items"),
            &path.child("items"),
            errors,
        );
    }
    for (name, property) in entries(&nested["properties"]) {
        let there = there.child("properties").key(name);
        let path = path.child("properties").key(name);
        match schema["properties"].get(name) {
            None => errors.push(missing(&there, &path)),
            found => described(property, found, &there, &path, errors),
        }
    }
}
