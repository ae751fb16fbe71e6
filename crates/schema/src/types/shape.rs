//! Shapes: what a field's value may look like, resolved from Go's notation.

use super::TypeId;

/// The resolved type of a field or element.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub kind: Kind,
    /// Go holds a pointer: absent and zero differ.
    pub pointer: bool,
    /// Go's notation with packages as indexes (`map[26.ResourceName]59.Quantity`); see `go_name`.
    pub expr: &'static str,
}

/// What values a shape takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    String,
    Bool,
    Int32,
    Int64,
    Float64,
    /// Base64 in JSON.
    Bytes,
    Struct(TypeId),
    List(&'static Element),
    /// Keys are always strings.
    Map(&'static Element),
    Special(Special),
}

/// The element of a list or map.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    pub shape: Shape,
    /// The list has a name of its own, and so is a message on the wire where it is not a repeated field.
    pub named: bool,
}

/// Types whose JSON form is their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// `metav1.Time`: RFC 3339, whole seconds.
    Time,
    /// `metav1.MicroTime`: RFC 3339, microseconds.
    MicroTime,
    /// `metav1.Duration`: Go's duration text.
    Duration,
    Quantity,
    IntOrString,
    /// Any object (`runtime.RawExtension`).
    Raw,
    /// A tree of managed fields.
    FieldsV1,
    /// Any JSON (apiextensions `JSON`).
    Json,
    /// A JSON schema or a list of them.
    SchemaOrArray,
    /// A JSON schema or a boolean.
    SchemaOrBool,
    /// A JSON schema or a list of strings.
    SchemaOrStrings,
}

impl Special {
    /// The special type behind a Go name, if it is one.
    pub(super) fn of(package: &str, name: &str) -> Option<Self> {
        Some(match (package, name) {
            ("apimachinery/pkg/apis/meta/v1", "Time") => Self::Time,
            ("apimachinery/pkg/apis/meta/v1", "MicroTime") => Self::MicroTime,
            ("apimachinery/pkg/apis/meta/v1", "Duration") => Self::Duration,
            ("apimachinery/pkg/apis/meta/v1", "FieldsV1") => Self::FieldsV1,
            ("apimachinery/pkg/api/resource", "Quantity") => Self::Quantity,
            ("apimachinery/pkg/util/intstr", "IntOrString") => Self::IntOrString,
            ("apimachinery/pkg/runtime", "RawExtension") => Self::Raw,
            ("apiextensions-apiserver/pkg/apis/apiextensions/v1", other) => match other {
                "JSON" => Self::Json,
                "JSONSchemaPropsOrArray" => Self::SchemaOrArray,
                "JSONSchemaPropsOrBool" => Self::SchemaOrBool,
                "JSONSchemaPropsOrStringArray" => Self::SchemaOrStrings,
                _ => return None,
            },
            _ => return None,
        })
    }
}
