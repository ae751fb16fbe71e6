//! Schemas as the types of expressions, with bounds on the sizes of values.

use std::collections::HashMap;
use std::sync::Arc;

use corten_cel::{ListSemantics, SizeEstimate, SizeHints, Type, TypeProvider, escape, unescape};
use serde_json::Value;

use crate::structural::{Additional, Check, ListType, Structural, Type as Json};

/// The largest request, in bytes: no value is larger.
pub(super) const REQUEST_BYTES_MAX: u64 = 3 << 20;
const STRING_MAX: u64 = REQUEST_BYTES_MAX - 2;
const TIME_MAX: u64 = 32;
const DATE_MAX: u64 = 12;

/// The declaration of a node.
#[derive(Debug)]
pub(super) struct Declaration {
    pub kind: Type,
    /// Most characters, bytes or elements.
    max: u64,
    /// Least bytes in JSON.
    pub min_bytes: u64,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Scalar,
    /// The items of a list or the values of a map.
    Elements(Box<Declaration>),
    Fields(HashMap<Box<str>, Declaration>),
}

/// Object types by the name they have in expressions.
#[derive(Debug, Default)]
pub(super) struct Types(HashMap<String, HashMap<Box<str>, Type>>);

impl TypeProvider for Types {
    fn has_type(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn field(&self, type_name: &str, field: &str) -> Option<Type> {
        self.0.get(type_name)?.get(field).cloned()
    }
}

/// The declaration of a node with rules, and the types below it.
#[derive(Clone)]
pub(super) struct Scope<'d> {
    pub declaration: &'d Declaration,
    pub types: Arc<Types>,
}

/// Declares a node of its own; `None` for what expressions cannot see.
pub(super) fn declare(schema: &Structural, resource_root: bool) -> Option<(Declaration, Arc<Types>)> {
    let mut types = Types::default();
    let declaration = Declaration::of(schema, resource_root, "selfType", &mut types)?;
    Some((declaration, Arc::new(types)))
}

impl Declaration {
    fn scalar(kind: Type, max: u64, min_bytes: u64) -> Self {
        Self {
            kind,
            max,
            min_bytes,
            inner: Inner::Scalar,
        }
    }

    fn of(schema: &Structural, root: bool, name: &str, types: &mut Types) -> Option<Self> {
        if schema.int_or_string {
            let max = length(schema).unwrap_or(STRING_MAX);
            return Some(Self::scalar(Type::Dyn, max, 1));
        }
        Some(match schema.kind {
            Json::Any => return None,
            Json::Boolean => Self::scalar(Type::Bool, 0, 4),
            Json::Number => Self::scalar(Type::Double, 0, 1),
            Json::Integer => Self::scalar(Type::Int, 0, 1),
            Json::String => Self::text(schema),
            Json::Array => {
                let items = schema.items.as_deref()?;
                let name = format!("{name}.@items");
                let items = Self::of(items, items.embedded_resource, &name, types)?;
                let limit = schema.find(|check| match check {
                    Check::MaxItems(limit) => Some(*limit),
                    _ => None,
                });
                Self {
                    kind: Type::list_of(items.kind.clone(), semantics(schema)),
                    max: limit.map_or((REQUEST_BYTES_MAX - 2) / (items.min_bytes + 1), natural),
                    min_bytes: 2,
                    inner: Inner::Elements(Box::new(items)),
                }
            }
            Json::Object => match &schema.additional {
                Additional::Schema(values) => {
                    let name = format!("{name}.@values");
                    let values = Self::of(values, values.embedded_resource, &name, types)?;
                    let limit = schema.find(|check| match check {
                        Check::MaxProperties(limit) => Some(*limit),
                        _ => None,
                    });
                    Self {
                        kind: Type::map(Type::String, values.kind.clone()),
                        max: limit.map_or((REQUEST_BYTES_MAX - 2) / (values.min_bytes + 6), natural),
                        min_bytes: 2,
                        inner: Inner::Elements(Box::new(values)),
                    }
                }
                _ => Self::object(schema, root, name, types),
            },
        })
    }

