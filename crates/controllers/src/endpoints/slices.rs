//! Endpoints into slices of at most 100, changing as few slices as possible.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use corten_client::Key;
use corten_client::object::{MetaExt, controller_ref};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::SERVICE_NAME;
use super::endpoint::{AddressType, Backend, by_annotation, families};
use super::topology::{Slices, Topology};
use crate::core::{Action, Note, Write};

/// Endpoints per slice; upstream's default.
pub const MAX_ENDPOINTS: usize = 100;
pub const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// The value upstream's controller uses, by which proxies and mirrors know these slices.
pub const MANAGED_BY: &str = "endpointslice-controller.k8s.io";
pub const HEADLESS: &str = "service.kubernetes.io/headless";
pub const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

type Group = (AddressType, String);

/// What becomes of the slices of a Service.
#[derive(Default)]
pub struct Changes<'a> {
    families: Vec<AddressType>,
    /// As the slices are.
    current: &'a [Arc<EndpointSlice>],
    create: Vec<EndpointSlice>,
    update: Vec<EndpointSlice>,
    delete: Vec<&'a EndpointSlice>,
    unchanged: Vec<&'a EndpointSlice>,
    /// Hints come later, from all endpoints together.
    unhinted: bool,
}

fn family_of(slice: &EndpointSlice) -> AddressType {
    if slice.address_type == "IPv6" {
        AddressType::IPv6
    } else {
        AddressType::IPv4
    }
}

impl Changes<'_> {
    /// Has hints by zones assigned where the Service wants them; says what is to be told of them, whatever comes of the writes.
    pub fn hint(&mut self, service: &Service, topology: &mut Topology) -> Vec<Note> {
        let mut notes = Vec::new();
        for family in [AddressType::IPv4, AddressType::IPv6] {
            if !self.families.contains(&family) {
                if self.current.iter().any(|slice| family_of(slice) == family) {
                    topology.remove(&Key::of(service), Some(family));
                }
            } else if self.unhinted {
                notes.extend(self.hint_family(service, family, topology));
            } else {
                notes.extend(topology.disable(service, family));
            }
        }
        notes
    }

    fn hint_family(
        &mut self,
        service: &Service,
        family: AddressType,
        topology: &mut Topology,
    ) -> Option<Note> {
        let mut create: Vec<_> = self.create.extract_if(.., |s| family_of(s) == family).collect();
        let mut update: Vec<_> = self.update.extract_if(.., |s| family_of(s) == family).collect();
        let mut unchanged: Vec<_> = self
            .unchanged
            .extract_if(.., |s| family_of(s) == family)
            .collect();
        let slices = Slices {
            create: &mut create,
            update: &mut update,
            unchanged: &mut unchanged,
        };
        let note = topology.assign(service, family, slices);
        self.create.append(&mut create);
        self.update.append(&mut update);
        note
    }

    /// A slice that would go takes the content of one that would come: nobody sees both, or neither.
    #[must_use]
    pub fn into_actions(mut self) -> Vec<Action> {
        self.delete.retain(|old| {
            let fits = |new: &EndpointSlice| new.address_type == old.address_type;
            let Some(position) = self.create.iter().position(fits) else {
                return true;
            };
            let new = self.create.remove(position);
            let mut updated = (*old).clone();
            updated.metadata.labels = new.metadata.labels;
            updated.metadata.annotations = new.metadata.annotations;
            (updated.endpoints, updated.ports) = (new.endpoints, new.ports);
            self.update.push(updated);
            false
        });
        let creates = self.create.iter().map(Write::create);
        let updates = self.update.iter().map(Write::update);
        let deletes = self.delete.into_iter().map(Write::delete);
        creates.chain(updates).chain(deletes).map(Action::from).collect()
    }
}

/// What makes the slices of a Service hold exactly `backends`. Hints by zones come after it: they are of all endpoints together.
#[must_use]
pub fn plan<'a>(service: &Service, backends: &[Backend], current: &'a [Arc<EndpointSlice>]) -> Changes<'a> {
    let mut groups: BTreeMap<Group, (Vec<EndpointPort>, Vec<&Backend>)> = BTreeMap::new();
    for backend in backends {
        let group = groups
            .entry((backend.family, port_key(&backend.ports)))
            .or_default();
        group.0.clone_from(&backend.ports);
        group.1.push(backend);
    }
    let mut ours: HashMap<Group, Vec<&EndpointSlice>> = HashMap::new();
    let mut changes = Changes {
        families: families(&service.spec.clone().unwrap_or_default()),
        current,
        unhinted: by_annotation(service),
        ..Changes::default()
    };
    for slice in current
        .iter()
        .filter(|s| s.metadata.label(MANAGED_BY_LABEL) == Some(MANAGED_BY))
    {
        if slice.metadata.terminating() {
            continue;
        }
        let group = (
            family_of(slice),
            port_key(slice.ports.as_deref().unwrap_or_default()),
        );
        ours.entry(group).or_default().push(slice);
    }
    let trigger = backends.iter().filter_map(|b| b.changed).max();
    let trigger = trigger.or(service.metadata.creation_timestamp.as_ref().map(|t| t.0));
    // A Service without endpoints keeps one empty slice in each family: it says that there are none.
    for family in &changes.families {
        if !groups.keys().any(|(g, _)| g == family) {
            groups.insert((*family, port_key(&[])), (Vec::new(), Vec::new()));
        }
    }
    for (group, (ports, wanted)) in groups {
        let existing = ours.remove(&group).unwrap_or_default();
        let make = |part: Vec<Endpoint>| create(service, group.0, ports.clone(), part, trigger);
        group_changes(service, &wanted, &existing, trigger, make, &mut changes);
    }
    changes.delete.extend(ours.into_values().flatten());
    changes
}

