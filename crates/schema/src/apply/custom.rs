//! Types that are not in the tables: the nodes of a custom resource's schema, as apply sees them.

use std::fmt;

use serde_json::Value;

/// A node of a custom schema.
pub trait CustomType: fmt::Debug + Sync {
    fn role(&self) -> Role<'_>;

    /// The node itself says that unknown members may stay.
    fn preserves_unknown(&self) -> bool;

    /// What a member of an object is. `preserve` is set where a node above lets unknown members stay.
    fn member(&self, name: &str, preserve: bool) -> Member<'_>;

    /// The member is declared by name, not an entry of a map.
    fn declares(&self, name: &str) -> bool;

    /// What the items of a list are.
    fn item(&self) -> Member<'_>;

    /// What a key stands for in items that leave it out.
    fn key_default(&self, key: &str) -> Option<&Value>;
}

/// What a value is to apply.
#[derive(Clone, Copy, Debug)]
pub enum Role<'s> {
    Scalar(Scalar),
    /// An object whose members are owned one by one.
    Granular,
    /// An object that is owned as a whole.
    WholeObject,
    /// A list that is owned as a whole.
    WholeList,
    /// A list whose items are found by their value.
    Set,
    /// A list whose items are found by these keys.
    Keyed(&'s [Box<str>]),
    /// No type is given: objects are owned by member, anything else as a whole.
    Untyped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    Text,
    Number,
    Flag,
    Any,
}

/// What a member or item is.
#[derive(Clone, Copy, Debug)]
pub enum Member<'s> {
    Type(&'s dyn CustomType),
    /// An `ObjectMeta`.
    Metadata,
    Text,
    /// The value tells: objects are owned by member, anything else as a whole.
    Deduced,
    /// The schema has no such member.
    Unknown,
}
