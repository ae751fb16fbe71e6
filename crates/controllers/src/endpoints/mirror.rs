//! EndpointSlice mirroring: Endpoints that people or programs write by hand, for Services without a selector, are seen
//! as slices too. Upstream: pkg/controller/endpointslicemirroring.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_client::driver::{self, Next};
use corten_client::object::{MetaExt, controller_ref};
use corten_client::{Key, Queue};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::slices::MANAGED_BY_LABEL;
use super::{SERVICE_NAME, by_service};
use crate::core::context::queue_self;
use crate::core::{Action, Context, Expectations, LAGGING, Write};

const WORKERS: usize = 2;
/// The value upstream's mirroring controller uses.
pub const MIRRORED_BY: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP_LABEL: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Addresses mirrored per subset; more are left out.
pub const MAX_PER_SUBSET: usize = 1000;

/// The writes that make the mirrored slices those of the Endpoints.
#[must_use]
pub fn plan(endpoints: &Endpoints, service: &Service, current: &[Arc<EndpointSlice>]) -> Vec<Action> {
    let mut old: Vec<_> = current
        .iter()
        .filter(|s| s.metadata.label(MANAGED_BY_LABEL) == Some(MIRRORED_BY))
        .collect();
    let mut actions = Vec::new();
    for wanted in endpoints
        .subsets
        .iter()
        .flatten()
        .flat_map(|s| slices(endpoints, s))
    {
        let same = |s: &&Arc<EndpointSlice>| s.address_type == wanted.address_type && s.ports == wanted.ports;
        match old.iter().position(same) {
            None => actions.push(Write::create(&wanted).into()),
            Some(position) => {
                let found = old.remove(position);
                if found.endpoints != wanted.endpoints || found.metadata.labels != wanted.metadata.labels {
                    let mut updated = (**found).clone();
                    updated.endpoints = wanted.endpoints;
                    updated.metadata.labels = wanted.metadata.labels;
                    actions.push(Write::update(&updated).into());
                }
            }
        }
    }
    debug_assert!(service.metadata.name() == endpoints.metadata.name());
    actions.extend(old.into_iter().map(|s| Action::from(Write::delete(&**s))));
    actions
}

/// One slice for each family of addresses of a subset.
fn slices(endpoints: &Endpoints, subset: &EndpointSubset) -> Vec<EndpointSlice> {
    let mut families: BTreeMap<&'static str, Vec<Endpoint>> = BTreeMap::new();
    let ready = subset.addresses.iter().flatten().map(|a| (a, true));
    let all = ready.chain(subset.not_ready_addresses.iter().flatten().map(|a| (a, false)));
    for (address, ready) in all.take(MAX_PER_SUBSET) {
        let family = if address.ip.contains(':') { "IPv6" } else { "IPv4" };
        families.entry(family).or_default().push(endpoint(address, ready));
    }
    let ports: Vec<_> = subset
        .ports
        .iter()
        .flatten()
        .map(|p| EndpointPort {
            name: Some(p.name.clone().unwrap_or_default()),
            port: Some(p.port),
            protocol: p.protocol.clone(),
            app_protocol: p.app_protocol.clone(),
        })
        .collect();
    let ports = Some(ports).filter(|p| !p.is_empty());
    let slice = |(family, all): (&str, Vec<Endpoint>)| EndpointSlice {
        metadata: metadata(endpoints),
        address_type: family.into(),
        endpoints: Some(all),
        ports: ports.clone(),
    };
    families.into_iter().map(slice).collect()
}

fn metadata(endpoints: &Endpoints) -> ObjectMeta {
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), endpoints.metadata.name().into());
    labels.insert(MANAGED_BY_LABEL.into(), MIRRORED_BY.into());
    ObjectMeta {
        generate_name: Some(format!("{}-", endpoints.metadata.name())),
        namespace: endpoints.metadata.namespace.clone(),
        labels: Some(labels),
        owner_references: Some(vec![controller_ref(endpoints)]),
        ..ObjectMeta::default()
    }
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: None,
            terminating: None,
        }),
        hostname: address.hostname.clone().filter(|h| !h.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn is_mirrored(endpoints: &Endpoints, service: &Service) -> bool {
    let meta = &endpoints.metadata;
    let selects = service
        .spec
        .as_ref()
        .is_some_and(|s| s.selector.as_ref().is_some_and(|s| !s.is_empty()));
    !selects
        && meta.label(SKIP_LABEL) != Some("true")
        && meta
            .annotation("control-plane.alpha.kubernetes.io/leader")
            .is_none()
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let factory = context.factory.clone();
    let (services, endpoints) = (factory.informer::<Service>(), factory.informer::<Endpoints>());
    let slices = factory.informer::<EndpointSlice>();
    slices.add_index("service", by_service);
    let queue: Queue<Key> = Queue::new("endpoint_slice_mirroring");
    queue_self(&services, &queue);
    queue_self(&endpoints, &queue);
    let adding = queue.clone();
    slices.on_event(move |event| {
        let meta = &event.object().metadata;
        if let Some(service) = meta
            .label(SERVICE_NAME)
            .filter(|_| meta.label(MANAGED_BY_LABEL) == Some(MIRRORED_BY))
        {
            adding.add(Key::new(meta.ns(), service));
        }
    });
    services.synced().await;
    endpoints.synced().await;
    slices.synced().await;
    let executor = Arc::new(context.executor("endpoint-slice-mirroring-controller"));
    let expectations = Arc::new(Expectations::default());
    driver::run(
        "endpoint_slice_mirroring",
        queue,
        WORKERS,
        context.stop.clone(),
        move |key| {
            let (executor, expectations) = (Arc::clone(&executor), Arc::clone(&expectations));
            let (services, endpoints, slices) = (services.clone(), endpoints.clone(), slices.clone());
            async move {
                let shown = expectations.shown(&executor.caller, &key, &[&slices]).await?;
                let current = slices.indexed("service", &format!("{}/{}", key.ns(), key.name()));
                let settled = shown && expectations.gone(&key, &current);
                if !settled {
                    return Ok(Next::After(LAGGING));
                }
                let found = endpoints
                    .get_key(&key)
                    .zip(services.get_key(&key))
                    .filter(|(e, s)| is_mirrored(e, s));
                // Slices of Endpoints that are gone go with them: they are their owner.
                let actions = found.map(|(e, s)| plan(&e, &s, &current)).unwrap_or_default();
                executor
                    .apply(actions, Some((&expectations, &key)))
                    .await
                    .map(|()| Next::Done)
            }
        },
    )
    .await;
}