fn group_changes<'a>(
    service: &Service,
    wanted: &[&Backend],
    existing: &[&'a EndpointSlice],
    trigger: Option<Timestamp>,
    make: impl Fn(Vec<Endpoint>) -> EndpointSlice,
    changes: &mut Changes<'a>,
) {
    let mut open: BTreeMap<String, Endpoint> = wanted
        .iter()
        .map(|b| (id(&b.endpoint), b.endpoint.clone()))
        .collect();
    // Endpoints stay in the slice they are in.
    let mut drafts: Vec<(&'a EndpointSlice, Vec<Endpoint>)> = existing
        .iter()
        .map(|slice| {
            let kept = slice
                .endpoints
                .iter()
                .flatten()
                .filter_map(|e| open.remove(&id(e)))
                .collect();
            (*slice, kept)
        })
        .collect();
    let mut rest = open.into_values();
    let unhinted = changes.unhinted;
    // Fullest first, so that slices are filled up rather than all of them touched.
    drafts.sort_by_key(|(slice, kept)| (same(slice, kept, unhinted), std::cmp::Reverse(kept.len())));
    for (_, kept) in &mut drafts {
        kept.extend(rest.by_ref().take(MAX_ENDPOINTS - kept.len().min(MAX_ENDPOINTS)));
    }
    let rest: Vec<Endpoint> = rest.collect();
    for part in rest.chunks(MAX_ENDPOINTS) {
        changes.create.push(make(part.to_vec()));
    }
    if wanted.is_empty() && drafts.is_empty() {
        changes.create.push(make(Vec::new()));
    }
    let keep_empty = wanted.is_empty();
    for (position, (slice, kept)) in drafts.into_iter().enumerate() {
        if kept.is_empty() && !(keep_empty && position == 0) {
            changes.delete.push(slice);
        } else if !same(slice, &kept, unhinted) || slice.metadata.labels.as_ref() != Some(&labels(service)) {
            let mut updated = slice.clone();
            updated.endpoints = Some(kept);
            stamp(&mut updated.metadata, trigger);
            updated.metadata.labels = Some(labels(service));
            changes.update.push(updated);
        } else {
            changes.unchanged.push(slice);
        }
    }
}

fn create(
    service: &Service,
    family: AddressType,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
    trigger: Option<Timestamp>,
) -> EndpointSlice {
    let mut metadata = ObjectMeta {
        generate_name: Some(format!("{}-", service.metadata.name())),
        namespace: service.metadata.namespace.clone(),
        labels: Some(labels(service)),
        owner_references: Some(vec![controller_ref(service)]),
        ..ObjectMeta::default()
    };
    stamp(&mut metadata, trigger);
    let ports = Some(ports).filter(|p| !p.is_empty());
    EndpointSlice {
        metadata,
        address_type: family.as_str().into(),
        endpoints: Some(endpoints),
        ports,
    }
}

fn stamp(meta: &mut ObjectMeta, trigger: Option<Timestamp>) {
    if let Some(at) = trigger {
        meta.annotations
            .get_or_insert_default()
            .insert(TRIGGER_TIME.into(), at.to_string());
    }
}

/// The Service's labels, and those by which slices are found.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.retain(|key, _| ![SERVICE_NAME, MANAGED_BY_LABEL, HEADLESS].contains(&key.as_str()));
    labels.insert(SERVICE_NAME.into(), service.metadata.name().into());
    labels.insert(MANAGED_BY_LABEL.into(), MANAGED_BY.into());
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels
}

/// Whether a Service has no address of its own.
#[must_use]
pub fn is_headless(service: &Service) -> bool {
    let ip = service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref());
    ip.is_none_or(|ip| ip.is_empty() || ip == "None")
}

fn same(slice: &EndpointSlice, endpoints: &[Endpoint], unhinted: bool) -> bool {
    let own = slice.endpoints.as_deref().unwrap_or_default();
    let equal = |(own, wanted): (&Endpoint, &Endpoint)| {
        own == wanted
            || unhinted && own.hints.is_some() && {
                let bare = Endpoint {
                    hints: None,
                    ..own.clone()
                };
                bare == *wanted
            }
    };
    own.len() == endpoints.len() && own.iter().zip(endpoints).all(equal)
}

fn port_key(ports: &[EndpointPort]) -> String {
    let mut parts: Vec<_> = ports.iter().map(|p| format!("{p:?}")).collect();
    parts.sort();
    parts.join(",")
}

/// What tells endpoints apart: the pod, and its addresses, which a restarted sandbox changes.
fn id(endpoint: &Endpoint) -> String {
    let uid = endpoint
        .target_ref
        .as_ref()
        .and_then(|r| r.uid.as_deref())
        .unwrap_or_default();
    format!("{uid}/{}", endpoint.addresses.join(","))
}
