//! Lists and maps seen alike, whether the input has them or the expression made them.

use crate::errors::EvalError;
use crate::types::Type;
use crate::value::Value;
use serde_json::Value as Json;

impl<'a> Value<'a> {
    /// Length, if this is a list.
    pub fn list_len(&self) -> Option<usize> {
        match self {
            Value::List(items) => Some(items.len()),
            Value::Json(Json::Array(items), _) => Some(items.len()),
            _ => None,
        }
    }

    /// An element of a list.
    pub fn list_get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Value::List(items) => items.get(index).cloned(),
            Value::Json(Json::Array(items), ty) => Some(Value::typed(items.get(index)?, element(ty))),
            _ => None,
        }
    }

    /// All elements of a list.
    pub fn list_items(&self) -> Option<Vec<Value<'a>>> {
        match self {
            Value::List(items) => Some(items.to_vec()),
            Value::Json(Json::Array(items), ty) => {
                let ty = element(ty);
                Some(items.iter().map(|i| Value::typed(i, ty)).collect())
            }
            _ => None,
        }
    }

    pub(crate) fn is_list(&self) -> bool {
        self.list_len().is_some()
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(self, Value::Map(_) | Value::Json(Json::Object(_), _))
    }

    /// Number of entries, if this is a map or object.
    pub(crate) fn map_len(&self) -> Option<usize> {
        match self {
            Value::Map(entries) => Some(entries.len()),
            Value::Json(Json::Object(fields), _) => Some(fields.len()),
            _ => None,
        }
    }

    /// Keys with their values. `field` types the fields of objects.
    pub(crate) fn map_entries(&self, field: FieldTypes<'_>) -> Option<Vec<(Value<'a>, Value<'a>)>> {
        match self {
            Value::Map(entries) => Some(entries.to_vec()),
            Value::Json(Json::Object(fields), ty) => Some(
                fields
                    .iter()
                    .map(|(k, v)| (Value::str(k), Value::typed(v, &member(ty, k, field))))
                    .collect(),
            ),
            Value::Struct(s) => Some(
                s.fields
                    .iter()
                    .map(|(k, v)| (Value::string(k.clone()), v.clone()))
                    .collect(),
            ),
            _ => None,
        }
    }

    /// The value of a key, or None if the map does not have it.
    pub(crate) fn map_get(&self, key: &Value<'_>, field: FieldTypes<'_>) -> Option<Value<'a>> {
        match self {
            Value::Map(entries) => entries
                .iter()
                .find(|(k, _)| super::ops::equal(k, key, field))
                .map(|(_, v)| v.clone()),
            Value::Json(Json::Object(fields), ty) => {
                let name = key.as_str()?;
                let (_, json) = fields.get_key_value(name)?;
                Some(Value::typed(json, &member(ty, name, field)))
            }
            _ => None,
        }
    }

    /// The value as JSON: times as RFC 3339, durations in seconds, bytes in base64.
    ///
    /// # Errors
    /// If the value has no JSON form, as an authorizer.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        use base64::Engine;
        Ok(match self {
            Value::Null | Value::Optional(None) => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int(i) => Json::from(*i),
            Value::Uint(u) => Json::from(*u),
            Value::Double(d) => Json::from(*d),
            Value::String(s) => Json::String(s.to_string()),
            Value::Bytes(b) => Json::String(base64::engine::general_purpose::STANDARD.encode(b)),
            Value::Timestamp(_)
            | Value::Duration(_)
            | Value::Quantity(_)
            | Value::Ip(_)
            | Value::Cidr(_)
            | Value::Semver(_) => Json::String(crate::library::convert::display(self).unwrap_or_default()),
            Value::List(items) => Json::Array(items.iter().map(Value::to_json).collect::<Result<_, _>>()?),
            Value::Map(entries) => {
                let mut object = serde_json::Map::new();
                for (key, value) in entries.iter() {
                    let key = crate::library::convert::display(key)
                        .ok_or_else(|| EvalError::failed("unsupported map key type for JSON"))?;
                    object.insert(key, value.to_json()?);
                }
                Json::Object(object)
            }
            Value::Struct(s) => {
                let mut object = serde_json::Map::new();
                for (name, value) in &s.fields {
                    object.insert(name.to_string(), value.to_json()?);
                }
                Json::Object(object)
            }
            Value::Json(json, _) => (*json).clone(),
            Value::Optional(Some(value)) => value.to_json()?,
            Value::Url(_, text) => Json::String(text.to_string()),
            other => {
                let message = format!("type conversion error from '{}' to JSON", other.type_of().name());
                return Err(EvalError::Failed(message));
            }
        })
    }
}

/// Looks up the type of a field by the name of the object type.
pub(crate) type FieldTypes<'f> = &'f crate::env::Shared;

fn element(ty: &Type) -> &Type {
    match ty {
        Type::List(list) => &list.element,
        _ => &Type::Dyn,
    }
}

/// The declared type of a map's value or of an object's field.
pub(crate) fn member(ty: &Type, name: &str, shared: FieldTypes<'_>) -> Type {
    match ty {
        Type::Map(map) => map.1.clone(),
        Type::Object(object) => shared.field(object, name).unwrap_or_default(),
        _ => Type::Dyn,
    }
}
