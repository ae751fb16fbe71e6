//! NodePorts and NodeResourcesFit.

use corten_client::object::MetaExt;
use corten_client::placement;

use super::{Plugin, Refusal};
use crate::pod_info::{HostPort, PodInfo};
use crate::snapshot::Snapshot;

pub fn ports(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> Result<(), Refusal> {
    if pod.ports.is_empty() {
        return Ok(());
    }
    let taken = snapshot.nodes[place].pods.iter().flat_map(|p| &p.ports);
    if taken.into_iter().any(|t| pod.ports.iter().any(|w| collide(t, w))) {
        let reason = "node(s) didn't have free ports for the requested pod ports";
        return Err(Refusal::new(Plugin::NodePorts, reason, true));
    }
    Ok(())
}

fn collide(a: &HostPort, b: &HostPort) -> bool {
    placement::collide((&a.0, &a.1, a.2), (&b.0, &b.1, b.2))
}

pub fn resources(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> Result<(), Refusal> {
    let node = &snapshot.nodes[place];
    // Room is kept for pods that preempted others here, unless this one is more important.
    let uid = pod.pod.metadata.uid();
    let reserved = node
        .nominated
        .iter()
        .filter(|n| n.priority >= pod.priority && n.pod.metadata.uid() != uid);
    let reserved: Vec<_> = reserved.collect();
    let (mut reasons, mut preemptable) = (Vec::new(), true);
    if (node.pods.len() + reserved.len() + 1) as i64 > node.max_pods {
        reasons.push("Too many pods".to_owned());
    }
    for (column, asked) in &pod.requests {
        let Some(numbers) = snapshot.columns.get(*column) else {
            reasons.push(format!("Insufficient {}", snapshot.names.name(*column)));
            preemptable = false;
            continue;
        };
        let held = reserved
            .iter()
            .flat_map(|n| &n.requests)
            .filter(|(c, _)| c == column)
            .map(|(_, v)| v);
        let free = numbers.alloc[place] - numbers.used[place] - held.sum::<i64>();
        if *asked > 0 && *asked > free {
            reasons.push(format!("Insufficient {}", snapshot.names.name(*column)));
            preemptable &= *asked <= numbers.alloc[place];
        }
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Refusal {
        plugin: Plugin::NodeResourcesFit,
        reasons,
        preemptable,
    })
}
