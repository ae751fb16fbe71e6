//! What calls of cel-go's extensions for lists and sets can cost.

use super::calls::CallEstimate;
use super::{Arg, CostEstimate, LIST_COST, SizeEstimate};
use crate::eval::cost::TRAVERSAL;

pub(super) fn estimate(overload: &str, args: &[Arg<'_>]) -> Option<CallEstimate> {
    Some(match (overload, args) {
        ("list_slice", [list, start, end]) => {
            let start = number(start, 0);
            let end = number(end, list.size().max);
            made(1.0, SizeEstimate::fixed(end.wrapping_sub(start)))
        }
        ("lists_range", [count]) => made(1.0, SizeEstimate::fixed(number(count, u64::MAX))),
        ("list_reverse", [list]) => made(1.0, list.size()),
        ("list_flatten", [list]) => made(1.0, list.size()),
        ("list_flatten_int", [list, depth]) => made(number(depth, u64::MAX) as f64, list.size()),
        ("list_distinct", [list]) => made(2.0, list.size().multiply(list.size())),
        ("list_sets_contains_list" | "list_sets_intersects_list", [a, b]) => sets(1.0, a, b),
        ("list_sets_equivalent_list", [a, b]) => sets(2.0, a, b),
        _ => {
            let element = overload.strip_prefix("list_")?;
            if let Some(element) = element.strip_suffix("_sort") {
                return Some(sort(element, args.first()?));
            }
            sort(element.strip_suffix("_sortByAssociatedKeys")?, args.get(1)?)
        }
    })
}

fn sort(element: &str, keys: &Arg<'_>) -> CallEstimate {
    let text = matches!(element, "string" | "bytes");
    let factor = if text { 2.0 + TRAVERSAL } else { 2.0 };
    made(factor, keys.size().multiply(keys.size()))
}

/// A call that makes a list of this size.
fn made(factor: f64, size: SizeEstimate) -> CallEstimate {
    CallEstimate::sized(size.cost(factor).add(CostEstimate::fixed(1 + LIST_COST)), size)
}

fn sets(factor: f64, a: &Arg<'_>, b: &Arg<'_>) -> CallEstimate {
    let cost = a.size().multiply(b.size()).cost(factor);
    CallEstimate::cost(cost.add(CostEstimate::fixed(1)))
}

/// The value of an int literal, negative ones being zero.
fn number(arg: &Arg<'_>, otherwise: u64) -> u64 {
    arg.int().map_or(otherwise, |i| u64::try_from(i).unwrap_or(0))
}
