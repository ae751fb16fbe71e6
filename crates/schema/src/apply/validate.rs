//! Whether a configuration fits its type, with the texts upstream answers when it does not.

use std::collections::HashSet;

use serde_json::Value;

use super::custom::Role;
use super::set::show;
use super::shape::{Leaf, Node, PLAIN, UNKNOWN, element_of};
use crate::strategic::go_type;
use crate::types::{Kind, Shape, Special};

/// One text per fault, each with the path it is at.
pub(super) fn errors(node: Node<'_>, config: &Value) -> Vec<String> {
    let mut out = Vec::new();
    check(node, config, "", &mut out);
    out
}

fn check(node: Node<'_>, value: &Value, path: &str, out: &mut Vec<String>) {
    match node.settle([Some(value), None]) {
        Node::Leaf(Leaf::Scalar(shape)) => out.extend(scalar(&shape, value).map(|e| at(path, &e))),
        Node::Leaf(Leaf::Whole(shape)) => whole(&shape, value, path, out),
        Node::Leaf(Leaf::Custom(custom, preserve)) => match custom.role() {
            Role::WholeList => items(Node::Custom(custom, preserve), value, path, out),
            _ => object(Node::Custom(custom, preserve), value, path, out),
        },
        node if node.is_map() => object(node, value, path, out),
        node => list(node, value, path, out),
    }
}

fn at(path: &str, error: &str) -> String {
    if path.is_empty() {
        error.to_owned()
    } else {
        format!("{path}: {error}")
    }
}

/// Inside something owned whole the type holds as anywhere.
fn whole(shape: &Shape, value: &Value, path: &str, out: &mut Vec<String>) {
    match shape.kind {
        Kind::Struct(id) => object(Node::Struct(id), value, path, out),
        Kind::Map(element) => object(Node::Map(element.shape), value, path, out),
        Kind::List(element) => match value {
            Value::Null => {}
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    check(
                        Node::resolve(element.shape, &PLAIN),
                        item,
                        &format!("{path}[{i}]"),
                        out,
                    );
                }
            }
            other => out.push(at(path, &format!("expected list, got {}", shown(other)))),
        },
        _ => {}
    }
}

/// The items of a list owned whole.
fn items(node: Node<'_>, value: &Value, path: &str, out: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let place = format!("{path}[{index}]");
                check(node.child("i:").unwrap_or(UNKNOWN), item, &place, out);
            }
        }
        other => out.push(at(path, &format!("expected list, got {}", shown(other)))),
    }
}

fn object(node: Node<'_>, value: &Value, path: &str, out: &mut Vec<String>) {
    let map = match value {
        Value::Null => return,
        Value::Object(map) => map,
        other => return out.push(at(path, &format!("expected map, got {}", shown(other)))),
    };
    for (name, value) in map {
        let place = format!("{path}.{name}");
        match node.child(&format!("f:{name}")) {
            Some(child) => check(child, value, &place, out),
            None => return out.push(format!("{place}: field not declared in schema")),
        }
    }
}

fn list(node: Node<'_>, value: &Value, path: &str, out: &mut Vec<String>) {
    let items = match value {
        Value::Null => return,
        Value::Array(items) => items,
        other => return out.push(at(path, &format!("expected list, got {}", shown(other)))),
    };
    let mut seen = HashSet::new();
    for (i, item) in items.iter().enumerate() {
        let element = match element_of(&node, item) {
            Ok(element) => element,
            Err(error) => return out.push(at(path, &format!("element {i}: {error}"))),
        };
        if !seen.insert(element.clone()) {
            out.push(at(path, &format!("duplicate entries for key {}", show(&element))));
        }
        let child = node.child(&element).unwrap_or(UNKNOWN);
        check(child, item, &format!("{path}{}", show(&element)), out);
    }
}

fn scalar(shape: &Shape, value: &Value) -> Option<String> {
    let wrong = |wanted: &str| Some(format!("expected {wanted}, got {}", shown(value)));
    match (shape.kind, value) {
        (_, Value::Null) => None,
        (Kind::Int32 | Kind::Int64 | Kind::Float64, Value::Number(_)) => None,
        (Kind::Int32 | Kind::Int64 | Kind::Float64, _) => {
            Some(format!("expected numeric (int or float), got {}", go_type(value)))
        }
        (Kind::Bool, Value::Bool(_)) => None,
        (Kind::Bool, _) => wrong("boolean"),
        (Kind::Special(Special::Quantity | Special::IntOrString), value)
            if !value.is_object() && !value.is_array() =>
        {
            None
        }
        (
            Kind::Special(Special::Time | Special::MicroTime) | Kind::String | Kind::Bytes,
            Value::String(_),
        ) => None,
        (Kind::Special(Special::Time | Special::MicroTime) | Kind::String | Kind::Bytes, _) => Some(format!(
            "expected string, got &value.valueUnstructured{{Value:{}}}",
            go_syntax(value)
        )),
        (Kind::Special(Special::Quantity | Special::IntOrString), _) => wrong("any scalar"),
        _ => None,
    }
}

/// Go's `%#v` of a value.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => corten_meta::print_float(float),
            None => number.to_string(),
        },
        Value::String(text) => corten_meta::quote(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_syntax).collect();
            format!("{}{{{}}}", go_type(value), items.join(", "))
        }
        Value::Object(members) => {
            let members = members.iter();
            let members: Vec<String> = members
                .map(|(name, value)| format!("{}:{}", corten_meta::quote(name), go_syntax(value)))
                .collect();
            format!("{}{{{}}}", go_type(value), members.join(", "))
        }
    }
}

/// A value as upstream's errors show it.
fn shown(value: &Value) -> String {
    format!("&{{{}}}", crate::strategic::shown(value))
}
