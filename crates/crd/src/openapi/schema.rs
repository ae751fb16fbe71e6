//! A version's schema as it is published.

use serde_json::{Map, Value, json};

use super::{Dialect, META};
use crate::definition::{self, has_unknown_type};
use crate::structural::Structural;

/// Texts of the fields that every object has.
const API_VERSION: &str = "The version of the schema that this object is written in.";
const KIND: &str = "The kind of this object, in CamelCase.";
const METADATA: &str = "Metadata that every object has.";

/// The definition of the kind. What is not structural is published as any object.
pub(super) fn kind(definition: &Value, version: &Value, dialect: Dialect) -> Value {
    let any = || json!({"type": "object"});
    let schema = &version["schema"]["openAPIV3Schema"];
    let structural = schema.is_object()
        && !has_unknown_type(schema)
        && Structural::parse(schema).is_ok()
        && definition::is_structural(schema);
    if !structural {
        return any();
    }
    let preserves = schema["x-kubernetes-preserve-unknown-fields"] == true
        || definition["spec"]["preserveUnknownFields"] == true;
    // Clients of version 2 take every field that is not described as an error.
    if dialect == Dialect::V2 && preserves {
        return any();
    }
    let mut out = schema.clone();
    publish(&mut out, dialect);
    out["properties"]["metadata"] = dialect.described(&format!("{META}ObjectMeta"), METADATA);
    add_type_meta(&mut out);
    out
}

pub(super) fn add_type_meta(schema: &mut Value) {
    schema["properties"]["apiVersion"] = json!({"type": "string", "description": API_VERSION});
    schema["properties"]["kind"] = json!({"type": "string", "description": KIND});
}

/// A node and those below: int-or-string spelled out, embedded resources given their members, and for version 2 whatever
/// it cannot say left out.
fn publish(node: &mut Value, dialect: Dialect) {
    let Some(map) = node.as_object_mut() else { return };
    map.retain(|_, value| !value.is_null());
    if map.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        spell_int_or_string(map);
    }
    if dialect == Dialect::V2 {
        for_version_2(map);
    }
    if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
        properties
            .values_mut()
            .for_each(|property| publish(property, dialect));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = map.get_mut(key) {
            publish(child, dialect);
        }
    }
    let set = |key: &str| map.get(key) == Some(&Value::Bool(true));
    let hidden = dialect == Dialect::V2 && set("x-kubernetes-preserve-unknown-fields");
    if set("x-kubernetes-embedded-resource") && !hidden {
        embed(node, dialect);
    }
}

fn spell_int_or_string(map: &mut Map<String, Value>) {
    let either = json!([{"type": "integer"}, {"type": "string"}]);
    let first = map
        .get("allOf")
        .and_then(|all| all.get(0))
        .and_then(|all| all.get("anyOf"));
    if map.get("anyOf") == Some(&either) || first == Some(&either) {
        return;
    }
    if map.contains_key("anyOf") {
        let all = map.entry("allOf").or_insert_with(|| json!([]));
        if let Some(list) = all.as_array_mut() {
            list.insert(0, json!({ "anyOf": either }));
        }
    } else {
        map.insert("anyOf".to_owned(), either);
    }
}

fn for_version_2(map: &mut Map<String, Value>) {
    let drop =
        |map: &mut Map<String, Value>, keys: &[&str]| keys.iter().for_each(|key| drop(map.remove(*key)));
    drop(map, &["allOf", "oneOf", "anyOf", "not"]);
    if map.get("nullable") == Some(&Value::Bool(true)) {
        drop(map, &["type", "nullable", "items", "properties"]);
    }
    let preserves = map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    if preserves {
        drop(map, &["items", "properties"]);
    }
    let is = |map: &Map<String, Value>, kind: &str| map.get("type").is_some_and(|t| t == kind);
    if (is(map, "array") && !map.contains_key("items")) || (preserves && is(map, "object")) {
        drop(map, &["type"]);
    }
    let nullable = |schema: Option<&Value>| schema.is_some_and(|s| s["nullable"] == true);
    let empty = Value::Null;
    let properties = map.get("properties").unwrap_or(&empty).clone();
    let all = nullable(map.get("additionalProperties"));
    if let Some(required) = map.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| !all && !nullable(name.as_str().and_then(|name| properties.get(name))));
        if required.is_empty() {
            drop(map, &["required"]);
        }
    }
}

fn embed(node: &mut Value, dialect: Dialect) {
    add_type_meta(node);
    node["properties"]["metadata"] = dialect.described(&format!("{META}ObjectMeta"), METADATA);
    let mut required = node["required"].as_array().cloned().unwrap_or_default();
    for name in ["kind", "apiVersion"] {
        if !required.iter().any(|known| known == name) {
            required.push(json!(name));
        }
    }
    node["required"] = Value::Array(required);
}
