//! The older Endpoints object of a Service, from the same backends. Upstream: pkg/controller/endpoint.

use std::collections::BTreeMap;

use corten_client::object::MetaExt;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::endpoint::{Backend, families};
use super::slices::{HEADLESS, TRIGGER_TIME, is_headless};
use crate::core::{Action, Write};

/// Addresses an Endpoints object may hold; readers that know only it see no more.
pub const MAX_ADDRESSES: usize = 1000;
const MANAGED_BY_LABEL: &str = "endpoints.kubernetes.io/managed-by";
const MANAGED_BY: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// Whether the Endpoints are this controller's.
#[must_use]
pub fn is_ours(endpoints: &Endpoints) -> bool {
    endpoints.metadata.label(MANAGED_BY_LABEL) == Some(MANAGED_BY)
}

/// The write that makes the Endpoints hold `backends`, if they do not.
#[must_use]
pub fn plan(service: &Service, backends: &[Backend], current: Option<&Endpoints>) -> Option<Action> {
    let family = service.spec.as_ref().and_then(|s| families(s).first().copied())?;
    let of_family: Vec<&Backend> = backends.iter().filter(|b| b.family == family).collect();
    let truncated = of_family.len() > MAX_ADDRESSES;
    let subsets = subsets(&of_family[..of_family.len().min(MAX_ADDRESSES)]);
    let subsets = Some(subsets).filter(|s| !s.is_empty());
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(MANAGED_BY_LABEL.into(), MANAGED_BY.into());
    if let Some(current) = current
        && current.subsets == subsets
        && current.metadata.labels.as_ref() == Some(&labels)
    {
        return None;
    }
    let mut annotations = BTreeMap::new();
    let changed = backends.iter().filter_map(|b| b.changed).max();
    if let Some(at) = changed.or(service.metadata.creation_timestamp.as_ref().map(|t| t.0)) {
        annotations.insert(TRIGGER_TIME.to_owned(), at.to_string());
    }
    if truncated {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    }
    let metadata = match current {
        Some(current) => current.metadata.clone(),
        None => ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
    };
    let metadata = ObjectMeta {
        labels: Some(labels),
        annotations: Some(annotations),
        ..metadata
    };
    let endpoints = Endpoints { metadata, subsets };
    Some(if current.is_some() {
        Write::update(&endpoints).into()
    } else {
        Write::create(&endpoints).into()
    })
}

/// Addresses with the same ports share a subset, sorted by address.
fn subsets(backends: &[&Backend]) -> Vec<EndpointSubset> {
    let mut by_ports: BTreeMap<String, EndpointSubset> = BTreeMap::new();
    for backend in backends {
        let ports: Vec<EndpointPort> = backend
            .ports
            .iter()
            .map(|p| EndpointPort {
                name: p.name.clone().filter(|n| !n.is_empty()),
                port: p.port.unwrap_or_default(),
                protocol: p.protocol.clone(),
                app_protocol: p.app_protocol.clone(),
            })
            .collect();
        let subset = by_ports.entry(format!("{ports:?}")).or_default();
        subset.ports = Some(ports).filter(|p| !p.is_empty());
        let address = EndpointAddress {
            ip: backend.endpoint.addresses.first().cloned().unwrap_or_default(),
            hostname: backend.endpoint.hostname.clone(),
            node_name: backend.endpoint.node_name.clone(),
            target_ref: backend.endpoint.target_ref.clone(),
        };
        let conditions = backend.endpoint.conditions.clone().unwrap_or_default();
        let list = match (conditions.ready, conditions.terminating) {
            (Some(true), _) => &mut subset.addresses,
            // A pod that goes away is no candidate any more.
            (_, Some(true)) => continue,
            _ => &mut subset.not_ready_addresses,
        };
        list.get_or_insert_default().push(address);
    }
    let mut subsets: Vec<_> = by_ports.into_values().collect();
    subsets.retain(|s| s.addresses.is_some() || s.not_ready_addresses.is_some());
    for subset in &mut subsets {
        for list in [&mut subset.addresses, &mut subset.not_ready_addresses]
            .into_iter()
            .flatten()
        {
            list.sort_by(|a, b| a.ip.cmp(&b.ip));
        }
    }
    subsets
}
