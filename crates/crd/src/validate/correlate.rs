//! Which part of the old object a part of the new one is: by field name, and in lists by their keys.

use serde_json::Value;

use crate::structural::{ListType, Structural, Type};

/// A part of the new object with its counterpart in the old one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Correlated<'v> {
    pub new: &'v Value,
    pub old: &'v Value,
    schema: &'v Structural,
}

impl<'v> Correlated<'v> {
    pub fn new(new: &'v Value, old: &'v Value, schema: &'v Structural) -> Self {
        Self { new, old, schema }
    }

    /// A member that both sides have and the schema describes.
    pub fn member(self, name: &str) -> Option<Self> {
        let (new, old) = (self.new.as_object()?.get(name)?, self.old.as_object()?.get(name)?);
        let schema = self.schema.member(name)?;
        Some(Self { new, old, schema })
    }

    /// The old item with the keys of a new one; there is none but in lists of type map.
    pub fn item(self, index: usize) -> Option<Self> {
        let schema = self.schema.items.as_deref()?;
        if self.schema.list_type != ListType::Map || self.schema.kind != Type::Array {
            return None;
        }
        let keys = self.schema.list_map_keys();
        let new = self.new.as_array()?.get(index)?;
        let wanted = key_of(new, schema, keys)?;
        let old = self
            .old
            .as_array()?
            .iter()
            .find(|item| key_of(item, schema, keys).is_some_and(|key| key == wanted))?;
        Some(Self { new, old, schema })
    }

    /// Nothing in it has changed, as far as the schema can tell.
    pub fn is_unchanged(self) -> bool {
        match (self.new, self.old) {
            (Value::Null, Value::Null) => true,
            (Value::Array(new), Value::Array(old)) => {
                if self.schema.list_type != ListType::Map {
                    return new == old;
                }
                new.len() == old.len()
                    && (0..new.len()).all(|index| self.item(index).is_some_and(Self::is_unchanged))
            }
            (Value::Object(new), Value::Object(old)) => {
                new.len() == old.len()
                    && new
                        .keys()
                        .all(|name| self.member(name).is_some_and(Self::is_unchanged))
            }
            (new, old) => new == old,
        }
    }
}

/// The values of an item's keys; a single key must be there, of several those that are.
fn key_of<'v>(item: &'v Value, schema: &'v Structural, keys: &[Box<str>]) -> Option<Vec<Option<&'v Value>>> {
    let map = item.as_object()?;
    let scalar = |value: &&Value| !value.is_array() && !value.is_object() && !value.is_null();
    if let [key] = keys {
        return Some(vec![Some(map.get(&**key).filter(scalar)?)]);
    }
    let value = |key: &str| {
        let default = || schema.property(key).and_then(|s| s.default.as_deref());
        map.get(key).or_else(default)
    };
    Some(keys.iter().map(|key| value(key)).collect())
}
