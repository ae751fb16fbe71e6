//! A node that runs out of memory ends pods itself, in an order, before the kernel does it in none.

use crate::context::Context;
use crate::node::low_memory;
use crate::pod::PodExt;
use crate::pods::Pods;
use crate::quantity::{self, value_of};
use crate::spec::resources::pod_total;
use crate::worker::Snapshot;
use std::cmp::Reverse;
use std::sync::Arc;

/// Static and system pods are never evicted.
const SYSTEM_CRITICAL: i32 = 2_000_000_000;

/// A pod that could go.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    uid: String,
    priority: i32,
    used: i64,
    requested: i64,
}

pub(super) async fn run(cx: &Arc<Context>, pods: &Arc<Pods>) {
    let Some((available, floor)) = low_memory(&cx.limits.eviction_hard) else {
        return;
    };
    let snapshots = pods.snapshots();
    let list: Vec<Candidate> = snapshots.iter().filter_map(|s| candidate(cx, s)).collect();
    let Some(first) = rank(list).into_iter().next() else {
        return;
    };
    let (floor, left) = (quantity::bytes(floor).0, quantity::bytes(available).0);
    let (used, request) = (quantity::bytes(first.used).0, quantity::bytes(first.requested).0);
    let message = format!(
        "The node was low on resource: memory. Threshold quantity: {floor}, available: {left}. The pod was using {used}, request is {request}, has larger consumption of memory. "
    );
    tracing::warn!(
        uid = first.uid,
        available,
        "evicting a pod: the node is low on memory"
    );
    pods.evict(&first.uid, "Evicted", &message);
}

fn candidate(cx: &Context, s: &Snapshot) -> Option<Candidate> {
    let priority = s.pod.spec().priority.unwrap_or(0);
    let ended = matches!(s.status.phase.as_deref(), Some("Succeeded" | "Failed")) || s.pod.is_deleting();
    if ended || priority >= SYSTEM_CRITICAL || s.view.running().next().is_none() {
        return None;
    }
    Some(Candidate {
        uid: s.pod.uid().to_owned(),
        priority,
        used: i64::try_from(cx.cgroups.usage(&s.pod)?.working_set_bytes).unwrap_or(i64::MAX),
        requested: value_of(Some(&pod_total(&s.pod, false)), "memory").unwrap_or(0),
    })
}

/// Those above their requests first, then by priority, then by how far above (upstream's `rankMemoryPressure`).
fn rank(mut list: Vec<Candidate>) -> Vec<Candidate> {
    list.sort_by_key(|c| (c.used <= c.requested, c.priority, Reverse(c.used - c.requested)));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_eviction() {
        let c = |uid: &str, priority, used, requested| Candidate {
            uid: uid.into(),
            priority,
            used,
            requested,
        };
        let list = vec![
            c("within", 0, 5, 10),
            c("little", 0, 12, 10),
            c("much", 0, 50, 10),
            c("high", 9, 90, 0),
        ];
        let order: Vec<String> = rank(list).into_iter().map(|c| c.uid).collect();
        assert_eq!(order, ["much", "little", "high", "within"]);
    }
}
