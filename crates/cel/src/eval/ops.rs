//! Equality, order and size of values.

use super::view::FieldTypes;
use crate::authz::AuthzValue;
use crate::errors::EvalError;
use crate::types::{ListSemantics, Type};
use crate::value::Value;
use serde_json::Value as Json;
use std::cmp::Ordering;

/// CEL equality: numbers by value, other types only with their own, lists and maps by their contents.
pub(crate) fn equal(a: &Value<'_>, b: &Value<'_>, shared: FieldTypes<'_>) -> bool {
    if let Some(order) = numeric(a, b) {
        return order == Some(Ordering::Equal);
    }
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => **a == **b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Type(a), Value::Type(b)) => a.name() == b.name(),
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => equal(a, b, shared),
            (a, b) => a.is_none() && b.is_none(),
        },
        (Value::Url(_, a), Value::Url(_, b)) => a == b,
        (Value::Ip(a), Value::Ip(b)) => a == b,
        (Value::Cidr(a), Value::Cidr(b)) => a == b,
        (Value::Quantity(a), Value::Quantity(b)) => a.nanos() == b.nanos(),
        (Value::Semver(a), Value::Semver(b)) => a.cmp_precedence(b) == Ordering::Equal,
        (Value::Format(a), Value::Format(b)) => std::ptr::eq(*a, *b),
        (Value::Authz(a), Value::Authz(b)) => authz_equal(a, b),
        (Value::Struct(a), Value::Struct(b)) if a.type_name != b.type_name => false,
        _ if a.is_list() && b.is_list() => lists_equal(a, b, shared),
        _ => maps_equal(a, b, shared),
    }
}

fn authz_equal(a: &AuthzValue<'_>, b: &AuthzValue<'_>) -> bool {
    match (a, b) {
        (AuthzValue::Decision(a), AuthzValue::Decision(b)) => a == b,
        (AuthzValue::PathCheck(_, a), AuthzValue::PathCheck(_, b))
        | (AuthzValue::GroupCheck(_, a), AuthzValue::GroupCheck(_, b))
        | (AuthzValue::ResourceCheck(_, a), AuthzValue::ResourceCheck(_, b)) => a == b,
        (AuthzValue::Authorizer(a), AuthzValue::Authorizer(b)) => a.service_account == b.service_account,
        _ => false,
    }
}

/// The semantics the schema declares for a list of the input.
pub(crate) fn semantics<'v>(list: &'v Value<'_>) -> &'v ListSemantics {
    match list {
        Value::Json(_, Type::List(ty)) => &ty.semantics,
        _ => &ListSemantics::Atomic,
    }
}

fn lists_equal(a: &Value<'_>, b: &Value<'_>, shared: FieldTypes<'_>) -> bool {
    let (Some(len), Some(other)) = (a.list_len(), b.list_len()) else {
        return false;
    };
    if len != other {
        return false;
    }
    let (Some(left), Some(right)) = (a.list_items(), b.list_items()) else {
        return false;
    };
    match semantics(a) {
        ListSemantics::Atomic => left.iter().zip(&right).all(|(a, b)| equal(a, b, shared)),
        // Elements of sets are distinct, and so are the keys of keyed lists: inclusion one way is enough.
        ListSemantics::Set => left.iter().all(|a| right.iter().any(|b| equal(a, b, shared))),
        ListSemantics::Map(keys) => left.iter().all(|a| {
            let same = right.iter().find(|b| same_keys(a, b, keys));
            same.is_some_and(|b| equal(a, b, shared))
        }),
    }
}

/// Whether two elements of a keyed list are the same entry.
pub(crate) fn same_keys(a: &Value<'_>, b: &Value<'_>, keys: &[Box<str>]) -> bool {
    let (Value::Json(Json::Object(a), _), Value::Json(Json::Object(b), _)) = (a, b) else {
        return false;
    };
    keys.iter().all(|key| a.get(&**key) == b.get(&**key))
}

fn maps_equal(a: &Value<'_>, b: &Value<'_>, shared: FieldTypes<'_>) -> bool {
    if let (Value::Json(Json::Object(x), Type::Dyn), Value::Json(Json::Object(y), Type::Dyn)) = (a, b)
        && x.len() != y.len()
    {
        return false;
    }
    let (Some(left), Some(right)) = (a.map_entries(shared), b.map_entries(shared)) else {
        return false;
    };
    if left.len() != right.len() {
        return false;
    }
    left.iter().all(|(key, value)| {
        let same = match b {
            Value::Struct(_) => right
                .iter()
                .find(|(k, _)| equal(k, key, shared))
                .map(|(_, v)| v.clone()),
            _ => b.map_get(key, shared),
        };
        same.is_some_and(|other| equal(value, &other, shared))
    })
}

/// Order of two numbers; the inner None is for NaN.
fn numeric(a: &Value<'_>, b: &Value<'_>) -> Option<Option<Ordering>> {
    Some(match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Int(a), Value::Double(b)) => double_order(*b, i128::from(*a)).map(Ordering::reverse),
        (Value::Double(a), Value::Int(b)) => double_order(*a, i128::from(*b)),
        (Value::Uint(a), Value::Double(b)) => double_order(*b, i128::from(*a)).map(Ordering::reverse),
        (Value::Double(a), Value::Uint(b)) => double_order(*a, i128::from(*b)),
        _ => return None,
    })
}

/// Doubles are compared with integers without losing digits.
fn double_order(a: f64, b: i128) -> Option<Ordering> {
    if a.is_nan() {
        return None;
    }
    let whole = a.trunc();
    // A double beyond 128 bits is saturated, which orders it rightly against any 64 bits.
    let order = (whole as i128).cmp(&b);
    Some(order.then_with(|| a.partial_cmp(&whole).unwrap_or(Ordering::Equal)))
}

/// Order of two values, or None if their types have no common order.
///
/// # Errors
/// If one is not a number.
pub(crate) fn order(a: &Value<'_>, b: &Value<'_>) -> Option<Result<Ordering, EvalError>> {
    if let Some(order) = numeric(a, b) {
        return Some(order.ok_or_else(|| EvalError::failed("NaN values cannot be ordered")));
    }
    Some(Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => (**a).cmp(&**b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        _ => return None,
    }))
}

/// What `size()` gives and costs are counted by; None for values without a size.
pub(crate) fn size(value: &Value<'_>) -> Option<u64> {
    let size = match value {
        Value::String(s) => s.chars().count(),
        Value::Bytes(b) => b.len(),
        Value::Ip(ip) => {
            if ip.is_ipv4() {
                4
            } else {
                16
            }
        }
        Value::Cidr(cidr) => usize::from(cidr.prefix.div_ceil(8)),
        Value::Struct(s) => s.fields.len(),
        _ => value.list_len().or_else(|| value.map_len())?,
    };
    Some(size as u64)
}
