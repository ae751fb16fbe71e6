//! The model of API types: structs with their JSON and wire views, and the shapes their fields have
//! (`generated/types.tsv`).

mod load;
mod names;
mod shape;

use std::collections::HashMap;
use std::sync::LazyLock;

use corten_meta::GroupVersionKind;

pub use names::go_name;
pub use shape::{Element, Kind, Shape, Special};

/// Indexes a struct type of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub(crate) u16);

/// A Go package of API types: one group and version.
#[derive(Debug, PartialEq, Eq)]
pub struct Package {
    /// `api/core/v1`.
    pub path: &'static str,
    pub group: &'static str,
    pub version: &'static str,
}

/// A struct type.
#[derive(Debug)]
pub struct Type {
    pub name: &'static str,
    /// The type as an expression (see `Shape::expr`).
    pub expr: &'static str,
    pub package: &'static Package,
    /// A top-level kind with `apiVersion` and `kind`.
    pub is_kind: bool,
    /// Server-side apply treats it as one value.
    pub atomic: bool,
    /// The JSON view: members in name order, inlined structs flattened.
    pub fields: &'static [Field],
    /// The wire view: own members in number order, inlined structs nested.
    pub wire: &'static [Field],
    /// Indexes into `fields` of members that Go writes even when they are zero.
    pub always: &'static [u16],
    /// Indexes into `fields` in the order Go declares the members, which OpenAPI's `required` keeps.
    pub declared: &'static [u16],
}

/// A member of a struct.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// JSON name; empty where an inlined struct stands in the wire view.
    pub name: &'static str,
    pub shape: Shape,
    /// Protobuf field number; 0 where the type has no protobuf form.
    pub number: u32,
    pub omitempty: bool,
    pub optional: bool,
    pub required: bool,
    pub inline: bool,
    /// An empty list or map differs from none: the former is an error that validation tells of.
    pub keeps_empty: bool,
    /// In the JSON view, Go's names of the inlined structs the member came through (`RuleWithOperations.Rule`).
    pub through: &'static str,
    /// Repeated on the wire (as against a message that wraps the list).
    pub repeated: bool,
    pub rules: &'static Rules,
}

/// The rarer facts of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub list_type: ListType,
    pub list_keys: &'static [&'static str],
    pub map_atomic: bool,
    pub struct_atomic: bool,
    /// Declared granular, which is also the rule where nothing is declared.
    pub granular: bool,
    pub patch_merge: bool,
    pub patch_replace: bool,
    pub patch_retain_keys: bool,
    pub patch_merge_key: &'static str,
    /// The declared default as JSON text, empty when none.
    pub default: &'static str,
    pub feature_gates: &'static str,
}

/// How server-side apply treats a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    #[default]
    Unset,
    Atomic,
    Set,
    Map,
}

impl Type {
    /// The member with a JSON name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.field_index(name).map(|at| &self.fields[at])
    }

    pub fn field_index(&self, name: &str) -> Option<usize> {
        self.fields.binary_search_by(|f| f.name.cmp(name)).ok()
    }
}

/// An enum: a named string type with its constants.
#[derive(Debug)]
pub struct Enum {
    /// No other values are valid.
    pub closed: bool,
    pub values: &'static [&'static str],
}

pub(crate) struct Tables {
    pub types: Vec<Type>,
    pub packages: &'static [Package],
    pub by_name: HashMap<(u16, &'static str), TypeId>,
    pub enums: Vec<Enum>,
    enums_by_name: HashMap<(u16, &'static str), usize>,
    kinds: HashMap<(&'static str, &'static str, &'static str), TypeId>,
    meta_kinds: HashMap<&'static str, TypeId>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(load::tables);

pub(crate) fn tables() -> &'static Tables {
    &TABLES
}

impl TypeId {
    pub fn get(self) -> &'static Type {
        &TABLES.types[usize::from(self.0)]
    }

    /// The type as an expression (see `Shape::expr`).
    pub fn expr(self) -> &'static str {
        self.get().expr
    }
}

/// Every struct type.
pub fn all() -> impl Iterator<Item = (TypeId, &'static Type)> {
    TABLES
        .types
        .iter()
        .enumerate()
        .map(|(i, t)| (TypeId(i as u16), t))
}

/// The package that an expression's index names (`26` in `26.Pod`).
pub(crate) fn package_of(index: &str) -> Option<&'static Package> {
    TABLES.packages.get(index.parse::<usize>().ok()?)
}

/// The enum that a type expression names (see `Shape::expr`).
pub fn enum_of(expr: &str) -> Option<&'static Enum> {
    let (package, name) = expr.trim_start_matches('*').split_once('.')?;
    TABLES
        .enums_by_name
        .get(&(package.parse().ok()?, name))
        .map(|at| &TABLES.enums[*at])
}

/// The type of a kind. Kinds of apimachinery (DeleteOptions, Status, WatchEvent …) are found in any group and version, as
/// upstream registers them.
pub fn type_of(gvk: &GroupVersionKind) -> Option<TypeId> {
    let key = (gvk.group.as_ref(), gvk.version.as_ref(), gvk.kind.as_ref());
    TABLES
        .kinds
        .get(&key)
        .or_else(|| TABLES.meta_kinds.get(gvk.kind.as_ref()))
        .copied()
}

/// A struct type of a package by its Go name, such as `("api/core/v1", "PodTemplateSpec")`.
pub fn named(package: &str, name: &str) -> Option<TypeId> {
    let at = TABLES.packages.iter().position(|p| p.path == package)?;
    TABLES.by_name.get(&(at as u16, name)).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn field(group: &'static str, kind: &'static str, name: &str) -> &'static Field {
        type_of(&GroupVersionKind::new(group, "v1", kind))
            .unwrap()
            .get()
            .field(name)
            .unwrap()
    }

    #[test]
    fn inlined_members_are_flat_in_json_and_nested_on_the_wire() {
        let volume = named("api/core/v1", "Volume").unwrap().get();
        assert!(volume.field("emptyDir").is_some());
        assert_eq!(
            volume
                .wire
                .iter()
                .map(|f| (f.name, f.number, f.inline))
                .collect::<Vec<_>>(),
            [("name", 1, false), ("", 2, true)]
        );
    }

    #[test]
    fn shapes_resolve_through_aliases() {
        let spec = field("apps", "Deployment", "spec").shape;
        let Kind::Struct(spec) = spec.kind else {
            panic!("{spec:?}")
        };
        let replicas = spec.get().field("replicas").unwrap();
        assert!(replicas.shape.pointer && replicas.omitempty);
        assert!(matches!(replicas.shape.kind, Kind::Int32));
        let data = field("", "Secret", "data").shape;
        assert_eq!(go_name(data.expr), "map[string][]uint8");
        let port = named("api/core/v1", "ContainerPort")
            .unwrap()
            .get()
            .field("protocol")
            .unwrap();
        assert_eq!(go_name(port.shape.expr), "v1.Protocol");
        assert!(enum_of(port.shape.expr).is_some());
    }

    #[test]
    fn machinery_kinds_are_found_in_every_group() {
        let gvk = GroupVersionKind::new("apps", "v1", "DeleteOptions");
        assert_eq!(type_of(&gvk).unwrap().get().name, "DeleteOptions");
        assert!(type_of(&GroupVersionKind::new("apps", "v9", "Deployment")).is_none());
    }
}
