//! Sets of field paths, in the form managed fields are written in: `f:` a field, `k:` a list item by its keys, `v:` a list
//! item by its value; `.` marks a path that is itself a member besides what is under it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of paths, as a tree by path element (in its written form).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    nodes: BTreeMap<String, Node>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    /// The path to here is in the set.
    member: bool,
    children: Set,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

const SELF: &str = ".";

impl Set {
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Paths of plain field names.
    pub(super) fn of_paths(paths: &[&[&str]]) -> Self {
        let mut out = Self::default();
        for path in paths {
            let path: Vec<String> = path.iter().map(|name| format!("f:{name}")).collect();
            out.insert(&path);
        }
        out
    }

    /// Adds a path given by its written elements.
    pub(super) fn insert(&mut self, path: &[String]) {
        let Some((last, parents)) = path.split_last() else {
            return;
        };
        let mut at = self;
        for element in parents {
            at = &mut at.nodes.entry(element.clone()).or_default().children;
        }
        at.nodes.entry(last.clone()).or_default().member = true;
    }

    /// The path of one element is in the set.
    pub(super) fn has(&self, element: &str) -> bool {
        self.nodes.get(element).is_some_and(|n| n.member)
    }

    /// What is in the set under an element.
    pub(super) fn under(&self, element: &str) -> Option<&Self> {
        self.nodes
            .get(element)
            .map(|n| &n.children)
            .filter(|c| !c.is_empty())
    }

    /// The set with the paths of these elements, and these sets under them.
    pub(super) fn rebuild(&self, build: impl Fn(&str, bool, &Self) -> (bool, Self)) -> Self {
        let nodes = self.nodes.iter().map(|(element, node)| {
            let (member, children) = build(element, node.member, &node.children);
            (element.clone(), Node { member, children })
        });
        Self {
            nodes: nodes.filter(|(_, n)| !n.is_empty()).collect(),
        }
    }

    pub fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.absorb(other);
        out
    }

    fn absorb(&mut self, other: &Self) {
        for (element, node) in &other.nodes {
            let own = self.nodes.entry(element.clone()).or_default();
            own.member |= node.member;
            own.children.absorb(&node.children);
        }
    }

    /// Paths of this set that are not in the other.
    pub fn difference(&self, other: &Self) -> Self {
        self.rebuild(|element, member, children| match other.nodes.get(element) {
            None => (member, children.clone()),
            Some(node) => (member && !node.member, children.difference(&node.children)),
        })
    }

    pub fn intersection(&self, other: &Self) -> Self {
        self.rebuild(|element, member, children| match other.nodes.get(element) {
            None => (false, Self::default()),
            Some(node) => (member && node.member, children.intersection(&node.children)),
        })
    }

    /// [`Set::difference`] in place.
    pub(super) fn subtract(&mut self, other: &Self) {
        for (element, theirs) in &other.nodes {
            let Some(own) = self.nodes.get_mut(element) else {
                continue;
            };
            own.member &= !theirs.member;
            own.children.subtract(&theirs.children);
            if own.is_empty() {
                self.nodes.remove(element);
            }
        }
    }

    /// Takes away the paths that are in the other or lie under one that is.
    pub(super) fn subtract_prefixes(&mut self, other: &Self) {
        for (element, theirs) in &other.nodes {
            let Some(own) = self.nodes.get_mut(element) else {
                continue;
            };
            if !theirs.member {
                own.children.subtract_prefixes(&theirs.children);
            }
            if theirs.member || own.is_empty() {
                self.nodes.remove(element);
            }
        }
    }

    /// The union of two sets that are needed no more.
    pub(super) fn merge(mut self, other: Self) -> Self {
        if self.nodes.is_empty() {
            return other;
        }
        for (element, node) in other.nodes {
            let own = self.nodes.entry(element).or_default();
            own.member |= node.member;
            own.children = std::mem::take(&mut own.children).merge(node.children);
        }
        self
    }

    /// Every path as clients read it: `.spec.containers[name="c"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.push_paths("", &mut out);
        out
    }

    fn push_paths(&self, prefix: &str, out: &mut Vec<String>) {
        let shown = |element: &str| format!("{prefix}{}", show(element));
        out.extend(
            self.nodes
                .iter()
                .filter(|(_, n)| n.member)
                .map(|(element, _)| shown(element)),
        );
        for (element, node) in &self.nodes {
            node.children.push_paths(&shown(element), out);
        }
    }

    /// The `fieldsV1` form.
    pub fn to_json(&self) -> Value {
        let entries = self.nodes.iter().map(|(element, node)| {
            let mut value = node.children.to_json();
            if let (true, Value::Object(map)) = (node.member && !node.children.is_empty(), &mut value) {
                map.insert(SELF.to_owned(), Value::Object(Map::new()));
            }
            (element.clone(), value)
        });
        Value::Object(entries.collect())
    }

    /// Reads the `fieldsV1` form; `None` when it is not one.
    pub fn from_json(value: &Value) -> Option<Self> {
        Self::read(value, &canonical)
    }

    /// Reads what [`Set::to_json`] wrote.
    pub(super) fn from_written(value: &Value) -> Option<Self> {
        Self::read(value, &str::to_owned)
    }

    fn read(value: &Value, written: &impl Fn(&str) -> String) -> Option<Self> {
        let mut out = Self::default();
        for (element, under) in elements(value)? {
            if !is_element(element) {
                return None;
            }
            let node = Node {
                member: is_member(under.as_object()?),
                children: Self::read(under, written)?,
            };
            out.nodes.insert(written(element), node);
        }
        Some(out)
    }

    /// Whether a value is in the `fieldsV1` form.
    pub(super) fn is_written(value: &Value) -> bool {
        elements(value)
            .is_some_and(|mut all| all.all(|(element, under)| is_element(element) && Self::is_written(under)))
    }

    /// Whether no path of this set is in another one, which is in the form that [`Set::to_json`] writes.
    pub(super) fn is_disjoint(&self, written: &Value) -> bool {
        self.nodes
            .iter()
            .all(|(element, node)| match written.get(element.as_str()) {
                Some(Value::Object(map)) if node.member && is_member(map) => false,
                Some(under) => node.children.is_disjoint(under),
                None => true,
            })
    }
}