    fn object(schema: &Structural, root: bool, name: &str, types: &mut Types) -> Self {
        let (mut fields, mut min_bytes) = (HashMap::new(), 2);
        for (property, child) in &schema.properties {
            let child_name = format!("{name}.{property}");
            let Some(declared) = Self::of(child, child.embedded_resource, &child_name, types) else {
                continue;
            };
            // Defaults come in after the request.
            if schema.required().contains(property) && child.default.is_none() {
                min_bytes += property.len() as u64 + declared.min_bytes + 4;
            }
            fields.insert(property.clone(), declared);
        }
        if root {
            let text = || Self::scalar(Type::String, STRING_MAX, 2);
            let metadata = format!("{name}.metadata");
            let names = ["name", "generateName"].map(|field| (field.into(), text()));
            fields.insert("kind".into(), text());
            fields.insert("apiVersion".into(), text());
            fields.insert(
                "metadata".into(),
                Self::fields(&metadata, HashMap::from(names), 2, types),
            );
        }
        Self::fields(name, fields, min_bytes, types)
    }

    fn fields(name: &str, fields: HashMap<Box<str>, Self>, min_bytes: u64, types: &mut Types) -> Self {
        let reachable = fields.iter().filter(|(field, _)| escape(field).is_some());
        let own = reachable
            .map(|(field, declared)| (field.clone(), declared.kind.clone()))
            .collect();
        types.0.insert(name.to_owned(), own);
        Self {
            kind: Type::object(name),
            max: 0,
            min_bytes,
            inner: Inner::Fields(fields),
        }
    }

    fn text(schema: &Structural) -> Self {
        match schema.format() {
            "byte" => {
                let max = limit(schema).map_or(STRING_MAX, natural);
                Self::scalar(Type::Bytes, max, 2)
            }
            "duration" => Self::scalar(Type::Duration, TIME_MAX, 3),
            "date" => Self::scalar(Type::Timestamp, DATE_MAX, DATE_MAX),
            "date-time" => Self::scalar(Type::Timestamp, TIME_MAX, 21),
            _ => {
                let longest = || {
                    let values = schema.find(|check| match check {
                        Check::Enum(values) => Some(values),
                        _ => None,
                    })?;
                    values
                        .iter()
                        .filter_map(Value::as_str)
                        .map(|text| text.len() as u64)
                        .max()
                };
                let max = length(schema).or_else(longest).unwrap_or(STRING_MAX);
                Self::scalar(Type::String, max, 2)
            }
        }
    }

    /// The declaration of a property, reachable or not.
    pub fn property(&self, name: &str) -> Option<&Self> {
        match &self.inner {
            Inner::Fields(fields) => fields.get(name),
            _ => None,
        }
    }

    /// The declaration of items or values.
    pub fn elements(&self) -> Option<&Self> {
        match &self.inner {
            Inner::Elements(elements) => Some(elements),
            _ => None,
        }
    }
}

fn natural(limit: i64) -> u64 {
    u64::try_from(limit).unwrap_or(0)
}

fn limit(schema: &Structural) -> Option<i64> {
    schema.find(|check| match check {
        Check::MaxLength(limit) => Some(*limit),
        _ => None,
    })
}

/// Characters may take four bytes.
fn length(schema: &Structural) -> Option<u64> {
    limit(schema).map(|limit| natural(limit).saturating_mul(4))
}

fn semantics(schema: &Structural) -> ListSemantics {
    match schema.list_type {
        ListType::Set => ListSemantics::Set,
        ListType::Map => ListSemantics::Map(schema.list_map_keys().to_vec()),
        ListType::Atomic | ListType::Unset => ListSemantics::Atomic,
    }
}

impl SizeHints for Declaration {
    fn size(&self, path: &[&str], _: &Type) -> Option<SizeEstimate> {
        let mut at = self;
        for step in path.iter().skip(1) {
            at = match *step {
                "@items" | "@values" => at.elements()?,
                // Keys have no bound of their own.
                "@keys" if at.elements().is_some() => return Some(SizeEstimate { min: 0, max: 0 }),
                step => at.property(&unescape(step)?)?,
            };
        }
        Some(SizeEstimate { min: 0, max: at.max })
    }
}
