//! The difference between what is installed and what is wanted, as map elements. Pure: the kernel's state is a
//! mirror in memory, so no listing is ever read back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use ipnet::Ipv4Net;

use super::elements::{Elements, of_front};
use super::front::{Front, Key, fronts, keep_places};
use super::kind::Kind;
use super::model::{Backend, Protocol, ServiceMap, ServicePort, ServicePortName};

/// What the table holds, as far as it follows from services.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Installed {
    services: ServiceMap,
    fronts: HashMap<Key, Owned>,
    kinds: BTreeMap<Kind, usize>,
    hairpin: BTreeMap<Ipv4Addr, usize>,
}

/// A front end and whose it is. Two services with one external address and port: the first by name that asked has
/// it, the others wait.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    owner: ServicePortName,
    front: Front,
    waiting: BTreeSet<ServicePortName>,
}

/// UDP connections to `key` that went to anything else than `keep` must be forgotten: UDP has no end, so that a
/// client would go on talking to an endpoint that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleUdp {
    pub key: Key,
    pub keep: Vec<Backend>,
}

/// One atomic change. Carry it out, then [`Installed::commit`] it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Batch {
    pub add_kinds: Vec<Kind>,
    pub remove_kinds: Vec<Kind>,
    /// Keys whose allowed sources are new or different.
    pub allow: Vec<(Key, Vec<Ipv4Net>)>,
    /// Keys that had allowed sources and are open to all, or gone.
    pub allow_all: Vec<Key>,
    pub remove: Elements,
    pub add: Elements,
    pub stale_udp: Vec<StaleUdp>,
    desired: ServiceMap,
    services: Vec<(ServicePortName, Option<Arc<ServicePort>>)>,
    fronts: BTreeMap<Key, Option<Owned>>,
    kinds: BTreeMap<Kind, isize>,
    hairpin: BTreeMap<Ipv4Addr, isize>,
}

impl Batch {
    /// Nothing in the kernel has to change.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.add.is_empty()
            && self.add_kinds.is_empty()
            && self.remove_kinds.is_empty()
            && self.allow.is_empty()
            && self.allow_all.is_empty()
    }

    /// Addresses and ports of services that change.
    pub fn changed_fronts(&self) -> usize {
        self.fronts.len()
    }
}

/// What must change so that `installed` becomes `desired`.
pub fn plan(installed: &Installed, desired: &ServiceMap) -> Batch {
    let mut planner = Planner {
        installed,
        desired,
        batch: Batch::default(),
        work: BTreeSet::new(),
    };
    planner.batch.desired = desired.clone();
    planner.batch.services = changed_services(&installed.services, desired);
    planner.release_fronts();
    planner.claim_fronts();
    planner.diff();
    planner.batch
}

/// What the maps share is not looked at.
fn changed_services(old: &ServiceMap, new: &ServiceMap) -> Vec<(ServicePortName, Option<Arc<ServicePort>>)> {
    let change = |item| match item {
        DiffItem::Add(name, service)
        | DiffItem::Update {
            new: (name, service), ..
        } => (ServicePortName::clone(name), Some(Arc::clone(service))),
        DiffItem::Remove(name, _) => (ServicePortName::clone(name), None),
    };
    old.diff(new).map(change).collect()
}

struct Planner<'a> {
    installed: &'a Installed,
    desired: &'a ServiceMap,
    batch: Batch,
    /// Services whose front ends have to be looked at.
    work: BTreeSet<ServicePortName>,
}

