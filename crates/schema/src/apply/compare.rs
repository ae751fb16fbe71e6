//! What changed between two values, as sets of paths.

use serde_json::Value;

use super::set::Set;
use super::shape::{Node, is_void, members};

/// Paths that a change added, modified and removed.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub added: Set,
    pub modified: Set,
    pub removed: Set,
}

pub(super) fn values(node: Node, before: &Value, after: &Value) -> Comparison {
    let mut out = Comparison::default();
    walk(node, Some(before), Some(after), &mut Vec::new(), &mut out);
    out
}

fn walk(
    node: Node,
    before: Option<&Value>,
    after: Option<&Value>,
    path: &mut Vec<String>,
    out: &mut Comparison,
) {
    // Where both sides are empty, empty and null are told apart as leaves.
    let void = before.is_none_or(is_void) && after.is_none_or(is_void);
    if void || matches!(node, Node::Leaf(_)) {
        match (before, after) {
            (None, _) => out.added.insert(path),
            (_, None) => out.removed.insert(path),
            (Some(before), Some(after)) if before != after => out.modified.insert(path),
            _ => {}
        }
        return;
    }
    let old = before.map(|v| members(&node, v)).unwrap_or_default();
    let new = after.map(|v| members(&node, v)).unwrap_or_default();
    for (element, child, value) in &old {
        let other = new.iter().find(|(e, ..)| e == element).map(|(_, _, v)| *v);
        path.push(element.clone());
        walk(*child, Some(value), other, path, out);
        path.pop();
    }
    for (element, child, value) in new.iter().filter(|(e, ..)| !old.iter().any(|(o, ..)| o == e)) {
        path.push(element.clone());
        walk(*child, None, Some(value), path, out);
        path.pop();
    }
    match (before, after) {
        (None, _) => out.added.insert(path),
        (_, None) => out.removed.insert(path),
        _ => {}
    }
}
