//! NodeResourcesFit (least allocated) and NodeResourcesBalancedAllocation.

use super::{Cycle, MAX_NODE_SCORE, Rejection};
use crate::model::NodeInfo;

/// All that is missing, each with its reason.
pub(super) fn filter(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Rejection> {
    let (wanted, has, used) = (&cycle.pod.requests, &node.allocatable, &node.requested);
    let mut rejection = Rejection { plugin: "NodeResourcesFit", reasons: Vec::new(), unresolvable: false };
    if node.pods.len() as i64 + 1 > has.pods {
        rejection.reasons.push("Too many pods".to_owned());
    }
    let mut check = |name: &str, wanted: i64, has: i64, used: i64| {
        if wanted > 0 && wanted > has - used {
            rejection.reasons.push(format!("Insufficient {name}"));
            rejection.unresolvable |= wanted > has;
        }
    };
    check("cpu", wanted.milli_cpu, has.milli_cpu, used.milli_cpu);
    check("memory", wanted.memory, has.memory, used.memory);
    check("ephemeral-storage", wanted.ephemeral_storage, has.ephemeral_storage, used.ephemeral_storage);
    for (name, amount) in &wanted.scalar {
        let of = |list: &std::collections::BTreeMap<String, i64>| list.get(name).copied().unwrap_or(0);
        check(name, *amount, of(&has.scalar), of(&used.scalar));
    }
    (!rejection.reasons.is_empty()).then_some(rejection)
}

/// More room left is better.
pub(super) fn least_allocated(cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
    let (mut sum, mut weights) = (0, 0);
    for (used, wanted, has) in amounts(cycle, node, true) {
        if has > 0 {
            let requested = used + wanted;
            sum += if requested > has { 0 } else { (has - requested) * MAX_NODE_SCORE / has };
            weights += 1;
        }
    }
    if weights == 0 { 0 } else { sum / weights }
}

/// CPU and memory used in like measure is better: judged by how much the pod improves it.
pub(super) fn balanced_allocation(cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
    if cycle.pod.requests.milli_cpu == 0 && cycle.pod.requests.memory == 0 {
        return 0;
    }
    let amounts = amounts(cycle, node, false);
    let before = balance(amounts.map(|(used, _, has)| (used, has)));
    let after = balance(amounts.map(|(used, wanted, has)| (used + wanted, has)));
    MAX_NODE_SCORE / 2 + (MAX_NODE_SCORE / 2 + after - before) / 2
}

/// (used, wanted, allocatable) of CPU and memory. Least-allocated counts what asks for nothing at its default.
fn amounts(cycle: &Cycle<'_>, node: &NodeInfo, non_zero: bool) -> [(i64, i64, i64); 2] {
    let (used, wanted) = if non_zero { (&node.non_zero, &cycle.pod.non_zero) } else { (&node.requested, &cycle.pod.requests) };
    [
        (used.milli_cpu, wanted.milli_cpu, node.allocatable.milli_cpu),
        (used.memory, wanted.memory, node.allocatable.memory),
    ]
}

fn balance(amounts: [(i64, i64); 2]) -> i64 {
    let fractions = amounts.map(|(used, has)| if has == 0 { 1.0 } else { (used as f64 / has as f64).min(1.0) });
    let deviation = (fractions[0] - fractions[1]).abs() / 2.0;
    ((1.0 - deviation) * MAX_NODE_SCORE as f64) as i64
}