fn elements(written: &Value) -> Option<impl Iterator<Item = (&String, &Value)>> {
    let all = written.as_object()?.iter();
    Some(all.filter(|(element, _)| *element != SELF))
}

fn is_element(text: &str) -> bool {
    matches!(text.get(..2), Some("f:" | "k:" | "v:" | "i:"))
}

/// Whether the path that this stands under is itself in the set.
fn is_member(under: &Map<String, Value>) -> bool {
    under.is_empty() || under.contains_key(SELF)
}

/// The written form of a list item's keys.
pub(super) fn key_element(keys: Map<String, Value>) -> String {
    format!("k:{}", Value::Object(keys))
}

/// Clients may space or order the JSON of keys and values differently.
fn canonical(element: &str) -> String {
    let (kind, text) = element.split_at(2);
    match kind {
        "k:" | "v:" => {
            serde_json::from_str::<Value>(text).map_or_else(|_| element.to_owned(), |v| format!("{kind}{v}"))
        }
        _ => element.to_owned(),
    }
}

/// A path element as clients read it.
pub(super) fn show(element: &str) -> String {
    let (kind, text) = element.split_at(2);
    match kind {
        "f:" => format!(".{text}"),
        "k:" => {
            let keys: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
            let keys: Vec<String> = keys
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("[{}]", keys.join(","))
        }
        "v:" => format!("[={text}]"),
        _ => format!("[{text}]"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Set;
    use serde_json::json;

    #[test]
    fn the_algebra() {
        let a =
            Set::from_json(&json!({"f:a": {".": {}, "f:b": {}}, "f:c": {"k:{\"name\":\"x\"}": {"f:d": {}}}}))
                .unwrap();
        let b = Set::from_json(&json!({"f:a": {}, "f:c": {"k:{\"name\": \"x\"}": {"f:d": {}, "f:e": {}}}}))
            .unwrap();
        assert_eq!(a.difference(&b).to_json(), json!({"f:a": {"f:b": {}}}));
        assert_eq!(
            a.intersection(&b).to_json(),
            json!({"f:a": {}, "f:c": {"k:{\"name\":\"x\"}": {"f:d": {}}}})
        );
        assert_eq!(
            a.union(&b).paths(),
            [".a", ".a.b", ".c[name=\"x\"].d", ".c[name=\"x\"].e"]
        );
        let mut rest = a.clone();
        rest.subtract_prefixes(&Set::of_paths(&[&["a"]]));
        assert_eq!(rest.paths(), [".c[name=\"x\"].d"]);
        let mut left = a.clone();
        left.subtract(&b);
        assert_eq!(left, a.difference(&b));
        assert_eq!(a.clone().merge(b.clone()), a.union(&b));
        assert_eq!(Set::default().merge(b.clone()), b);
        assert!(Set::is_written(&a.to_json()) && !Set::is_written(&json!({"a": {}})));
        assert!(!b.is_disjoint(&a.to_json()));
        assert!(left.is_disjoint(&b.to_json()));
        assert!(Set::of_paths(&[&["c"]]).is_disjoint(&a.to_json()));
        assert_eq!(Set::from_json(&a.to_json()).unwrap(), a);
        assert!(Set::from_json(&json!({"x": {}})).is_none());
    }
}
