//! Operators of the language: arithmetic, order, membership, size.

use super::{Answer, Context, failed};
use crate::errors::EvalError;
use crate::eval::ops;
use crate::eval::view::FieldTypes;
use crate::types::ListSemantics;
use crate::value::Value;
use std::cmp::Ordering;
use std::sync::Arc;

fn overflow<T>(value: Option<T>, kind: &str) -> Result<T, EvalError> {
    value.ok_or_else(|| EvalError::Failed(format!("{kind} overflow")))
}

fn int<'a>(value: Option<i64>) -> Answer<'a> {
    overflow(value, "integer").map(Value::Int)
}

fn uint<'a>(value: Option<u64>) -> Answer<'a> {
    overflow(value, "unsigned integer").map(Value::Uint)
}

pub(super) fn arithmetic<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [left, right] = args else {
        return context.no_overload(args);
    };
    match (context.function, left, right) {
        (operator, Value::Int(a), Value::Int(b)) => integers(operator, *a, *b),
        (operator, Value::Uint(a), Value::Uint(b)) => unsigned(operator, *a, *b),
        ("_+_", Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        ("_-_", Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        ("_*_", Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        ("_/_", Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        ("_+_", Value::String(a), Value::String(b)) => Ok(Value::string([&**a, &**b].concat())),
        ("_+_", Value::Bytes(a), Value::Bytes(b)) => Ok(Value::Bytes([&**a, &**b].concat().into())),
        ("_+_", ..) if left.is_list() && right.is_list() => Ok(concatenate(left, right, context.shared)),
        ("_+_" | "_-_", ..) => super::time::arithmetic(context, left, right),
        _ => context.no_overload(args),
    }
}

fn integers<'a>(operator: &str, a: i64, b: i64) -> Answer<'a> {
    match operator {
        "_+_" => int(a.checked_add(b)),
        "_-_" => int(a.checked_sub(b)),
        "_*_" => int(a.checked_mul(b)),
        "_/_" if b == 0 => failed("division by zero"),
        "_/_" => int(a.checked_div(b)),
        _ if b == 0 => failed("modulus by zero"),
        _ => int(a.checked_rem(b)),
    }
}

fn unsigned<'a>(operator: &str, a: u64, b: u64) -> Answer<'a> {
    match operator {
        "_+_" => uint(a.checked_add(b)),
        "_-_" => uint(a.checked_sub(b)),
        "_*_" => uint(a.checked_mul(b)),
        "_/_" if b == 0 => failed("division by zero"),
        "_/_" => Ok(Value::Uint(a / b)),
        _ if b == 0 => failed("modulus by zero"),
        _ => Ok(Value::Uint(a % b)),
    }
}

/// `+` of lists; lists that the schema declares as sets or maps are merged.
fn concatenate<'a>(left: &Value<'a>, right: &Value<'a>, shared: FieldTypes<'_>) -> Value<'a> {
    let mut items = left.list_items().unwrap_or_default();
    let added = right.list_items().unwrap_or_default();
    match ops::semantics(left) {
        ListSemantics::Atomic => items.extend(added),
        ListSemantics::Set => {
            for item in added {
                if !items.iter().any(|i| ops::equal(i, &item, shared)) {
                    items.push(item);
                }
            }
        }
        ListSemantics::Map(keys) => {
            for item in added {
                match items.iter_mut().find(|i| ops::same_keys(i, &item, keys)) {
                    Some(same) => *same = item,
                    None => items.push(item),
                }
            }
        }
    }
    Value::list(items)
}

pub(super) fn order<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [left, right] = args else {
        return context.no_overload(args);
    };
    let order = match ops::order(left, right) {
        Some(order) => order?,
        None => return context.no_overload(args),
    };
    Ok(Value::Bool(match context.function {
        "_<_" => order == Ordering::Less,
        "_<=_" => order != Ordering::Greater,
        "_>_" => order == Ordering::Greater,
        _ => order != Ordering::Less,
    }))
}

pub(super) fn negate<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    match args {
        [Value::Int(i)] => int(i.checked_neg()),
        [Value::Double(d)] => Ok(Value::Double(-d)),
        [Value::Duration(d)] => overflow(d.checked_neg(), "duration").map(Value::Duration),
        _ => context.no_overload(args),
    }
}

pub(super) fn not<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    match args {
        [Value::Bool(b)] => Ok(Value::Bool(!b)),
        _ => context.no_overload(args),
    }
}

/// `in`: an element of a list or a key of a map.
pub(super) fn contains<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [item, container] = args else {
        return context.no_overload(args);
    };
    if let Some(len) = container.list_len() {
        let found = (0..len).any(|i| {
            container
                .list_get(i)
                .is_some_and(|other| ops::equal(item, &other, context.shared))
        });
        return Ok(Value::Bool(found));
    }
    if container.is_map() {
        return Ok(Value::Bool(container.map_get(item, context.shared).is_some()));
    }
    context.no_overload(args)
}

pub(super) fn size<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    match args {
        [Value::Struct(_) | Value::Ip(_) | Value::Cidr(_)] => context.no_overload(args),
        [value] => match ops::size(value) {
            Some(size) => Ok(Value::Int(size as i64)),
            None => context.no_overload(args),
        },
        _ => context.no_overload(args),
    }
}

/// Only reached where the accumulator is not a fold's own; those are changed in place.
pub(super) fn map_insert<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let Some(mut entries) = args.first().and_then(|m| m.map_entries(context.shared)) else {
        return context.no_overload(args);
    };
    match &args[1..] {
        [key, value] => entries.push((key.clone(), value.clone())),
        [map] => entries.extend(map.map_entries(context.shared).unwrap_or_default()),
        _ => return context.no_overload(args),
    }
    Ok(Value::Map(Arc::new(entries)))
}
