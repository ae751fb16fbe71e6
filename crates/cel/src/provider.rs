//! What callers implement: object types from schemas, and size hints for the cost estimate.

use crate::estimate::SizeEstimate;
use crate::types::Type;

/// Object types by name, with their fields. Built-in kinds and the structural schemas of CRDs implement it over the
/// schema they already hold; nothing is copied.
///
/// Field names are those of the JSON. The engine undoes the escapes (`__dot__`, `__namespace__`) before it asks.
pub trait TypeProvider: Send + Sync {
    /// Whether `name` is an object type. Such a name may also be constructed (`Object{..}`).
    fn has_type(&self, name: &str) -> bool;

    /// The type of a field of an object type, or None if it has no such field.
    fn field(&self, type_name: &str, field: &str) -> Option<Type>;
}

/// Bounds that the schema puts on values, for [`crate::Program::estimate`].
pub trait SizeHints {
    /// The size (as `size()` counts: characters, bytes, elements) of what `path` leads to, or None if the schema says
    /// nothing. The first element is a variable; the others are field names as the expression writes them,
    /// `@items`, `@values`, `@keys` or `@indices`.
    fn size(&self, path: &[&str], ty: &Type) -> Option<SizeEstimate>;
}

/// No hints: sizes are unknown unless the expression shows them.
pub struct NoHints;

impl SizeHints for NoHints {
    fn size(&self, _: &[&str], _: &Type) -> Option<SizeEstimate> {
        None
    }
}
