//! Node IPAM: each node gets a range of pod addresses out of the cluster's. Upstream: pkg/controller/nodeipam.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use corten_client::driver::{self, Next};
use corten_client::object::MetaExt;
use corten_client::{Error, Event, Informer, Key, Queue};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use serde_json::json;

use crate::core::{Context, Executor, Note, Write};

/// One at a time: each choice depends on the ones before.
const WORKERS: usize = 1;
/// Prefix lengths of a node's range: upstream's defaults.
pub const NODE_PREFIX_V4: u8 = 24;
pub const NODE_PREFIX_V6: u8 = 64;

/// The ranges of one cluster CIDR.
#[derive(Debug)]
pub struct Ranges {
    cluster: IpNet,
    prefix: u8,
    /// Taken ranges, to the node that has them.
    taken: HashMap<IpNet, String>,
    next: u64,
}

impl Ranges {
    #[must_use]
    pub fn new(cluster: IpNet) -> Self {
        let standard = if cluster.addr().is_ipv4() {
            NODE_PREFIX_V4
        } else {
            NODE_PREFIX_V6
        };
        // A cluster range as small as a node's leaves room for one node.
        let prefix = standard.max(cluster.prefix_len());
        Self {
            cluster,
            prefix,
            taken: HashMap::new(),
            next: 0,
        }
    }

    fn count(&self) -> u64 {
        1 << u32::from(self.prefix - self.cluster.prefix_len()).min(20)
    }

    fn range(&self, index: u64) -> Option<IpNet> {
        let address = match self.cluster.network() {
            IpAddr::V4(base) => {
                let step = u32::try_from(index)
                    .ok()?
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                IpAddr::V4((u32::from(base) | step).into())
            }
            IpAddr::V6(base) => {
                let step = u128::from(index)
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                IpAddr::V6((u128::from(base) | step).into())
            }
        };
        IpNet::new(address, self.prefix).ok()
    }

    /// Notes that a node has a range; ranges outside the cluster's are nobody's concern.
    pub fn occupy(&mut self, range: IpNet, node: &str) {
        if self.cluster.contains(&range) {
            self.taken.insert(range, node.to_owned());
        }
    }

    /// The next free range, for `node`. Ranges are handed out in turn, so that one given back rests for a while.
    pub fn allocate(&mut self, node: &str) -> Option<IpNet> {
        let count = self.count();
        for offset in 0..count {
            let index = (self.next + offset) % count;
            let range = self.range(index)?;
            if !self.taken.contains_key(&range) {
                self.next = (index + 1) % count;
                self.taken.insert(range, node.to_owned());
                return Some(range);
            }
        }
        None
    }

    pub fn release(&mut self, node: &str) {
        self.taken.retain(|_, owner| owner != node);
    }
}

fn ranges_of(node: &Node) -> Vec<IpNet> {
    let spec = node.spec.clone().unwrap_or_default();
    let all = spec
        .pod_cidrs
        .unwrap_or_else(|| spec.pod_cidr.into_iter().collect());
    all.iter().filter_map(|c| c.parse().ok()).collect()
}

struct Controller {
    executor: Executor,
    nodes: Informer<Node>,
    ranges: Mutex<Vec<Ranges>>,
    /// What nodes were given that do not show it yet.
    given: Mutex<HashMap<String, Vec<String>>>,
}

/// Runs the controller until its context stops. `clusters` holds one range, or one of each family.
pub async fn run(context: Context, clusters: Vec<IpNet>) {
    let nodes = context.factory.informer::<Node>();
    let queue: Queue<Key> = Queue::new("node_ipam");
    nodes.synced().await;
    let mut ranges: Vec<Ranges> = clusters.into_iter().map(Ranges::new).collect();
    // What is taken must be known before the first range is given away.
    for node in nodes.list() {
        for range in ranges_of(&node) {
            ranges
                .iter_mut()
                .for_each(|r| r.occupy(range, node.metadata.name()));
        }
    }
    let executor = context.executor("cidrAllocator");
    let this = Arc::new(Controller {
        executor,
        nodes: nodes.clone(),
        ranges: Mutex::new(ranges),
        given: Mutex::default(),
    });
    let (watching, adding) = (Arc::clone(&this), queue.clone());
    nodes.on_event(move |event| match event {
        Event::Deleted(node) => {
            watching.given.lock().remove(node.metadata.name());
            watching
                .ranges
                .lock()
                .iter_mut()
                .for_each(|r| r.release(node.metadata.name()));
            // Room for those that found none.
            let waiting = watching.nodes.list();
            waiting
                .iter()
                .filter(|n| ranges_of(n).is_empty())
                .for_each(|n| adding.add(Key::of(&**n)));
        }
        _ => adding.add(Key::of(&**event.object())),
    });
    driver::run("node_ipam", queue, WORKERS, context.stop.clone(), move |key| {
        let this = Arc::clone(&this);
        async move { this.sync(&key).await }
    })
    .await;
}

impl Controller {
    /// A range of each family. What was given is given again until the node shows it: the write may be on its way, or
    /// lost.
    fn choose(&self, name: &str) -> Option<Vec<String>> {
        let mut given = self.given.lock();
        if let Some(given) = given.get(name) {
            return Some(given.clone());
        }
        let mut ranges = self.ranges.lock();
        // One family may have had room where the other had none.
        ranges.iter_mut().for_each(|r| r.release(name));
        let chosen: Option<Vec<String>> = ranges
            .iter_mut()
            .map(|r| r.allocate(name).map(|range| range.to_string()))
            .collect();
        if let Some(chosen) = &chosen {
            given.insert(name.to_owned(), chosen.clone());
        }
        chosen
    }

    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let Some(node) = self.nodes.get_key(key) else {
            return Ok(Next::Done);
        };
        let name = node.metadata.name();
        let current = ranges_of(&node);
        if !current.is_empty() {
            let was_given = self.given.lock().remove(name).is_some();
            let mut ranges = self.ranges.lock();
            if was_given {
                // The node may have got another range from elsewhere.
                ranges.iter_mut().for_each(|r| r.release(name));
            }
            for range in current {
                ranges.iter_mut().for_each(|r| r.occupy(range, name));
            }
            return Ok(Next::Done);
        }
        let chosen = self.choose(name);
        let Some(chosen) = chosen else {
            let message = format!("Node {name} status is now: CIDRNotAvailable");
            self.executor
                .apply(
                    vec![Note::normal(&*node, "CIDRNotAvailable", message).into()],
                    None,
                )
                .await?;
            return Err(Error::Other(format!("no pod CIDR is left for node {name}")));
        };
        if chosen.is_empty() {
            return Ok(Next::Done);
        }
        let patch = json!({"metadata": {"uid": node.metadata.uid()},
            "spec": {"podCIDR": chosen[0], "podCIDRs": chosen}});
        self.executor
            .apply(vec![Write::patch(&*node, patch).into()], None)
            .await
            .map(|()| Next::Done)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges_are_handed_out_in_turn() {
        let mut ranges = Ranges::new("10.1.0.0/22".parse().unwrap());
        ranges.occupy("10.1.1.0/24".parse().unwrap(), "b");
        let got: Vec<_> = ["a", "c", "d"]
            .map(|n| ranges.allocate(n).unwrap().to_string())
            .into();
        assert_eq!(got, ["10.1.0.0/24", "10.1.2.0/24", "10.1.3.0/24"]);
        assert_eq!(ranges.allocate("e"), None);
        ranges.release("c");
        assert_eq!(ranges.allocate("e").unwrap().to_string(), "10.1.2.0/24");
    }
}
