//! Merging a configuration into the live value: what it says wins, what it does not mention stays.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::shape::{Node, UNKNOWN, element_of, is_void};

/// The merged value; `None` when neither side has one.
pub(super) fn values(node: Node<'_>, live: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    let (Some(before), Some(after)) = (live, config) else {
        return config.or(live).cloned();
    };
    let node = node.settle([Some(before), Some(after)]);
    let void = is_void(before) && is_void(after);
    if void || matches!(node, Node::Leaf(_)) {
        return Some(after.clone());
    }
    Some(match (before, after) {
        (Value::Object(before), Value::Object(after)) if node.is_map() => {
            Value::Object(maps(node, before, after))
        }
        (Value::Array(before), Value::Array(after)) if node.is_list() => {
            Value::Array(lists(node, before, after))
        }
        // One side is null: the other's content stays.
        (before, Value::Null) => before.clone(),
        (_, after) => after.clone(),
    })
}

fn maps(node: Node<'_>, before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let mut out = before.clone();
    for (name, value) in after {
        let child = node.child(&format!("f:{name}")).unwrap_or(UNKNOWN);
        if let Some(merged) = values(child, before.get(name), Some(value)) {
            out.insert(name.clone(), merged);
        }
    }
    out
}

fn elements<'v>(node: &Node<'_>, items: &'v [Value]) -> Vec<(String, &'v Value)> {
    items
        .iter()
        .filter_map(|item| Some((element_of(node, item).ok()?, item)))
        .collect()
}

/// Items of both, in the configuration's order, with the live list's own items where they stood between shared ones.
fn lists(node: Node<'_>, before: &[Value], after: &[Value]) -> Vec<Value> {
    let (live, config) = (elements(&node, before), elements(&node, after));
    let find = |list: &[(String, &Value)], element: &str| {
        list.iter().find(|(e, _)| e == element).map(|(_, v)| (*v).clone())
    };
    let item = |element: &str, own: &Value| {
        let child = node.child(element).unwrap_or(UNKNOWN);
        values(child, find(&live, element).as_ref(), Some(own)).unwrap_or_else(|| own.clone())
    };
    let in_config: HashSet<&str> = config.iter().map(|(e, _)| e.as_str()).collect();
    let mut shared = config
        .iter()
        .map(|(e, _)| e.as_str())
        .filter(|e| live.iter().any(|(l, _)| l == e));
    let mut next_shared = shared.next();
    let (mut out, mut merged) = (Vec::new(), HashSet::new());
    let (mut l, mut c) = (0, 0);
    while l < live.len() || c < config.len() {
        if let (Some((mine, _)), Some((theirs, value))) = (live.get(l), config.get(c)) {
            if mine == theirs {
                merged.insert(mine.as_str());
                out.push(item(mine, value));
                (l, c) = (l + 1, c + 1);
                next_shared = shared.next();
                continue;
            }
            if in_config.contains(mine.as_str()) && next_shared.is_some_and(|next| next != mine) {
                // Shared, but its turn comes with the configuration's order.
                l += 1;
                continue;
            }
        }
        if let Some((mine, value)) = live.get(l) {
            if !in_config.contains(mine.as_str()) {
                out.push((*value).clone());
                l += 1;
                continue;
            }
            if merged.contains(mine.as_str()) {
                l += 1;
            }
        }
        if let Some((theirs, value)) = config.get(c) {
            merged.insert(theirs.as_str());
            out.push(item(theirs, value));
            c += 1;
            if next_shared == Some(theirs.as_str()) {
                next_shared = shared.next();
            }
        }
    }
    out
}
