//! What changed between two values, as sets of paths.

use serde_json::Value;

use super::set::Set;
use super::shape::{Node, UNKNOWN, by_element, is_void, members};

/// Paths that a change added, modified and removed.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub added: Set,
    pub modified: Set,
    pub removed: Set,
}

pub(super) fn values(node: Node<'_>, before: &Value, after: &Value) -> Comparison {
    let mut out = Comparison::default();
    walk(node, Some(before), Some(after), &mut Vec::new(), &mut out);
    out
}

fn walk(
    node: Node<'_>,
    before: Option<&Value>,
    after: Option<&Value>,
    path: &mut Vec<String>,
    out: &mut Comparison,
) {
    if before == after {
        return;
    }
    let node = node.settle([before, after]);
    // Where both sides are empty, empty and null are told apart as leaves.
    let void = before.is_none_or(is_void) && after.is_none_or(is_void);
    let leaf = void || matches!(node, Node::Leaf(_));
    match (before, after) {
        (None, _) => out.added.insert(path),
        (_, None) => out.removed.insert(path),
        _ if leaf => out.modified.insert(path),
        _ => {}
    }
    if leaf {
        return;
    }
    if node.is_map() {
        maps(node, before, after, path, out);
    } else {
        lists(node, before, after, path, out);
    }
}

fn maps(
    node: Node<'_>,
    before: Option<&Value>,
    after: Option<&Value>,
    path: &mut Vec<String>,
    out: &mut Comparison,
) {
    let (before, after) = (
        before.and_then(Value::as_object),
        after.and_then(Value::as_object),
    );
    let mut descend = |name: &str, old: Option<&Value>, new: Option<&Value>| {
        if old != new {
            let element = format!("f:{name}");
            let child = node.child(&element).unwrap_or(UNKNOWN);
            path.push(element);
            walk(child, old, new, path, out);
            path.pop();
        }
    };
    for (name, old) in before.into_iter().flatten() {
        descend(name, Some(old), after.and_then(|m| m.get(name)));
    }
    for (name, new) in after.into_iter().flatten() {
        if before.is_none_or(|m| !m.contains_key(name)) {
            descend(name, None, Some(new));
        }
    }
}

fn lists(
    node: Node<'_>,
    before: Option<&Value>,
    after: Option<&Value>,
    path: &mut Vec<String>,
    out: &mut Comparison,
) {
    let old = before.map(|v| members(&node, v)).unwrap_or_default();
    let new = after.map(|v| members(&node, v)).unwrap_or_default();
    let (old, new) = (by_element(&old), by_element(&new));
    let mut descend = |element: &str, old: &[&Value], new: &[&Value]| {
        let child = node.child(element).unwrap_or(UNKNOWN);
        path.push(element.to_owned());
        items(child, old, new, path, out);
        path.pop();
    };
    for (element, old) in &old {
        descend(element, old, new.get(element).map_or(&[], Vec::as_slice));
    }
    for (element, new) in &new {
        if !old.contains_key(element) {
            descend(element, &[], new);
        }
    }
}

/// Items that share a key are one thing, owned as a whole.
fn items(node: Node<'_>, old: &[&Value], new: &[&Value], path: &mut Vec<String>, out: &mut Comparison) {
    match (old, new) {
        ([] | [_], [] | [_]) => walk(node, old.first().copied(), new.first().copied(), path, out),
        ([_, _, ..], [_, _, ..]) => {
            if old != new {
                out.modified.insert(path);
            }
        }
        ([_, _, ..], _) => {
            walk(node, None, new.first().copied(), path, out);
            out.removed.insert(path);
        }
        _ => {
            walk(node, old.first().copied(), None, path, out);
            out.added.insert(path);
        }
    }
}
