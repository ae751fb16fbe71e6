//! Values as Go prints them, for error texts.

use corten_meta::print_float;
use serde_json::{Number, Value};

/// `%v`: `map[a:1 b:[x y]]`.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", joined(items.iter().map(self::value))),
        Value::Object(map) => {
            format!(
                "map[{}]",
                joined(map.iter().map(|(k, v)| format!("{k}:{}", self::value(v))))
            )
        }
        Value::Number(number) => print_number(number),
        Value::Bool(truth) => truth.to_string(),
    }
}

fn print_number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => print_float(float),
        _ => number.to_string(),
    }
}

/// `%s`, which tells of what is no string: `%!s(int64=5)`.
pub(super) fn string(value: &Value) -> String {
    match value {
        Value::Null => go_type(value).to_owned(),
        other => inner_string(other),
    }
}

fn inner_string(value: &Value) -> String {
    match value {
        Value::Bool(_) | Value::Number(_) => format!("%!s({}={})", go_type(value), self::value(value)),
        Value::Array(items) => format!("[{}]", joined(items.iter().map(inner_string))),
        Value::Object(map) => {
            format!(
                "map[{}]",
                joined(map.iter().map(|(k, v)| format!("{k}:{}", inner_string(v))))
            )
        }
        plain => self::value(plain),
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" ")
}

/// The Go type that a decoded JSON value has.
pub(crate) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
