//! The types of expressions and how error messages write them.

use std::fmt;
use std::sync::Arc;

/// The static type of an expression, as cel-go's `types.Type`. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub enum Type {
    /// Any value; checked when evaluated.
    #[default]
    Dyn,
    /// The type of something that did not check; agrees with everything, so that one mistake is reported once.
    Error,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Arc<ListType>),
    Map(Arc<(Type, Type)>),
    /// An object with declared fields; a [`crate::TypeProvider`] knows them by this name.
    Object(Arc<str>),
    /// A type with a name and parameters and no fields: `optional_type(T)`, `net.IP`.
    Opaque(Arc<(Box<str>, Vec<Type>)>),
    /// The type of a type.
    Type(Arc<Type>),
    /// A type parameter of a declaration, or a free variable of the checker.
    Param(Arc<str>),
}

/// A list's element type, and how the schema says its elements are to be compared and merged.
#[derive(Debug, Clone)]
pub struct ListType {
    pub element: Type,
    pub semantics: ListSemantics,
}

/// `x-kubernetes-list-type`. Not part of a type's identity: it guides equality and `+`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ListSemantics {
    #[default]
    Atomic,
    /// Order does not matter in equality; `+` unites.
    Set,
    /// Elements are maps identified by these keys; `+` replaces elements with equal keys.
    Map(Vec<Box<str>>),
}

impl Type {
    pub fn list(element: Type) -> Self {
        Self::list_of(element, ListSemantics::Atomic)
    }

    pub fn list_of(element: Type, semantics: ListSemantics) -> Self {
        Type::List(Arc::new(ListType { element, semantics }))
    }

    pub fn map(key: Type, value: Type) -> Self {
        Type::Map(Arc::new((key, value)))
    }

    pub fn object(name: &str) -> Self {
        Type::Object(name.into())
    }

    pub fn opaque(name: &str, parameters: Vec<Type>) -> Self {
        Type::Opaque(Arc::new((name.into(), parameters)))
    }

    pub fn optional(inner: Type) -> Self {
        Self::opaque(OPTIONAL, vec![inner])
    }

    pub fn type_of(inner: Type) -> Self {
        Type::Type(Arc::new(inner))
    }

    pub fn is_dyn(&self) -> bool {
        matches!(self, Type::Dyn)
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Type::Dyn | Type::Error)
    }

    /// `T` of `optional_type(T)`.
    pub fn optional_inner(&self) -> Option<&Type> {
        match self {
            Type::Opaque(o) if &*o.0 == OPTIONAL => o.1.first(),
            _ => None,
        }
    }

    /// Whether the size of a value of this type is known without seeing it (cel-go's `isScalar`).
    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
            other => other.optional_inner().is_some_and(Type::is_scalar),
        }
    }

    /// The name that `type(x)` prints.
    pub fn name(&self) -> &str {
        match self {
            Type::Dyn => "dyn",
            Type::Error => "!error!",
            Type::Null => "null_type",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Timestamp => "google.protobuf.Timestamp",
            Type::Duration => "google.protobuf.Duration",
            Type::List(_) => "list",
            Type::Map(_) => "map",
            Type::Object(name) | Type::Param(name) => name,
            Type::Opaque(o) => &o.0,
            Type::Type(_) => "type",
        }
    }
}

pub(crate) const OPTIONAL: &str = "optional_type";

impl PartialEq for Type {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Type::List(a), Type::List(b)) => a.element == b.element,
            (Type::Map(a), Type::Map(b)) => a == b,
            (Type::Object(a), Type::Object(b)) | (Type::Param(a), Type::Param(b)) => a == b,
            (Type::Opaque(a), Type::Opaque(b)) => a == b,
            (Type::Type(a), Type::Type(b)) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl Eq for Type {}

/// As cel-go's checker writes types in its messages.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Null => f.write_str("null"),
            Type::Timestamp => f.write_str("timestamp"),
            Type::Duration => f.write_str("duration"),
            Type::List(l) => write!(f, "list({})", l.element),
            Type::Map(m) => write!(f, "map({}, {})", m.0, m.1),
            Type::Opaque(o) if !o.1.is_empty() => {
                write!(f, "{}(", o.0)?;
                for (i, p) in o.1.iter().enumerate() {
                    write!(f, "{}{p}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
            Type::Type(t) => write!(f, "type({t})"),
            other => f.write_str(other.name()),
        }
    }
}
