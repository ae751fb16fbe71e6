//! What calls of Kubernetes' libraries can cost. The API depends on these numbers: a rule that is estimated beyond
//! the limit cannot be written to a CRD.

use super::calls::{CallEstimate, matching};
use super::{Arg, CostEstimate, LIST_COST, STRUCT_COST, SizeEstimate};
use crate::check::ast::Call;
use crate::eval::cost::{AUTHZ_CHECK, PATTERN, TRAVERSAL};
use crate::types::Type;

/// Bytes of an address.
const ADDRESS: SizeEstimate = SizeEstimate { min: 4, max: 16 };
/// Longest pattern of a named format.
const FORMAT_PATTERN: f64 = 128.0;
/// Longest name of a format.
const FORMAT_SIZE: u64 = 64;

pub(super) fn estimate(
    call: &Call,
    overload: &str,
    args: &[Arg<'_>],
    element: Option<&(Type, SizeEstimate)>,
) -> Option<CallEstimate> {
    let target = args.first().filter(|_| call.has_target);
    let rest = &args[usize::from(call.has_target)..];
    let cost = match call.function.name {
        "check" => CostEstimate::fixed(AUTHZ_CHECK),
        name if is_accessor(name) => CostEstimate::fixed(1),
        "fieldSelector" | "labelSelector" => selector(rest.first()?.size()),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => visit(target?.size(), element),
        "url" | "jsonpatch.escapeKey" => return Some(same_size(rest.first()?.size())),
        "lowerAscii" | "upperAscii" | "substring" | "trim" => return Some(same_size(target?.size())),
        "replace" => return replace(target?, rest),
        "split" => return Some(split(target?, rest)),
        "join" => return Some(join(target?, rest, element)),
        "find" | "findAll" => {
            let size = target?.size();
            let result = SizeEstimate {
                min: 0,
                max: size.max,
            };
            return Some(CallEstimate::sized(matching(size, rest.first()?.size()), result));
        }
        "ip" if overload == "cidr_ip" => CostEstimate::fixed(1),
        "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
            rest.first()?.size().cost(TRAVERSAL)
        }
        "ip.isCanonical" => rest.first()?.size().cost(2.0 * TRAVERSAL),
        "containsIP" => {
            let compare = ADDRESS.add(ADDRESS).cost(TRAVERSAL);
            compare.add(parsed(overload == "cidr_contains_ip_string", rest.first()?))
        }
        "containsCIDR" => {
            let compare = ADDRESS
                .add(ADDRESS)
                .cost(TRAVERSAL)
                .add(ADDRESS.cost(TRAVERSAL))
                .add(CostEstimate::fixed(1));
            compare.add(parsed(overload == "cidr_contains_cidr_string", rest.first()?))
        }
        "validate" => rest
            .first()?
            .size()
            .cost(TRAVERSAL)
            .scaled(FORMAT_PATTERN * PATTERN),
        _ => return None,
    };
    Some(CallEstimate::cost(cost))
}

/// Builders and accessors of a nominal cost.
fn is_accessor(name: &str) -> bool {
    matches!(
        name,
        "serviceAccount"
            | "path"
            | "group"
            | "resource"
            | "subresource"
            | "namespace"
            | "name"
            | "allowed"
            | "reason"
            | "error"
            | "errored"
            | "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast"
            | "format.named"
            | "sign"
            | "asInteger"
            | "isInteger"
            | "asApproximateFloat"
            | "isGreaterThan"
            | "isLessThan"
            | "compareTo"
            | "add"
            | "sub"
            | "major"
            | "minor"
            | "patch"
            | "getScheme"
            | "getHostname"
            | "getHost"
            | "getPort"
            | "getEscapedPath"
            | "getQuery"
    )
}

/// Text has to be parsed first.
fn parsed(is_text: bool, arg: &Arg<'_>) -> CostEstimate {
    if is_text {
        arg.size().cost(TRAVERSAL)
    } else {
        CostEstimate::default()
    }
}

