//! Hints by the processors of zones, for Services annotated `service.kubernetes.io/topology-mode: Auto`. Upstream:
//! staging/src/k8s.io/endpointslice/topologycache; KEP-2433.

use std::collections::{BTreeMap, HashMap, HashSet};

use corten_client::Key;
use corten_client::events::Level;
use corten_client::object::MetaExt;
use corten_meta::quantity::Quantity;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, EndpointSlice, ForZone};

use super::endpoint::AddressType;
use crate::core::Note;
use crate::nodes::{ZONE, is_ready};

/// How much more than its share of endpoints a zone's clients may put on one.
const OVERLOAD: f64 = 0.2;
/// Nodes with one of these labels serve no pods.
const EXCLUDED: [&str; 2] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
];

/// Endpoints by the zone they are meant for.
type Counts = BTreeMap<String, usize>;

/// How zones compare, and which Services have hints or why not; bounded by the Services that want them.
#[derive(Default)]
pub struct Topology {
    /// Each zone's share of all processors; none if it cannot be told, or if there is one zone only.
    shares: Option<BTreeMap<String, f64>>,
    hinted: HashMap<Key, BTreeMap<AddressType, Counts>>,
    /// Services of which it has been said that they have hints.
    told: HashSet<Key>,
    /// Why Services have none, as it was last said.
    refused: HashMap<Key, BTreeMap<AddressType, String>>,
}

/// The slices of a Service in one family, as they are about to be.
pub struct Slices<'a, 'b> {
    pub create: &'b mut Vec<EndpointSlice>,
    pub update: &'b mut Vec<EndpointSlice>,
    /// What would stay as it is; what needs other hints moves over.
    pub unchanged: &'b mut Vec<&'a EndpointSlice>,
}

/// What a zone may be given.
struct Allocation {
    minimum: usize,
    maximum: usize,
    desired: f64,
}

/// Why there are no hints, in upstream's words.
struct Unfit(String);

fn has_role(node: &Node) -> bool {
    EXCLUDED.iter().any(|label| node.metadata.label(label).is_some())
}

/// Each zone's share of the processors of nodes that are ready.
fn shares<'a>(nodes: impl Iterator<Item = &'a Node>) -> Option<BTreeMap<String, f64>> {
    let mut by_zone: BTreeMap<String, Quantity> = BTreeMap::new();
    for node in nodes.filter(|node| !has_role(node) && is_ready(node)) {
        let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
        let cpu = allocatable.and_then(|all| Quantity::parse(&all.get("cpu")?.0).ok());
        // One node that does not say where it is, or how large, and nothing can be said of any.
        let zone = node.metadata.label(ZONE).filter(|zone| !zone.is_empty())?;
        let cpu = cpu.filter(|cpu| !cpu.is_zero())?;
        let sum = by_zone.entry(zone.to_owned()).or_insert_with(Quantity::zero);
        *sum = sum.add(&cpu);
    }
    if by_zone.len() < 2 {
        return None;
    }
    let total = by_zone.values().fold(Quantity::zero(), |sum, cpu| sum.add(cpu));
    let share = |cpu: Quantity| cpu.milli_value() as f64 / total.milli_value() as f64;
    Some(
        by_zone
            .into_iter()
            .map(|(zone, cpu)| (zone, share(cpu)))
            .collect(),
    )
}

fn ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|c| c.ready) == Some(true)
}

fn endpoints(slice: &EndpointSlice) -> impl Iterator<Item = &Endpoint> {
    slice.endpoints.iter().flatten()
}

fn hint(zone: &str) -> EndpointHints {
    EndpointHints {
        for_zones: Some(vec![ForZone { name: zone.into() }]),
        for_nodes: None,
    }
}

