//! How apply sees a type: leaves, structs, maps, and lists by key or value; and the field sets of values.

use serde_json::{Map, Value};

use super::set::{Set, key_element};
use crate::types::{Field, Kind, ListType, Rules, Shape, TypeId};

/// What a value is to apply.
#[derive(Clone, Copy)]
pub(super) enum Node {
    /// One value: scalars, and structs, maps and lists that are owned whole.
    Leaf(Leaf),
    Struct(TypeId),
    /// Entries owned one by one.
    Map(Shape),
    /// Items found by these keys.
    Keyed(Shape, &'static [&'static str]),
    /// Items found by their value.
    Values,
}

/// The kinds of leaf, for the check of a configuration.
#[derive(Clone, Copy)]
pub(super) enum Leaf {
    Scalar(Shape),
    /// A struct, map or list that is replaced as a whole.
    Whole(Shape),
}

/// Member types of a struct that stand for no fixed type.
pub(super) static PLAIN: Rules = Rules {
    list_type: ListType::Unset,
    list_keys: &[],
    map_atomic: false,
    struct_atomic: false,
    granular: false,
    patch_merge: false,
    patch_replace: false,
    patch_retain_keys: false,
    patch_merge_key: "",
    default: "",
    feature_gates: "",
};

impl Node {
    pub(super) fn of(id: TypeId) -> Self {
        Self::Struct(id)
    }

    fn of_field(field: &'static Field) -> Self {
        Self::resolve(field.shape, field.rules)
    }

    pub(super) fn resolve(shape: Shape, rules: &'static Rules) -> Self {
        let whole = Self::Leaf(Leaf::Whole(shape));
        let atomic = rules.struct_atomic || rules.map_atomic;
        match shape.kind {
            Kind::Struct(id) if !atomic && !id.get().atomic => Self::Struct(id),
            Kind::Map(element) if !atomic => Self::Map(element.shape),
            Kind::Struct(_) | Kind::Map(_) => whole,
            Kind::List(element) => match rules.list_type {
                ListType::Set => Self::Values,
                ListType::Map => Self::Keyed(element.shape, rules.list_keys),
                ListType::Atomic => whole,
                // Lists from before list types say how they merge in their patch strategy.
                ListType::Unset if rules.patch_merge && !rules.patch_merge_key.is_empty() => {
                    Self::Keyed(element.shape, std::slice::from_ref(&rules.patch_merge_key))
                }
                ListType::Unset if rules.patch_merge => Self::Values,
                ListType::Unset => whole,
            },
            _ => Self::Leaf(Leaf::Scalar(shape)),
        }
    }

    /// What a member or item is; `None` for a member the type does not have.
    pub(super) fn child(&self, element: &str) -> Option<Self> {
        match self {
            Self::Struct(id) => id.get().field(element.strip_prefix("f:")?).map(Self::of_field),
            Self::Map(shape) | Self::Keyed(shape, _) => Some(Self::resolve(*shape, &PLAIN)),
            Self::Values => Some(Self::Leaf(Leaf::Scalar(STRING))),
            Self::Leaf(_) => None,
        }
    }

    /// A named member of a struct, as against an entry of a map.
    fn is_named(&self, element: &str) -> bool {
        matches!((self, element.strip_prefix("f:")), (Self::Struct(id), Some(name)) if id.get().field(name).is_some())
    }
}

const STRING: Shape = Shape {
    kind: Kind::String,
    pointer: false,
    expr: "string",
};

/// A member or item of unknown type: one value.
pub(super) const UNKNOWN: Node = Node::Leaf(Leaf::Scalar(STRING));

/// The path element of a list item; an error in upstream's words where it has none.
pub(super) fn element_of(node: &Node, item: &Value) -> Result<String, String> {
    match (node, item) {
        (Node::Keyed(..), Value::Null) => {
            Err("associative list with keys may not have a null element".to_owned())
        }
        (Node::Keyed(shape, keys), Value::Object(members)) => keyed(shape, keys, members),
        (Node::Keyed(..), _) => Err("associative list with keys may not have non-map elements".to_owned()),
        (_, Value::Object(_)) => {
            Err("associative list without keys has an element that's a map type".to_owned())
        }
        (_, Value::Array(_)) => Err("not supported: associative list with lists as elements".to_owned()),
        (_, Value::Null) => {
            Err("associative list without keys has an element that's an explicit null".to_owned())
        }
        (_, scalar) => Ok(format!("v:{scalar}")),
    }
}

fn keyed(shape: &Shape, keys: &[&str], members: &Map<String, Value>) -> Result<String, String> {
    let mut found = Map::new();
    for key in keys {
        let value = members.get(*key).cloned().or_else(|| key_default(shape, key));
        found.extend(value.map(|v| ((*key).to_owned(), v)));
    }
    if found.is_empty() {
        let keys: Vec<String> = keys.iter().map(|k| corten_meta::quote(k)).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
            keys.join(" ")
        ));
    }
    Ok(key_element(found))
}

/// A key that an item leaves out has its default: `protocol` is TCP.
fn key_default(shape: &Shape, key: &str) -> Option<Value> {
    let Kind::Struct(id) = shape.kind else { return None };
    crate::openapi::default_of(id.get().field(key)?)
}

/// The members of a value by path element, with their nodes. Empty for leaves and nulls.
pub(super) fn members<'v>(node: &Node, value: &'v Value) -> Vec<(String, Node, &'v Value)> {
    match (node, value) {
        (Node::Struct(_) | Node::Map(_), Value::Object(map)) => map
            .iter()
            .map(|(name, value)| {
                let element = format!("f:{name}");
                let child = node.child(&element).unwrap_or(UNKNOWN);
                (element, child, value)
            })
            .collect(),
        (Node::Keyed(..) | Node::Values, Value::Array(items)) => items
            .iter()
            .filter_map(|item| {
                let element = element_of(node, item).ok()?;
                let child = node.child(&element).unwrap_or(UNKNOWN);
                Some((element, child, item))
            })
            .collect(),
        _ => Vec::new(),
    }
}

pub(super) fn is_void(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The paths a value sets: its leaves, list items, map entries and empty maps.
pub(super) fn field_set(node: Node, value: &Value) -> Set {
    let mut out = Set::default();
    collect(node, value, &mut Vec::new(), &mut out);
    out
}

fn collect(node: Node, value: &Value, path: &mut Vec<String>, out: &mut Set) {
    if matches!(node, Node::Leaf(_)) {
        out.insert(path);
        return;
    }
    for (element, child, value) in members(&node, value) {
        let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        let own = empty || !node.is_named(&element);
        path.push(element);
        collect(child, value, path, out);
        if own {
            out.insert(path);
        }
        path.pop();
    }
}

/// The set, with each struct member that leads to a path in it.
pub(super) fn with_named_fields(node: Node, set: &Set) -> Set {
    set.rebuild(|element, member, children| {
        let named = !children.is_empty() && node.is_named(element);
        let below = match node.child(element) {
            Some(child) => with_named_fields(child, children),
            None => children.clone(),
        };
        (member || named, below)
    })
}
