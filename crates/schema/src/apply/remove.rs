//! Removing a set of paths from a value.

use serde_json::{Map, Value};

use super::set::Set;
use super::shape::{Node, UNKNOWN, element_of};

/// The value without the paths of the set. What a removal empties stays, empty.
pub(super) fn items(node: Node<'_>, value: &Value, gone: &Set) -> Value {
    without(node, value, gone).unwrap_or_else(|| empty_like(value))
}

fn empty_like(value: &Value) -> Value {
    match value {
        Value::Object(_) => Value::Object(Map::new()),
        Value::Array(_) => Value::Array(Vec::new()),
        _ => Value::Null,
    }
}

/// `None` when nothing is left and nothing within was removed.
fn without(node: Node<'_>, value: &Value, gone: &Set) -> Option<Value> {
    let node = node.settle([Some(value), None]);
    match value {
        Value::Object(map) if node.is_map() => {
            let (mut out, mut within) = (Map::new(), false);
            for (name, value) in map {
                let element = format!("f:{name}");
                if gone.has(&element) {
                    continue;
                }
                let kept = part(node, &element, value, gone, &mut within);
                out.insert(name.clone(), kept);
            }
            (!out.is_empty() || within).then_some(Value::Object(out))
        }
        Value::Array(list) if node.is_list() => {
            let (mut out, mut within) = (Vec::new(), false);
            for item in list {
                let element = element_of(&node, item).unwrap_or_default();
                if !gone.has(&element) {
                    out.push(part(node, &element, item, gone, &mut within));
                }
            }
            (!out.is_empty() || within).then_some(Value::Array(out))
        }
        _ => None,
    }
}

fn part(node: Node<'_>, element: &str, value: &Value, gone: &Set, within: &mut bool) -> Value {
    match gone.under(element) {
        None => value.clone(),
        Some(under) => {
            *within = true;
            let child = node.child(element).unwrap_or(UNKNOWN);
            without(child, value, under).unwrap_or_else(|| empty_like(value))
        }
    }
}
