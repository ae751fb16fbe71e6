//! How apply sees a type: leaves, structs, maps, and lists by key or value; and the field sets of values.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::custom::{CustomType, Member, Role, Scalar};
use super::set::{Set, key_element};
use crate::types::{Field, Kind, ListType, Rules, Shape, Special, TypeId, named};

/// What a value is to apply.
#[derive(Clone, Copy)]
pub(super) enum Node<'s> {
    /// One value: scalars, and structs, maps and lists that are owned whole.
    Leaf(Leaf<'s>),
    Struct(TypeId),
    /// Entries owned one by one.
    Map(Shape),
    /// Items found by these keys.
    Keyed(Shape, &'static [&'static str]),
    /// Items found by their value.
    Values(Shape),
    /// An object, set or keyed list of a custom schema; and whether unknown members stay in it.
    Custom(&'s dyn CustomType, bool),
    /// Of no known type: what it is, its value tells.
    Deduced,
}

/// The kinds of leaf, for the check of a configuration.
#[derive(Clone, Copy)]
pub(super) enum Leaf<'s> {
    Scalar(Shape),
    /// A struct, map or list that is replaced as a whole.
    Whole(Shape),
    /// The same of a custom schema.
    Custom(&'s dyn CustomType, bool),
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

impl<'s> Node<'s> {
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
            Kind::Struct(id) if rules.granular || (!atomic && !id.get().atomic) => Self::Struct(id),
            Kind::Map(element) if !atomic => Self::Map(element.shape),
            Kind::Struct(_) | Kind::Map(_) => whole,
            Kind::List(element) => match rules.list_type {
                ListType::Set => Self::Values(element.shape),
                ListType::Map => Self::Keyed(element.shape, rules.list_keys),
                ListType::Atomic => whole,
                // Lists from before list types say how they merge in their patch strategy.
                ListType::Unset if rules.patch_merge && !rules.patch_merge_key.is_empty() => {
                    Self::Keyed(element.shape, std::slice::from_ref(&rules.patch_merge_key))
                }
                ListType::Unset if rules.patch_merge => Self::Values(element.shape),
                ListType::Unset => whole,
            },
            _ => Self::Leaf(Leaf::Scalar(shape)),
        }
    }

    /// A node of a custom schema, below one that lets unknown members stay or not.
    pub(super) fn of_custom(custom: &'s dyn CustomType, preserve: bool) -> Self {
        let preserve = preserve || custom.preserves_unknown();
        let scalar = |kind| Self::Leaf(Leaf::Scalar(Shape { kind, ..STRING }));
        match custom.role() {
            Role::Scalar(Scalar::Text) => scalar(Kind::String),
            Role::Scalar(Scalar::Number) => scalar(Kind::Float64),
            Role::Scalar(Scalar::Flag) => scalar(Kind::Bool),
            Role::Scalar(Scalar::Any) => scalar(ANY),
            Role::WholeObject | Role::WholeList => Self::Leaf(Leaf::Custom(custom, preserve)),
            Role::Granular | Role::Set | Role::Keyed(_) | Role::Untyped => Self::Custom(custom, preserve),
        }
    }

    fn of_member(member: Member<'s>, preserve: bool) -> Option<Self> {
        Some(match member {
            Member::Type(custom) => Self::of_custom(custom, preserve),
            Member::Metadata => {
                named("apimachinery/pkg/apis/meta/v1", "ObjectMeta").map_or(Self::Deduced, Self::Struct)
            }
            Member::Text => UNKNOWN,
            Member::Deduced => Self::Deduced,
            Member::Unknown => return None,
        })
    }

    /// Where the schema leaves it to the value, what the values at hand make of it.
    pub(super) fn settle(self, values: [Option<&Value>; 2]) -> Self {
        let open = match self {
            Self::Deduced => true,
            Self::Custom(custom, _) => matches!(custom.role(), Role::Untyped),
            _ => false,
        };
        let mut given = values.into_iter().flatten().filter(|v| !v.is_null()).peekable();
        if !open || (given.peek().is_some() && given.all(Value::is_object)) {
            return self;
        }
        Self::Leaf(Leaf::Scalar(Shape { kind: ANY, ..STRING }))
    }

    /// Members are found by name.
    pub(super) fn is_map(&self) -> bool {
        match self {
            Self::Struct(_) | Self::Map(_) | Self::Deduced => true,
            Self::Custom(custom, _) => matches!(custom.role(), Role::Granular | Role::Untyped),
            _ => false,
        }
    }

    /// Items are found by key or value.
    pub(super) fn is_list(&self) -> bool {
        !self.is_map() && !matches!(self, Self::Leaf(_))
    }

    /// What a member or item is; `None` for a member the type does not have.
    pub(super) fn child(&self, element: &str) -> Option<Self> {
        match self {
            Self::Deduced => Some(Self::Deduced),
            Self::Custom(custom, preserve) => match element.strip_prefix("f:") {
                Some(name) => Self::of_member(custom.member(name, *preserve), *preserve),
                None => Self::of_member(custom.item(), *preserve),
            },
            Self::Struct(id) => id.get().field(element.strip_prefix("f:")?).map(Self::of_field),
            Self::Map(shape) | Self::Keyed(shape, _) | Self::Values(shape) => {
                Some(Self::resolve(*shape, &PLAIN))
            }
            Self::Leaf(_) => None,
        }
    }

    /// A named member of a struct, as against an entry of a map.
    fn is_named(&self, element: &str) -> bool {
        match (self, element.strip_prefix("f:")) {
            (Self::Struct(id), Some(name)) => id.get().field(name).is_some(),
            (Self::Custom(custom, _), Some(name)) => custom.declares(name),
            _ => false,
        }
    }
}