impl Topology {
    /// Takes in the nodes.
    pub fn set_nodes<'a>(&mut self, nodes: impl Iterator<Item = &'a Node>) {
        self.shares = shares(nodes);
    }

    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.hinted.is_empty()
    }

    /// Services whose hints no longer suit the zones.
    #[must_use]
    pub fn overloaded(&self) -> Vec<Key> {
        let over = |counts: &Counts| is_overloaded(counts, self.shares.as_ref());
        let all = self.hinted.iter();
        all.filter(|(_, families)| families.values().any(over))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Forgets a Service, or one family of it.
    pub fn remove(&mut self, key: &Key, family: Option<AddressType>) {
        take(&mut self.hinted, key, family);
        take(&mut self.refused, key, family);
        self.told.remove(key);
    }

    /// The Service wants no hints of this kind (any more).
    pub fn disable(&mut self, service: &Service, family: AddressType) -> Option<Note> {
        let key = Key::of(service);
        let told = self.told.contains(&key);
        self.remove(&key, Some(family));
        told.then(|| disabled(service, family, "Topology Aware Hints has been disabled"))
    }

    /// Gives the endpoints of one family their hints, or takes them away where they would not do; says which, when it is
    /// news.
    pub fn assign(&mut self, service: &Service, family: AddressType, slices: Slices<'_, '_>) -> Option<Note> {
        let key = Key::of(service);
        let Slices {
            create,
            update,
            unchanged,
        } = slices;
        match self.distribute(create, update, unchanged) {
            Ok(counts) => {
                take(&mut self.refused, &key, Some(family));
                self.hinted.entry(key.clone()).or_default().insert(family, counts);
                let text = said("Topology Aware Hints has been enabled", family);
                self.told
                    .insert(key)
                    .then(|| Note::normal(service, "TopologyAwareHintsEnabled", text))
            }
            Err(Unfit(why)) => {
                let before = take(&mut self.refused, &key, Some(family));
                self.remove(&key, Some(family));
                strip(create, update, unchanged);
                // Our own writes make us look again, which is no news.
                let news = before.as_ref() != Some(&why) || !create.is_empty() || !update.is_empty();
                let note = news.then(|| disabled(service, family, &why));
                self.refused.entry(key).or_default().insert(family, why);
                note
            }
        }
    }

    fn distribute(
        &self,
        create: &mut [EndpointSlice],
        update: &mut Vec<EndpointSlice>,
        unchanged: &mut Vec<&EndpointSlice>,
    ) -> Result<Counts, Unfit> {
        let all = create
            .iter()
            .chain(update.iter())
            .chain(unchanged.iter().copied());
        let count = all.flat_map(endpoints).filter(|e| ready(e)).count();
        let allocations = allocations(self.shares.as_ref(), count)?;
        let mut counts = Counts::new();
        unchanged.retain(|slice| match hints_of(slice, &counts, &allocations) {
            Some(own) => {
                for (zone, n) in own {
                    *counts.entry(zone).or_default() += n;
                }
                true
            }
            None => {
                update.push((*slice).clone());
                false
            }
        });
        // Each endpoint is first meant for its own zone.
        let mut open: Vec<&mut Endpoint> = create
            .iter_mut()
            .chain(update.iter_mut())
            .flat_map(|slice| slice.endpoints.iter_mut().flatten())
            .collect();
        open.iter_mut().for_each(|endpoint| endpoint.hints = None);
        open.retain(|endpoint| ready(endpoint));
        for endpoint in &mut open {
            let Some(zone) = endpoint.zone.clone().filter(|zone| !zone.is_empty()) else {
                let text = "One or more endpoints do not have a zone specified";
                return Err(Unfit(text.into()));
            };
            *counts.entry(zone.clone()).or_default() += 1;
            endpoint.hints = Some(hint(&zone));
        }
        let (giving, receiving) = exchange(&allocations, &counts);
        redistribute(open, giving, receiving, &mut counts);
        if counts.is_empty() {
            return Err(Unfit("No hints allocated for zones".into()));
        }
        Ok(counts)
    }
}

/// Takes out what is kept of a Service, in one family or in all.
fn take<T>(
    kept: &mut HashMap<Key, BTreeMap<AddressType, T>>,
    key: &Key,
    family: Option<AddressType>,
) -> Option<T> {
    let Some(family) = family else {
        kept.remove(key);
        return None;
    };
    let families = kept.get_mut(key)?;
    let taken = families.remove(&family);
    if families.is_empty() {
        kept.remove(key);
    }
    taken
}

fn said(text: &str, family: AddressType) -> String {
    format!("{text}, addressType: {}", family.as_str())
}

fn disabled(service: &Service, family: AddressType, text: &str) -> Note {
    Note::new(
        service,
        Level::Warning,
        "TopologyAwareHintsDisabled",
        said(text, family),
    )
}

/// Takes all hints away.
fn strip(create: &mut [EndpointSlice], update: &mut Vec<EndpointSlice>, unchanged: &mut Vec<&EndpointSlice>) {
    unchanged.retain(|slice| {
        let hinted = endpoints(slice).any(|e| e.hints.is_some());
        if hinted {
            update.push((*slice).clone());
        }
        !hinted
    });
    for slice in create.iter_mut().chain(update) {
        for endpoint in slice.endpoints.iter_mut().flatten() {
            endpoint.hints = None;
        }
    }
}

/// What a zone with this share of the processors must have of `count` endpoints, lest they be overloaded.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of a count
fn minimum(share: f64, count: usize) -> usize {
    (share * count as f64 * (1.0 / (1.0 + OVERLOAD))).ceil() as usize
}

