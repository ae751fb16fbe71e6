//! Images nobody uses go when the disk fills up, those unused the longest first.

use crate::context::Context;
use crate::images::Reference;
use crate::node::disk;
use crate::pod::PodExt;
use crate::pods::Pods;
use crate::time;
use corten_runtime::cri;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An image younger than this may be about to be used.
const MIN_AGE: SignedDuration = SignedDuration::from_mins(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    first: Timestamp,
    used: Timestamp,
}

/// Remembers when each image was first seen and last used. Bounded by the images there are.
#[derive(Default)]
pub(super) struct Collector(BTreeMap<String, Seen>);

impl Collector {
    pub async fn run(&mut self, cx: &Arc<Context>, pods: &Arc<Pods>) {
        let service = cx.images.service();
        let Ok(images) = service.list_images(None).await else {
            return;
        };
        let containers = cx.runtime.list_containers(None).await.unwrap_or_default();
        let mut used: BTreeSet<String> = BTreeSet::new();
        for c in containers {
            used.extend([
                c.image_ref,
                c.image_id,
                c.image.map(|i| i.image).unwrap_or_default(),
            ]);
        }
        for s in pods.snapshots() {
            used.extend(s.view.containers.iter().map(|v| v.image_ref.clone()));
            let volumes = s.pod.spec().volumes.iter().flatten();
            let images = volumes.filter_map(|v| v.image.as_ref()?.reference.as_deref());
            used.extend(images.filter_map(|name| Some(Reference::parse(name).ok()?.with_tag())));
        }
        let now = time::now(&cx.clock);
        self.observe(&images, &used, now);
        let Some(d) = disk(&cx.logs).filter(|d| d.total > 0) else {
            return;
        };
        let percent = 100 - d.free * 100 / d.total;
        let Some(wanted) = cx.limits.image_gc.wanted(d.free, d.total) else {
            return;
        };
        for id in self.plan(&images, &used, wanted, now) {
            let spec = cri::ImageSpec {
                image: id.clone(),
                ..Default::default()
            };
            match service.remove_image(&spec).await {
                Ok(()) => tracing::info!(image = id, "removed unused image: the disk is {percent}% full"),
                Err(error) => {
                    tracing::warn!(image = id, error = error.rpc_text(), "unused image not removed")
                }
            }
        }
    }

    fn observe(&mut self, images: &[cri::Image], used: &BTreeSet<String>, now: Timestamp) {
        self.0.retain(|id, _| images.iter().any(|i| i.id == *id));
        for image in images {
            let never = Timestamp::UNIX_EPOCH;
            let seen = self.0.entry(image.id.clone()).or_insert(Seen {
                first: now,
                used: never,
            });
            if is_used(image, used) {
                seen.used = now;
            }
        }
    }

    /// Images to delete so that `bytes` come free.
    fn plan(
        &self,
        images: &[cri::Image],
        used: &BTreeSet<String>,
        bytes: u64,
        now: Timestamp,
    ) -> Vec<String> {
        let mut free: Vec<(&Seen, &cri::Image)> = images
            .iter()
            .filter(|i| !i.pinned && !is_used(i, used))
            .filter_map(|i| Some((self.0.get(&i.id)?, i)))
            .filter(|(seen, _)| now.duration_since(seen.first) >= MIN_AGE)
            .collect();
        free.sort_by_key(|(seen, i)| (seen.used, seen.first, &i.id));
        let mut out = Vec::new();
        let mut freed = 0;
        for (_, image) in free {
            if freed >= bytes {
                break;
            }
            freed += image.size;
            out.push(image.id.clone());
        }
        out
    }
}

fn is_used(image: &cri::Image, used: &BTreeSet<String>) -> bool {
    used.contains(&image.id)
        || image
            .repo_digests
            .iter()
            .chain(&image.repo_tags)
            .any(|n| used.contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_go_first() {
        let image = |id: &str, pinned| cri::Image {
            id: id.into(),
            size: 10,
            pinned,
            ..Default::default()
        };
        let images = [
            image("a", false),
            image("b", false),
            image("c", true),
            image("d", false),
        ];
        let at = |s: i64| Timestamp::new(10_000 + s, 0).unwrap();
        let only = |id: &str| BTreeSet::from([id.to_owned()]);
        let mut c = Collector::default();
        c.observe(&images, &only("a"), at(0));
        c.observe(&images, &only("d"), at(1000));
        assert_eq!(c.plan(&images, &only("d"), 15, at(1000)), ["b", "a"]);
        assert_eq!(c.plan(&images, &only("d"), 5, at(1000)), ["b"]);
        assert!(c.plan(&images, &only("d"), 5, at(100)).is_empty(), "too young");
    }
}
