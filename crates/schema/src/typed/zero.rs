//! Zero values: what Go writes of a member that nothing set.

use serde_json::{Map, Value};

use crate::types::{Kind, Shape, Special, Type, TypeId};

/// The JSON of a shape's zero value.
pub fn zero(shape: &Shape) -> Value {
    if shape.pointer {
        return Value::Null;
    }
    match shape.kind {
        Kind::String => Value::from(""),
        Kind::Bool => Value::Bool(false),
        Kind::Int32 | Kind::Int64 | Kind::Float64 => Value::from(0),
        Kind::Bytes | Kind::List(_) | Kind::Map(_) => Value::Null,
        Kind::Struct(id) => zero_struct(id),
        Kind::Special(special) => zero_special(special),
    }
}

fn zero_struct(id: TypeId) -> Value {
    let mut out = Map::new();
    fill(id.get(), &mut out);
    Value::Object(out)
}

fn zero_special(special: Special) -> Value {
    match special {
        Special::Quantity => Value::from("0"),
        Special::IntOrString => Value::from(0),
        Special::Duration => Value::from("0s"),
        Special::FieldsV1 => Value::Object(Map::new()),
        Special::SchemaOrBool => Value::Bool(false),
        Special::Time | Special::MicroTime | Special::Raw | Special::Json => Value::Null,
        Special::SchemaOrArray | Special::SchemaOrStrings => Value::Null,
    }
}

/// Adds the members that Go writes even when they are zero.
pub(crate) fn fill(ty: &Type, out: &mut Map<String, Value>) {
    for at in ty.always {
        let field = &ty.fields[usize::from(*at)];
        if !out.contains_key(field.name) {
            out.insert(field.name.to_owned(), zero(&field.shape));
        }
    }
}

/// Whether omitempty leaves a value out.
pub fn is_empty(shape: &Shape, value: &Value) -> bool {
    match value {
        Value::Null => true,
        // A pointer to an empty value is a value, but an empty list or map is nil once stored.
        Value::Array(items) => items.is_empty() && !shape.pointer,
        Value::Object(map) => map.is_empty() && matches!(shape.kind, Kind::Map(_)) && !shape.pointer,
        _ if shape.pointer || matches!(shape.kind, Kind::Special(_)) => false,
        Value::String(text) => text.is_empty(),
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
    }
}