fn same_size(size: SizeEstimate) -> CallEstimate {
    CallEstimate::sized(size.cost(TRAVERSAL), size)
}

fn selector(length: SizeEstimate) -> CostEstimate {
    let requirements = length.cost(0.5).scaled((LIST_COST + STRUCT_COST) as f64);
    CostEstimate::fixed(LIST_COST)
        .add(length.cost(TRAVERSAL))
        .add(requirements)
}

/// Comparing every element once; text is read for that.
fn visit(size: SizeEstimate, element: Option<&(Type, SizeEstimate)>) -> CostEstimate {
    let Some((ty, element)) = element else {
        return size.cost(TRAVERSAL);
    };
    let mut each = CostEstimate::fixed(1);
    if matches!(ty, Type::String | Type::Bytes) {
        each = each.add(element.cost(TRAVERSAL));
    }
    size.times(each)
}

fn replace(target: &Arg<'_>, rest: &[Arg<'_>]) -> Option<CallEstimate> {
    let size = target.size();
    let (old, new) = (rest.first()?.size(), rest.get(1)?.size());
    let (mut count, mut kept) = (SizeEstimate::fixed(0), SizeEstimate::fixed(0));
    if old.min == 0 {
        // Nothing is replaced by something between all characters.
        count.max = size.max.saturating_add(1);
        kept.max = size.max;
    } else if new.max <= old.min {
        kept.max = size.max;
    } else {
        count.max = (size.max as f64 / old.min as f64).ceil() as u64;
    }
    if old.max == 0 {
        count.min = size.min.saturating_add(1);
        kept.min = size.min;
    } else if old.max <= new.min {
        kept.min = size.min;
    } else {
        count.min = (size.min as f64 / old.max as f64).ceil() as u64;
    }
    let result = count.multiply(new).add(kept);
    Some(CallEstimate::sized(size.cost(2.0 * TRAVERSAL), result))
}

fn split(target: &Arg<'_>, rest: &[Arg<'_>]) -> CallEstimate {
    let size = target.size();
    let limit = rest.get(1).and_then(Arg::int);
    let max = limit.map_or(size.max, |n| n as u64);
    CallEstimate::sized(size.cost(2.0 * TRAVERSAL), SizeEstimate { min: 0, max })
}

fn join(target: &Arg<'_>, rest: &[Arg<'_>], element: Option<&(Type, SizeEstimate)>) -> CallEstimate {
    let list = target.size();
    let mut size = element.map_or(SizeEstimate::fixed(0), |(_, element)| list.multiply(*element));
    if let Some(separator) = rest.first() {
        let between = SizeEstimate {
            min: list.min.saturating_sub(1),
            max: list.max.saturating_sub(1),
        };
        size = size.add(separator.size().multiply(between));
    }
    CallEstimate::sized(size.cost(TRAVERSAL), size)
}

/// `==` of two values of a library's type.
pub(super) fn equality(left: &Arg<'_>, right: &Arg<'_>) -> Option<CostEstimate> {
    if left.node.ty != right.node.ty {
        return None;
    }
    match &left.node.ty {
        Type::Opaque(o) if matches!(&*o.0, "net.IP" | "net.CIDR") => Some(CostEstimate::fixed(1)),
        Type::Object(name) => match &**name {
            "kubernetes.NamedFormat" => Some(
                CostEstimate {
                    min: 1,
                    max: FORMAT_SIZE,
                }
                .scaled(TRAVERSAL),
            ),
            "kubernetes.URL" => {
                let max = right.size.map_or(1, |size| size.max);
                Some(CostEstimate { min: 1, max }.scaled(TRAVERSAL))
            }
            "kubernetes.Quantity" | "kubernetes.Semver" => Some(CostEstimate::fixed(1)),
            name if name.starts_with("kubernetes.authorization.") => Some(CostEstimate::fixed(1)),
            _ => None,
        },
        _ => None,
    }
}
