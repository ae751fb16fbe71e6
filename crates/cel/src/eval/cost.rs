//! What calls cost when they are made: cel-go's cost tracker with Kubernetes' estimator for its libraries.

use super::ops;
use crate::check::ast::{Call, NodeKind};
use crate::parse::ast::Literal;
use crate::value::Value;

/// Cost of looking at a character.
pub(crate) const TRAVERSAL: f64 = 0.1;
/// Cost of a character of a pattern.
pub(crate) const PATTERN: f64 = 0.25;
/// Two authorization checks fit into one evaluation.
pub(crate) const AUTHZ_CHECK: u64 = 350_000;

fn size(value: Option<&Value<'_>>) -> u64 {
    match value {
        Some(Value::Optional(Some(inner))) => size(Some(inner)),
        Some(value) => ops::size(value).unwrap_or(1),
        None => 1,
    }
}

fn traverse(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// `x in [constants]` is planned as a set and costs nothing.
pub(super) fn is_membership_of_constants(call: &Call) -> bool {
    if call.function.name != "@in" || call.overloads != ["in_list"] {
        return false;
    }
    match call.args.get(1).map(|n| &n.kind) {
        Some(NodeKind::List(list)) => list.constant && list.items.iter().all(|item| is_primitive(&item.kind)),
        _ => false,
    }
}

fn is_primitive(kind: &NodeKind) -> bool {
    matches!(kind, NodeKind::Literal(l) if !matches!(l, Literal::Bytes(_) | Literal::Null))
}

pub(super) fn equality(left: &Value<'_>, right: &Value<'_>, is_equals: bool) -> u64 {
    let opaque = matches!(
        left,
        Value::Quantity(_)
            | Value::Ip(_)
            | Value::Cidr(_)
            | Value::Format(_)
            | Value::Url(..)
            | Value::Semver(_)
            | Value::Authz(_)
    );
    if opaque && is_equals {
        return 1;
    }
    traverse(size(Some(left)).min(size(Some(right))), TRAVERSAL)
}

pub(super) fn call(call: &Call, args: &[Value<'_>], result: Option<&Value<'_>>) -> u64 {
    let first = size(args.first());
    let second = size(args.get(1));
    if let [overload] = call.overloads[..]
        && let Some(cost) = of_lists(overload, args, result)
    {
        return cost;
    }
    match call.function.name {
        "check" => AUTHZ_CHECK,
        "fieldSelector" | "labelSelector" => selector(second),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => args.first().map_or(0, walk),
        "url"
        | "lowerAscii"
        | "upperAscii"
        | "substring"
        | "trim"
        | "jsonpatch.escapeKey"
        | "cidr"
        | "isIP"
        | "isCIDR"
        | "quantity"
        | "isQuantity"
        | "semver"
        | "isSemver" => traverse(first, TRAVERSAL),
        "replace" | "split" | "ip.isCanonical" => traverse(first, 2.0 * TRAVERSAL),
        "join" => traverse(size(result), 2.0 * TRAVERSAL),
        "find" | "findAll" => pattern(first, second),
        "ip" if matches!(args.first(), Some(Value::Cidr(_))) => 1,
        "ip" => traverse(first, TRAVERSAL),
        "containsIP" => {
            let parse = matches!(args.get(1), Some(Value::String(_)));
            traverse(2 * first, TRAVERSAL) + if parse { traverse(second, TRAVERSAL) } else { 0 }
        }
        "containsCIDR" => {
            let parse = matches!(args.get(1), Some(Value::String(_)));
            let compare = traverse(2 * first, TRAVERSAL) + traverse(first, TRAVERSAL) + 1;
            compare + if parse { traverse(second, TRAVERSAL) } else { 0 }
        }
        "validate" => match args.first() {
            Some(Value::Format(format)) => pattern(second, format.regex_size),
            _ => 1,
        },
        _ => by_overload(call, first, second),
    }
}

/// Calls of cel-go's extensions for lists and sets.
fn of_lists(overload: &str, args: &[Value<'_>], result: Option<&Value<'_>>) -> Option<u64> {
    let (first, second) = (size(args.first()), size(args.get(1)));
    let made = |elements: f64| elements as u64 + 1 + super::LIST_COST;
    Some(match overload {
        "list_slice" | "lists_range" | "list_reverse" => made(size(result) as f64),
        "list_flatten" => made(first as f64),
        "list_flatten_int" => match args.get(1) {
            Some(Value::Int(depth)) => made(first as f64 * *depth as f64),
            _ => return None,
        },
        "list_sets_contains_list" | "list_sets_intersects_list" => 1 + first.saturating_mul(second),
        "list_sets_equivalent_list" => 1 + first.saturating_mul(second).saturating_mul(2),
        _ => {
            let compared = match overload {
                "list_distinct" => args.first()?,
                name if name.ends_with("_sort") => args.first()?,
                name if name.ends_with("_sortByAssociatedKeys") => args.get(1)?,
                _ => return None,
            };
            let text = matches!(compared.list_get(0), Some(Value::String(_) | Value::Bytes(_)));
            let factor = if text { 2.0 + TRAVERSAL } else { 2.0 };
            let len = size(Some(compared));
            made(len.saturating_mul(len) as f64 * factor)
        }
    })
}

fn by_overload(call: &Call, first: u64, second: u64) -> u64 {
    let [overload] = call.overloads[..] else { return 1 };
    match overload {
        "starts_with_string" | "ends_with_string" | "string_to_bytes" | "bytes_to_string"
        | "strings_quote" | "string_format" => traverse(first, TRAVERSAL),
        "in_list" => second,
        "less_string"
        | "greater_string"
        | "less_equals_string"
        | "greater_equals_string"
        | "less_bytes"
        | "greater_bytes"
        | "less_equals_bytes"
        | "greater_equals_bytes" => traverse(first.min(second), TRAVERSAL),
        "add_string" | "add_bytes" => traverse(first + second, TRAVERSAL),
        "matches_string" => pattern(first, second),
        "contains_string" => traverse(first, TRAVERSAL) * traverse(second, TRAVERSAL),
        _ => 1,
    }
}

fn pattern(text: u64, pattern: u64) -> u64 {
    traverse(text + 1, TRAVERSAL) * traverse(pattern, PATTERN)
}

/// Parsing a selector: its characters, and a requirement for every second one.
fn selector(length: u64) -> u64 {
    super::LIST_COST
        + traverse(length, TRAVERSAL)
        + traverse(length, 0.5) * (super::LIST_COST + super::STRUCT_COST)
}

/// Cost of visiting everything in a value.
fn walk(value: &Value<'_>) -> u64 {
    match value {
        Value::String(s) => (s.len() as f64 * TRAVERSAL) as u64,
        Value::Bytes(b) => (b.len() as f64 * TRAVERSAL) as u64,
        _ => match value.list_items() {
            Some(items) => items.iter().map(walk).sum(),
            None => match value {
                Value::Map(entries) => entries.iter().map(|(k, v)| walk(k) + walk(v)).sum(),
                Value::Json(json, _) => walk_json(json),
                _ => 1,
            },
        },
    }
}

fn walk_json(json: &serde_json::Value) -> u64 {
    match json {
        serde_json::Value::String(s) => (s.len() as f64 * TRAVERSAL) as u64,
        serde_json::Value::Array(items) => items.iter().map(walk_json).sum(),
        serde_json::Value::Object(fields) => fields
            .iter()
            .map(|(k, v)| (k.len() as f64 * TRAVERSAL) as u64 + walk_json(v))
            .sum(),
        _ => 1,
    }
}