impl Planner<'_> {
    fn current(&self, key: &Key) -> Option<&Owned> {
        match self.batch.fronts.get(key) {
            Some(planned) => planned.as_ref(),
            None => self.installed.fronts.get(key),
        }
    }

    /// Takes from every changed service the front ends that it no longer has; who waited for one is looked at.
    fn release_fronts(&mut self) {
        let changed: Vec<_> = self
            .batch
            .services
            .iter()
            .map(|(name, s)| (name.clone(), s.clone()))
            .collect();
        for (name, after) in changed {
            let keeps: BTreeSet<Key> = after.iter().flat_map(|s| fronts(s)).map(|(key, _)| key).collect();
            if let Some(before) = self.installed.services.get(&name) {
                for (key, _) in fronts(before).into_iter().filter(|(key, _)| !keeps.contains(key)) {
                    self.release(key, &name);
                }
            }
            if after.is_some() {
                self.work.insert(name);
            }
        }
    }

    fn release(&mut self, key: Key, name: &ServicePortName) {
        let Some(mut owned) = self.current(&key).cloned() else {
            return;
        };
        if owned.owner != *name {
            owned.waiting.remove(name);
            self.batch.fronts.insert(key, Some(owned));
            return;
        }
        let heir = owned.waiting.pop_first();
        let planned = heir.map(|heir| {
            self.work.insert(heir.clone());
            Owned {
                owner: heir,
                front: Front::default(),
                waiting: owned.waiting,
            }
        });
        self.batch.fronts.insert(key, planned);
    }

    fn claim_fronts(&mut self) {
        while let Some(name) = self.work.pop_first() {
            let Some(service) = self.desired.get(&name) else {
                continue;
            };
            for (key, front) in fronts(service) {
                self.claim(key, front, &name);
            }
        }
    }

    fn claim(&mut self, key: Key, mut front: Front, name: &ServicePortName) {
        let mut waiting = BTreeSet::new();
        if let Some(owned) = self.current(&key) {
            waiting.clone_from(&owned.waiting);
            if owned.owner != *name {
                let mut owned = owned.clone();
                owned.waiting.insert(name.clone());
                self.batch.fronts.insert(key, Some(owned));
                return;
            }
        }
        if let Some(before) = self.installed.fronts.get(&key) {
            front.main = keep_places(&before.front.main, &front.main);
            front.local = keep_places(&before.front.local, &front.local);
        }
        self.batch.fronts.insert(
            key,
            Some(Owned {
                owner: name.clone(),
                front,
                waiting,
            }),
        );
    }

    /// From planned front ends to elements, kinds and stale connections.
    fn diff(&mut self) {
        let nothing = Front::default();
        let planned = std::mem::take(&mut self.batch.fronts);
        for (key, owned) in &planned {
            let before = self.installed.fronts.get(key).map_or(&nothing, |o| &o.front);
            let after = owned.as_ref().map_or(&nothing, |o| &o.front);
            if before == after {
                continue;
            }
            let (old, new) = (of_front(key, before), of_front(key, after));
            self.batch.remove.extend_difference(&old, &new);
            self.batch.add.extend_difference(&new, &old);
            if before.sources != after.sources {
                if after.sources.is_empty() {
                    self.batch.allow_all.push(*key);
                } else {
                    self.batch.allow.push((*key, after.sources.clone()));
                }
            }
            for (front, sign) in [(before, -1), (after, 1)] {
                for kind in [front.inside, front.outside].into_iter().flatten() {
                    *self.batch.kinds.entry(kind).or_default() += sign;
                }
            }
            if key.protocol == Protocol::Udp.number() {
                let mut keep = [after.main.as_slice(), &after.local].concat();
                keep.sort_unstable();
                self.batch.stale_udp.push(StaleUdp { key: *key, keep });
            }
        }
        self.batch.fronts = planned;
        self.diff_kinds();
        self.diff_hairpin();
    }

    fn diff_kinds(&mut self) {
        for (kind, delta) in &self.batch.kinds {
            let before = self.installed.kinds.get(kind).copied().unwrap_or(0);
            let after = before.saturating_add_signed(*delta);
            match (*kind, before, after) {
                (Kind::Drop, ..) => {}
                (_, 0, 1..) => self.batch.add_kinds.push(*kind),
                (_, 1.., 0) => self.batch.remove_kinds.push(*kind),
                _ => {}
            }
        }
    }

    fn diff_hairpin(&mut self) {
        for (name, after) in &self.batch.services {
            let before = self.installed.services.get(name);
            for (service, sign) in [(before, -1), (after.as_ref(), 1)] {
                for ip in service.iter().flat_map(|s| local_ips(s)) {
                    *self.batch.hairpin.entry(ip).or_default() += sign;
                }
            }
        }
        for (ip, delta) in &self.batch.hairpin {
            let before = self.installed.hairpin.get(ip).copied().unwrap_or(0);
            match (before, before.saturating_add_signed(*delta)) {
                (0, 1..) => self.batch.add.hairpin(*ip),
                (1.., 0) => self.batch.remove.hairpin(*ip),
                _ => {}
            }
        }
    }
}

fn local_ips(service: &ServicePort) -> BTreeSet<Ipv4Addr> {
    let v4 = |e: &super::model::Endpoint| match e.address {
        std::net::IpAddr::V4(ip) if e.local => Some(ip),
        _ => None,
    };
    service.endpoints.iter().filter_map(v4).collect()
}

impl Installed {
    /// Takes over a batch that the kernel accepted.
    pub fn commit(&mut self, batch: Batch) {
        self.services = batch.desired;
        for (key, owned) in batch.fronts {
            match owned {
                Some(owned) => self.fronts.insert(key, owned),
                None => self.fronts.remove(&key),
            };
        }
        count(&mut self.kinds, batch.kinds);
        count(&mut self.hairpin, batch.hairpin);
    }

    pub fn services(&self) -> usize {
        self.services.len()
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, usize>, deltas: BTreeMap<K, isize>) {
    for (key, delta) in deltas {
        let after = counts
            .get(&key)
            .copied()
            .unwrap_or(0)
            .saturating_add_signed(delta);
        match after {
            0 => counts.remove(&key),
            n => counts.insert(key, n),
        };
    }
}
