//! Scores that depend on one node only, weighted as upstream weighs its plugins.

use super::{affinity, taints};
use crate::pod_info::PodInfo;
use crate::snapshot::Snapshot;

pub const NODE_AFFINITY: f64 = 2.0;
pub const TAINT_TOLERATION: f64 = 3.0;
pub const TOPOLOGY_SPREAD: f64 = 2.0;
pub const INTER_POD_AFFINITY: f64 = 2.0;
/// Images smaller than this do not matter; larger than the other end count in full.
const IMAGE_BYTES: (f64, f64) = ((23 << 20) as f64, (1000 << 20) as f64);
/// Pods of one controller on a node from which on more make no difference.
const CROWDED: i64 = 10;

/// The sum over all local plugins; higher is better.
#[must_use]
pub fn local(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> f64 {
    least_and_balanced(snapshot, pod, place)
        + NODE_AFFINITY * affinity::score(snapshot, pod, place)
        + TAINT_TOLERATION * taints::score(snapshot, pod, place)
        + image_locality(snapshot, pod, place)
        + TOPOLOGY_SPREAD * apart(snapshot, pod, place)
}

/// NodeResourcesFit (LeastAllocated) and NodeResourcesBalancedAllocation.
fn least_and_balanced(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> f64 {
    let asked = [pod.scored.0, pod.scored.1];
    let (mut least, mut fractions, mut count) = (0.0, [0.0_f64; 2], 0.0);
    for (i, (alloc, used)) in snapshot.scored(place).into_iter().enumerate() {
        if alloc <= 0 {
            continue;
        }
        let fraction = ((used + asked[i]) as f64 / alloc as f64).min(1.0);
        least += (1.0 - fraction) * 100.0;
        fractions[i] = fraction;
        count += 1.0;
    }
    if count == 0.0 {
        return 0.0;
    }
    let balanced = if count > 1.0 {
        (1.0 - (fractions[0] - fractions[1]).abs() / 2.0) * 100.0
    } else {
        100.0
    };
    least / count + balanced
}

/// The default spreading of pods of one controller over nodes.
fn apart(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> f64 {
    if pod.owner().is_empty() || !pod.spread.is_empty() {
        return 0.0;
    }
    let here = snapshot.nodes[place]
        .owners
        .get(pod.owner())
        .copied()
        .unwrap_or(0);
    (1.0 - here.min(CROWDED) as f64 / CROWDED as f64) * 100.0
}

/// ImageLocality: how much of the pod's images the node has.
fn image_locality(snapshot: &Snapshot, pod: &PodInfo, place: usize) -> f64 {
    let images = &snapshot.nodes[place].images;
    if images.is_empty() {
        return 0.0;
    }
    let spec = pod.spec();
    let all = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    let (mut have, mut count) = (0.0, 0.0);
    for image in all.filter_map(|c| c.image.as_deref()) {
        have += images.get(normalized(image).as_str()).copied().unwrap_or(0) as f64;
        count += 1.0;
    }
    let (low, high) = (IMAGE_BYTES.0, IMAGE_BYTES.1 * count);
    if high <= low {
        0.0
    } else {
        (have.clamp(low, high) - low) * 100.0 / (high - low)
    }
}

/// Image names without a tag mean `latest`.
fn normalized(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}
