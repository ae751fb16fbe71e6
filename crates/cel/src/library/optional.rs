//! Optional values, and the ends of lists as such.

use super::{Answer, Context, failed};
use crate::eval::ops;
use crate::value::Value;
use std::sync::Arc;

fn some(value: Value<'_>) -> Value<'_> {
    Value::Optional(Some(Arc::new(value)))
}

pub(super) fn compute<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    match (context.function, args) {
        ("optional.none", []) => Ok(Value::Optional(None)),
        ("optional.of", [value]) => Ok(some(value.clone())),
        ("optional.ofNonZeroValue", [value]) if is_zero(value) => Ok(Value::Optional(None)),
        ("optional.ofNonZeroValue", [value]) => Ok(some(value.clone())),
        ("optional.unwrap" | "unwrapOpt", [list]) => unwrap(context, list),
        ("value", [Value::Optional(Some(value))]) => Ok(Value::clone(value)),
        ("value", [Value::Optional(None)]) => failed("optional.none() dereference"),
        ("hasValue", [Value::Optional(value)]) => Ok(Value::Bool(value.is_some())),
        ("first" | "last", [list]) => {
            let Some(len) = list.list_len() else {
                return context.no_overload(args);
            };
            let index = if context.function == "first" {
                0
            } else {
                len.saturating_sub(1)
            };
            Ok(list.list_get(index).map_or(Value::Optional(None), some))
        }
        _ => super::formats::constant(context, args),
    }
}

fn unwrap<'a>(context: &Context<'_>, list: &Value<'a>) -> Answer<'a> {
    let Some(items) = list.list_items() else {
        return context.no_overload(std::slice::from_ref(list));
    };
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Value::Optional(Some(value)) => values.push(Value::clone(&value)),
            Value::Optional(None) => {}
            other => {
                let shown = super::convert::display(&other).unwrap_or_default();
                return failed(format!("value {shown} is not optional"));
            }
        }
    }
    Ok(Value::list(values))
}

fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Optional(None) => true,
        Value::Bool(b) => !b,
        Value::Int(i) => *i == 0,
        Value::Uint(u) => *u == 0,
        Value::Double(d) => *d == 0.0,
        Value::Duration(d) => *d == 0,
        Value::Struct(s) => s.fields.is_empty(),
        Value::Ip(_) | Value::Cidr(_) => false,
        other => ops::size(other) == Some(0),
    }
}
