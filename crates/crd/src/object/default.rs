//! Defaults, and nulls where none may be.

use serde_json::Value;

use crate::structural::Structural;

/// A null that the schema does not allow.
fn is_stray_null(value: &Value, schema: Option<&Structural>) -> bool {
    value.is_null() && schema.is_some_and(|s| !s.nullable)
}

/// Fills in defaults for what is absent, and for nulls where none are allowed.
pub fn default(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(map) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else {
                    continue;
                };
                if map.get(&**name).is_none_or(|v| is_stray_null(v, Some(property))) {
                    map.insert(name.to_string(), (**default).clone());
                }
            }
            for (name, value) in map {
                if let Some(property) = schema.property(name) {
                    default(value, property);
                } else if let Some(schema) = schema.additional_schema() {
                    fill(value, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.items.as_deref() {
                items.iter_mut().for_each(|item| fill(item, schema));
            }
        }
        _ => {}
    }
}

fn fill(value: &mut Value, schema: &Structural) {
    if is_stray_null(value, Some(schema))
        && let Some(default) = &schema.default
    {
        *value = (**default).clone();
    }
    default(value, schema);
}

/// Drops members that are null although the schema neither allows that nor has a default for them. List items stay.
pub fn drop_nulls(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(map) => map.retain(|name, value| {
            let Some(schema) = schema.member(name) else {
                return true;
            };
            if is_stray_null(value, Some(schema)) && schema.default.is_none() {
                return false;
            }
            drop_nulls(value, schema);
            true
        }),
        Value::Array(items) => {
            if let Some(schema) = schema.items.as_deref() {
                items.iter_mut().for_each(|item| drop_nulls(item, schema));
            }
        }
        _ => {}
    }
}
