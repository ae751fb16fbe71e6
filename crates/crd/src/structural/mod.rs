//! A version's schema as a compact tree: one node a value, the checks it has in a list, descriptions and examples left
//! out (they are published from the definition itself).

mod formats;
mod parse;
mod pattern;
mod translate;

pub use parse::ParseError;
pub(crate) use pattern::compile as compile_pattern;
pub use pattern::{Pattern, PatternError};

use serde_json::Value;

/// The JSON type a node demands; `Any` where the schema names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Type {
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "" => Self::Any,
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    /// Empty for `Any`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// Not said; atomic.
    #[default]
    Unset,
    Atomic,
    Set,
    Map,
}

/// `x-kubernetes-map-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MapType {
    /// Not said; granular.
    #[default]
    Unset,
    Granular,
    Atomic,
}

/// `additionalProperties`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Additional {
    #[default]
    Unset,
    /// `false`
    Forbidden,
    /// `true`
    Any,
    Schema(Box<Structural>),
}

/// One rule of `x-kubernetes-validations`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub rule: Box<str>,
    pub message: Box<str>,
    pub message_expression: Box<str>,
    /// Empty means `FieldValueInvalid`.
    pub reason: Box<str>,
    pub field_path: Box<str>,
    pub optional_old_self: Option<bool>,
}

/// What a value must be besides its type. A node has those its schema states, each at most once.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    Format(Box<str>),
    Maximum {
        limit: f64,
        exclusive: bool,
    },
    Minimum {
        limit: f64,
        exclusive: bool,
    },
    MultipleOf(f64),
    /// In characters.
    MaxLength(i64),
    MinLength(i64),
    Pattern(Pattern),
    MaxItems(i64),
    MinItems(i64),
    UniqueItems,
    MaxProperties(i64),
    MinProperties(i64),
    Enum(Box<[Value]>),
    Required(Box<[Box<str>]>),
    AllOf(Box<[Structural]>),
    AnyOf(Box<[Structural]>),
    OneOf(Box<[Structural]>),
    Not(Box<Structural>),
    /// `x-kubernetes-list-map-keys`.
    ListMapKeys(Box<[Box<str>]>),
    /// `x-kubernetes-validations`.
    Rules(Box<[Rule]>),
}

/// Properties by name, sorted.
pub type Properties = Box<[(Box<str>, Structural)]>;

/// One node of a schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Structural {
    pub kind: Type,
    pub list_type: ListType,
    pub map_type: MapType,
    pub nullable: bool,
    pub preserve_unknown_fields: bool,
    pub embedded_resource: bool,
    pub int_or_string: bool,
    pub additional: Additional,
    pub properties: Properties,
    pub items: Option<Box<Structural>>,
    /// Never JSON null: upstream takes that as no default.
    pub default: Option<Box<Value>>,
    pub checks: Box<[Check]>,
}

impl Structural {
    /// Reads an `openAPIV3Schema`. See [`ParseError`] for what is no structural schema.
    pub fn parse(schema: &Value) -> Result<Self, ParseError> {
        parse::structural(schema)
    }

    /// The declared property of a name.
    pub fn property(&self, name: &str) -> Option<&Self> {
        let at = self
            .properties
            .binary_search_by(|(own, _)| (**own).cmp(name))
            .ok()?;
        Some(&self.properties[at].1)
    }

    /// The schema of undeclared properties, where they have one.
    pub fn additional_schema(&self) -> Option<&Self> {
        match &self.additional {
            Additional::Schema(schema) => Some(schema),
            _ => None,
        }
    }

    /// The schema a member of an object has: declared or additional.
    pub fn member(&self, name: &str) -> Option<&Self> {
        self.property(name).or_else(|| self.additional_schema())
    }

    pub fn required(&self) -> &[Box<str>] {
        self.find(|check| match check {
            Check::Required(names) => Some(&**names),
            _ => None,
        })
        .unwrap_or_default()
    }

    pub fn list_map_keys(&self) -> &[Box<str>] {
        self.find(|check| match check {
            Check::ListMapKeys(keys) => Some(&**keys),
            _ => None,
        })
        .unwrap_or_default()
    }

    pub fn rules(&self) -> &[Rule] {
        self.find(|check| match check {
            Check::Rules(rules) => Some(&**rules),
            _ => None,
        })
        .unwrap_or_default()
    }

    /// Empty where the schema names no format, or one that upstream does not know.
    pub fn format(&self) -> &str {
        self.find(|check| match check {
            Check::Format(name) => Some(&**name),
            _ => None,
        })
        .unwrap_or_default()
    }

    /// The first check that a function picks.
    pub fn find<'s, T>(&'s self, pick: impl Fn(&'s Check) -> Option<T>) -> Option<T> {
        self.checks.iter().find_map(pick)
    }

    /// This node or one below it, logical junctors aside, satisfies a predicate.
    pub fn any(&self, predicate: &dyn Fn(&Self) -> bool) -> bool {
        predicate(self)
            || self.items.as_ref().is_some_and(|items| items.any(predicate))
            || self.additional_schema().is_some_and(|s| s.any(predicate))
            || self.properties.iter().any(|(_, s)| s.any(predicate))
    }
}