const STRING: Shape = Shape {
    kind: Kind::String,
    pointer: false,
    expr: "string",
};

/// Scalars of any kind.
const ANY: Kind = Kind::Special(Special::Json);

/// A member or item of unknown type: one value.
pub(super) const UNKNOWN: Node<'static> = Node::Leaf(Leaf::Scalar(STRING));

/// The path element of a list item; an error in upstream's words where it has none.
pub(super) fn element_of(node: &Node<'_>, item: &Value) -> Result<String, String> {
    if let Node::Custom(custom, _) = node
        && let Role::Keyed(keys) = custom.role()
    {
        let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
        return keyed_item(item, &keys, &|key| custom.key_default(key).cloned());
    }
    if let Node::Keyed(shape, keys) = node {
        return keyed_item(item, keys, &|key| key_default(shape, key));
    }
    match item {
        Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
        Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
        Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
        scalar => Ok(format!("v:{scalar}")),
    }
}

fn keyed_item(
    item: &Value,
    keys: &[&str],
    default: &dyn Fn(&str) -> Option<Value>,
) -> Result<String, String> {
    match item {
        Value::Null => Err("associative list with keys may not have a null element".to_owned()),
        Value::Object(members) => keyed(keys, members, default),
        _ => Err("associative list with keys may not have non-map elements".to_owned()),
    }
}

fn keyed(
    keys: &[&str],
    members: &Map<String, Value>,
    default: &dyn Fn(&str) -> Option<Value>,
) -> Result<String, String> {
    let mut found = Map::new();
    for key in keys {
        let value = members.get(*key).cloned().or_else(|| default(key));
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

/// A member of a value: its path element, its node, what it is.
type MemberOf<'s, 'v> = (String, Node<'s>, &'v Value);

/// The members of a value by path element, with their nodes. Empty for leaves and nulls.
pub(super) fn members<'s, 'v>(node: &Node<'s>, value: &'v Value) -> Vec<MemberOf<'s, 'v>> {
    match value {
        Value::Object(map) if node.is_map() => map
            .iter()
            .map(|(name, value)| {
                let element = format!("f:{name}");
                let child = node.child(&element).unwrap_or(UNKNOWN);
                (element, child, value)
            })
            .collect(),
        Value::Array(items) if node.is_list() => items
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

/// The items of each element: more than one where a list has a key twice.
pub(super) fn by_element<'m, 'v>(members: &'m [MemberOf<'_, 'v>]) -> HashMap<&'m str, Vec<&'v Value>> {
    let mut all: HashMap<&str, Vec<&Value>> = HashMap::with_capacity(members.len());
    for (element, _, value) in members {
        all.entry(element).or_default().push(value);
    }
    all
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
pub(super) fn field_set(node: Node<'_>, value: &Value) -> Set {
    let mut out = Set::default();
    collect(node, value, &mut Vec::new(), &mut out);
    out
}

fn collect(node: Node<'_>, value: &Value, path: &mut Vec<String>, out: &mut Set) {
    let node = node.settle([Some(value), None]);
    if matches!(node, Node::Leaf(_)) {
        out.insert(path);
        return;
    }
    let members = members(&node, value);
    let items = if node.is_list() {
        by_element(&members)
    } else {
        HashMap::new()
    };
    for (element, child, value) in &members {
        // Items that share a key are one thing, owned as a whole.
        let shared = items.get(element.as_str()).is_some_and(|same| same.len() > 1);
        let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        let own = shared || empty || !node.is_named(element);
        path.push(element.clone());
        if !shared {
            collect(*child, value, path, out);
        }
        if own {
            out.insert(path);
        }
        path.pop();
    }
}

/// The set, with each struct member that leads to a path in it.
pub(super) fn with_named_fields(node: Node<'_>, set: &Set) -> Set {
    set.rebuild(|element, member, children| {
        let named = !children.is_empty() && node.is_named(element);
        let below = match node.child(element) {
            Some(child) => with_named_fields(child, children),
            None => children.clone(),
        };
        (member || named, below)
    })
}
