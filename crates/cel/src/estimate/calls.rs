//! What calls of the language's own functions can cost.

use super::{Arg, CostEstimate, SizeEstimate, kubernetes, lists};
use crate::check::ast::Call;
use crate::eval::cost::{PATTERN, TRAVERSAL};
use crate::types::Type;

/// Cost of a call without its operands, and the size of its result if the operands tell.
pub(super) struct CallEstimate {
    pub cost: CostEstimate,
    pub size: Option<SizeEstimate>,
}

impl CallEstimate {
    pub fn cost(cost: CostEstimate) -> Self {
        Self { cost, size: None }
    }

    pub fn sized(cost: CostEstimate, size: SizeEstimate) -> Self {
        Self {
            cost,
            size: Some(size),
        }
    }
}

pub(super) fn estimate(
    call: &Call,
    overload: &str,
    args: &[Arg<'_>],
    element: Option<&(Type, SizeEstimate)>,
) -> CallEstimate {
    lists::estimate(overload, args)
        .or_else(|| kubernetes::estimate(call, overload, args, element))
        .or_else(|| language(overload, args))
        .unwrap_or_else(|| CallEstimate::cost(CostEstimate::fixed(1)))
}

fn language(overload: &str, args: &[Arg<'_>]) -> Option<CallEstimate> {
    let first = args.first()?;
    Some(match (overload, args) {
        ("string_format", _) => CallEstimate::cost(first.size().cost(TRAVERSAL)),
        ("string_to_bytes", [text]) => {
            let size = text.size();
            let result = SizeEstimate {
                min: size.min,
                max: size.max.wrapping_mul(4),
            };
            CallEstimate::sized(size.cost(TRAVERSAL), result)
        }
        ("bytes_to_string", [bytes]) => {
            let size = bytes.size();
            CallEstimate::sized(
                size.cost(TRAVERSAL),
                SizeEstimate {
                    min: size.min / 4,
                    max: size.max,
                },
            )
        }
        ("strings_quote", [text]) => {
            let size = text.size();
            let result = SizeEstimate {
                min: size.min.wrapping_add(2),
                max: size.max.wrapping_mul(2).wrapping_add(2),
            };
            CallEstimate::sized(size.cost(TRAVERSAL), result)
        }
        ("starts_with_string" | "ends_with_string", [_, affix]) => {
            CallEstimate::cost(affix.size().cost(TRAVERSAL))
        }
        ("in_list", [_, list]) => CallEstimate::cost(list.size().cost(1.0)),
        ("matches_string", [text, pattern]) => CallEstimate::cost(matching(text.size(), pattern.size())),
        ("contains_string", [text, part]) => {
            CallEstimate::cost(text.size().cost(TRAVERSAL).multiply(part.size().cost(TRAVERSAL)))
        }
        ("add_string" | "add_bytes", [a, b]) => {
            let size = a.size().add(b.size());
            CallEstimate::sized(size.cost(TRAVERSAL), size)
        }
        ("add_list", [a, b]) => CallEstimate::sized(CostEstimate::fixed(1), a.size().add(b.size())),
        (
            "less_string"
            | "greater_string"
            | "less_equals_string"
            | "greater_equals_string"
            | "less_bytes"
            | "greater_bytes"
            | "less_equals_bytes"
            | "greater_equals_bytes",
            [a, b],
        ) => CallEstimate::cost(compare(a, b)),
        _ => return None,
    })
}

/// Matching a pattern: each of its parts against each character.
pub(super) fn matching(text: SizeEstimate, pattern: SizeEstimate) -> CostEstimate {
    text.add(SizeEstimate::fixed(1))
        .cost(TRAVERSAL)
        .multiply(pattern.cost(PATTERN))
}

/// Comparing two values as far as the shorter one goes.
pub(super) fn compare(a: &Arg<'_>, b: &Arg<'_>) -> CostEstimate {
    let max = a.size().max.min(b.size().max);
    CostEstimate {
        min: u64::from(max > 0),
        max,
    }
    .scaled(TRAVERSAL)
}
