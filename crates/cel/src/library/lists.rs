//! Lists: Kubernetes' aggregates and cel-go's extension at version 3.

use super::{Answer, Context, core, failed};
use crate::errors::EvalError;
use crate::eval::ops;
use crate::value::Value;
use std::cmp::Ordering;

/// The longest list that `lists.range` makes; a longer one costs more than an evaluation may.
const RANGE_MAX: i64 = crate::PER_CALL_LIMIT as i64;

pub(super) fn compute<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    if let ("lists.range", [Value::Int(n)]) = (context.function, args) {
        return range(*n);
    }
    let Some(items) = args.first().and_then(Value::list_items) else {
        return context.no_overload(args);
    };
    match (context.function, &args[1..]) {
        ("slice", [Value::Int(start), Value::Int(end)]) => slice(items, *start, *end),
        ("flatten", []) => flatten(items, 1),
        ("flatten", [Value::Int(depth)]) => flatten(items, *depth),
        ("reverse", []) => Ok(Value::list(items.into_iter().rev().collect())),
        ("distinct", []) => Ok(Value::list(distinct(context, items))),
        ("sort", []) => sort(items.clone(), &items),
        ("@sortByAssociatedKeys", [keys]) => match keys.list_items() {
            Some(keys) if keys.len() == items.len() => sort(items, &keys),
            Some(keys) => failed(format!(
                "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
                items.len(),
                keys.len()
            )),
            None => context.no_overload(args),
        },
        ("isSorted", []) => is_sorted(&items),
        ("sum", []) => sum(context, &items),
        ("min", []) => extreme(&items, Ordering::Less, "min"),
        ("max", []) => extreme(&items, Ordering::Greater, "max"),
        _ => context.no_overload(args),
    }
}

fn range<'a>(n: i64) -> Answer<'a> {
    if n > RANGE_MAX {
        return Err(EvalError::CostLimit);
    }
    Ok(Value::list((0..n).map(Value::Int).collect()))
}

fn slice<'a>(items: Vec<Value<'a>>, start: i64, end: i64) -> Answer<'a> {
    let len = items.len() as i64;
    if start < 0 || end < 0 {
        return failed(format!(
            "cannot slice({start}, {end}), negative indexes not supported"
        ));
    }
    if start > end {
        return failed(format!(
            "cannot slice({start}, {end}), start index must be less than or equal to end index"
        ));
    }
    if len < end {
        return failed(format!("cannot slice({start}, {end}), list is length {len}"));
    }
    Ok(Value::list(items[start as usize..end as usize].to_vec()))
}

fn flatten<'a>(items: Vec<Value<'a>>, depth: i64) -> Answer<'a> {
    if depth < 0 {
        return failed("level must be non-negative");
    }
    let mut flat = items;
    for _ in 0..depth {
        if !flat.iter().any(Value::is_list) {
            break;
        }
        let mut next = Vec::with_capacity(flat.len());
        for item in flat {
            match item.list_items() {
                Some(inner) => next.extend(inner),
                None => next.push(item),
            }
        }
        flat = next;
    }
    Ok(Value::list(flat))
}

fn distinct<'a>(context: &Context<'_>, items: Vec<Value<'a>>) -> Vec<Value<'a>> {
    let mut kept: Vec<Value<'a>> = Vec::new();
    for item in items {
        if !kept.iter().any(|k| ops::equal(k, &item, context.shared)) {
            kept.push(item);
        }
    }
    kept
}

/// The items in the order of their keys; equal keys keep their order.
fn sort<'a>(items: Vec<Value<'a>>, keys: &[Value<'a>]) -> Answer<'a> {
    if let Some((first, rest)) = keys.split_first() {
        let ty = first.type_of();
        if rest.iter().any(|k| k.type_of().name() != ty.name()) {
            return failed("list elements must have the same type");
        }
        if rest.is_empty() && ops::order(first, first).is_none() {
            return failed("list elements must be comparable");
        }
    }
    let mut failure = None;
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by(|a, b| {
        compare(&keys[*a], &keys[*b]).unwrap_or_else(|e| {
            failure = Some(e);
            Ordering::Equal
        })
    });
    match failure {
        Some(_) => failed("list elements must be comparable"),
        None => Ok(Value::list(order.into_iter().map(|i| items[i].clone()).collect())),
    }
}

fn compare(a: &Value<'_>, b: &Value<'_>) -> Result<Ordering, EvalError> {
    ops::order(a, b).unwrap_or_else(|| Err(EvalError::failed("no such overload")))
}

fn is_sorted<'a>(items: &[Value<'a>]) -> Answer<'a> {
    for pair in items.windows(2) {
        if compare(&pair[0], &pair[1])? == Ordering::Greater {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(context: &Context<'_>, items: &[Value<'a>]) -> Answer<'a> {
    let Some((first, rest)) = items.split_first() else {
        return Ok(Value::Int(0));
    };
    let add = Context {
        shared: context.shared,
        pattern: None,
        function: "_+_",
    };
    let mut total = first.clone();
    for item in rest {
        total = core::arithmetic(&add, &[total, item.clone()])?;
    }
    Ok(total)
}

fn extreme<'a>(items: &[Value<'a>], wanted: Ordering, name: &str) -> Answer<'a> {
    let Some((first, rest)) = items.split_first() else {
        return failed(format!("{name} called on empty list"));
    };
    let mut best = first;
    for item in rest {
        if compare(item, best)? == wanted {
            best = item;
        }
    }
    Ok(best.clone())
}

pub(super) fn index_of<'a>(
    context: &Context<'_>,
    list: &Value<'a>,
    item: &Value<'a>,
    last: bool,
) -> Answer<'a> {
    let Some(items) = list.list_items() else {
        return context.no_overload(&[list.clone(), item.clone()]);
    };
    let same = |other: &Value<'a>| ops::equal(other, item, context.shared);
    let found = if last {
        items.iter().rposition(same)
    } else {
        items.iter().position(same)
    };
    Ok(Value::Int(found.map_or(-1, |i| i as i64)))
}