/// What each zone is to have of `count` endpoints.
fn allocations(
    shares: Option<&BTreeMap<String, f64>>,
    count: usize,
) -> Result<BTreeMap<String, Allocation>, Unfit> {
    let Some(shares) = shares else {
        let text =
            "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes";
        return Err(Unfit(text.into()));
    };
    let zones = shares.len();
    let unfit = |text: &str| Err(Unfit(format!("{text} ({count} endpoints, {zones} zones)")));
    if zones > count {
        return unfit("Insufficient number of endpoints");
    }
    let mut allocations = BTreeMap::new();
    let mut least = 0;
    for (zone, share) in shares {
        let minimum = minimum(*share, count);
        let allocation = Allocation {
            minimum,
            maximum: 0,
            desired: (share * count as f64).max(minimum as f64),
        };
        allocations.insert(zone.clone(), allocation);
        least += minimum;
    }
    if least > count {
        return unfit(
            "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold",
        );
    }
    for allocation in allocations.values_mut() {
        allocation.maximum = allocation.minimum + count - least;
    }
    Ok(allocations)
}

/// The hints a slice has, unless one is missing or they are too many for a zone.
fn hints_of(
    slice: &EndpointSlice,
    counts: &Counts,
    allocations: &BTreeMap<String, Allocation>,
) -> Option<Counts> {
    let mut own = Counts::new();
    for endpoint in endpoints(slice).filter(|e| ready(e)) {
        let zones = endpoint.hints.as_ref()?.for_zones.as_ref()?;
        if zones.is_empty() {
            return None;
        }
        for zone in zones {
            *own.entry(zone.name.clone()).or_default() += 1;
        }
    }
    let fits = |(zone, n): (&String, &usize)| {
        let before = counts.get(zone).copied().unwrap_or(0);
        allocations.get(zone).is_some_and(|a| n + before <= a.maximum)
    };
    own.iter().all(fits).then_some(own)
}

/// How many endpoints zones give away, and how many others get.
fn exchange(allocations: &BTreeMap<String, Allocation>, counts: &Counts) -> (Counts, Counts) {
    let (mut surplus, mut lack) = (BTreeMap::new(), BTreeMap::new());
    for (zone, allocation) in allocations {
        let over = counts.get(zone).copied().unwrap_or(0) as f64 - allocation.desired;
        if over > 0.0 {
            surplus.insert(zone.as_str(), over);
        } else if over < 0.0 {
            lack.insert(zone.as_str(), -over);
        }
    }
    let (mut giving, mut receiving) = (Counts::new(), Counts::new());
    while let ((Some(giver), gives), (Some(taker), takes)) = (most(&surplus), most(&lack)) {
        if (gives < 1.0 && takes < 1.0) || gives < 0.5 || takes < 0.5 {
            break;
        }
        for (zones, left, zone) in [
            (&mut giving, &mut surplus, giver),
            (&mut receiving, &mut lack, taker),
        ] {
            *zones.entry(zone.to_owned()).or_default() += 1;
            *left.entry(zone).or_default() -= 1.0;
        }
    }
    (giving, receiving)
}

/// The zone with most; the first of equals.
fn most<'a>(zones: &BTreeMap<&'a str, f64>) -> (Option<&'a str>, f64) {
    let mut found = (None, 0.0);
    for (zone, n) in zones {
        if *n > found.1 {
            found = (Some(*zone), *n);
        }
    }
    found
}

fn redistribute(open: Vec<&mut Endpoint>, mut giving: Counts, mut receiving: Counts, counts: &mut Counts) {
    for endpoint in open {
        let Some(taker) = receiving.keys().next().cloned() else {
            return;
        };
        let zone = endpoint.zone.clone().unwrap_or_default();
        if !giving.contains_key(&zone) {
            continue;
        }
        endpoint.hints = Some(hint(&taker));
        for (zones, zone) in [(&mut giving, &zone), (&mut receiving, &taker)] {
            if let Some(left) = zones.get_mut(zone) {
                *left -= 1;
                if *left == 0 {
                    zones.remove(zone);
                }
            }
        }
        *counts.entry(taker).or_default() += 1;
        if let Some(left) = counts.get_mut(&zone) {
            *left = left.saturating_sub(1);
        }
    }
}

fn is_overloaded(counts: &Counts, shares: Option<&BTreeMap<String, f64>>) -> bool {
    let Some(shares) = shares else {
        return !counts.is_empty();
    };
    let total: usize = counts.values().sum();
    let short = |(zone, share): (&String, &f64)| counts.get(zone).is_none_or(|n| *n < minimum(*share, total));
    !counts.is_empty() && shares.iter().any(short)
}

#[cfg(test)]
mod tests;
