//! The EndpointSlice and Endpoints controllers: which pods serve a Service, for proxies and DNS to read.

mod endpoint;
mod legacy;
pub mod mirror;
mod slices;
mod topology;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use corten_client::Pod;
use corten_client::driver::{self, Next};
use corten_client::object::MetaExt;
use corten_client::selector::Selector;
use corten_client::{Caller, Error, Event, Informer, Key, Queue};
use k8s_openapi::api::core::v1::{Endpoints, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;

pub use endpoint::{AddressType, Backend, backends};
pub use slices::MANAGED_BY;
use topology::Topology;

use crate::core::context::queue_self;
use crate::core::{Action, Context, Executor, Expectations, LAGGING, Note, Shown, pod};
use crate::nodes::{ZONE, is_ready};

const WORKERS: usize = 5;
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

struct Controller {
    executor: Executor,
    /// Writes Endpoints, under the name of the controller that does so upstream.
    legacy: Executor,
    /// Looks for either's writes whose answers were lost.
    reader: Caller,
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    endpoints: Informer<Endpoints>,
    expectations: Expectations,
    topology: Mutex<Topology>,
    /// Nodes have changed since the topology took them in.
    moved: Arc<AtomicBool>,
    queue: Queue<Key>,
}

/// Index value of a slice: the key of its Service.
pub(crate) fn by_service(slice: &EndpointSlice) -> Vec<String> {
    let name = slice.metadata.label(SERVICE_NAME);
    name.map(|name| format!("{}/{name}", slice.metadata.ns()))
        .into_iter()
        .collect()
}

/// Index value of a pod: each of its labels, within its namespace.
fn by_label(pod: &Pod) -> Vec<String> {
    let ns = pod.metadata.ns();
    let labels = pod.metadata.labels();
    labels
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{ns}/{k}={v}"))
        .collect()
}

/// Runs the controllers until their context stops.
pub async fn run(context: Context) {
    let services = context.factory.informer::<Service>();
    let pods = context.factory.informer::<Pod>();
    let nodes = context.factory.informer::<Node>();
    let slices = context.factory.informer::<EndpointSlice>();
    let endpoints = context.factory.informer::<Endpoints>();
    slices.add_index("service", by_service);
    pods.add_index("label", by_label);
    let queue: Queue<Key> = Queue::new("endpoint_slice");
    queue_self(&services, &queue);
    queue_for_pods(&services, &pods, &queue);
    queue_for_written(&slices, &endpoints, &queue);
    let moved = Arc::new(AtomicBool::new(true));
    queue_for_nodes(&nodes, &queue, Arc::clone(&moved));
    services.synced().await;
    pods.synced().await;
    nodes.synced().await;
    slices.synced().await;
    endpoints.synced().await;
    let executor = context
        .acting_as("endpointslice-controller")
        .executor("endpoint-slice-controller");
    let legacy = context
        .acting_as("endpoint-controller")
        .executor("endpoint-controller");
    let expectations = Expectations::default();
    let this = Arc::new(Controller {
        executor,
        legacy,
        reader: context.caller(),
        services,
        pods,
        nodes,
        slices,
        endpoints,
        expectations,
        topology: Mutex::default(),
        moved,
        queue: queue.clone(),
    });
    driver::run(
        "endpoint_slice",
        queue,
        WORKERS,
        context.stop.clone(),
        move |key| {
            let this = Arc::clone(&this);
            async move { this.sync(&key).await }
        },
    )
    .await;
}

fn queue_for_pods(services: &Informer<Service>, pods: &Informer<Pod>, queue: &Queue<Key>) {
    let (services, queue) = (services.clone(), queue.clone());
    pods.on_event(move |event| {
        let new = &event.object().metadata;
        let old = match &event {
            Event::Updated { old, new } if !endpoint::differs(old, new) => return,
            Event::Updated { old, .. } if old.metadata.labels != new.labels => Some(&old.metadata),
            _ => None,
        };
        for service in services.in_namespace(new.ns()) {
            let Some(labels) = service.spec.as_ref().and_then(|s| s.selector.as_ref()) else {
                continue;
            };
            let selector = Selector::from_labels(Some(labels));
            if selector.matches(new.labels()) || old.is_some_and(|o| selector.matches(o.labels())) {
                queue.add(Key::of(&*service));
            }
        }
    });
}

/// What others change or delete is put right, and our own writes end the wait for them.
fn queue_for_written(slices: &Informer<EndpointSlice>, endpoints: &Informer<Endpoints>, queue: &Queue<Key>) {
    let adding = queue.clone();
    slices.on_event(move |event| {
        let meta = &event.object().metadata;
        if meta.label(slices::MANAGED_BY_LABEL) == Some(MANAGED_BY)
            && let Some(service) = meta.label(SERVICE_NAME)
        {
            adding.add(Key::new(meta.ns(), service));
        }
    });
    let adding = queue.clone();
    endpoints.on_event(move |event| adding.add(Key::of(&**event.object())));
}

/// Services have names; this key stands for the zones of all nodes.
fn zones() -> Key {
    Key::new("", "")
}

/// What zones' shares hang on and changes now and then: whether a node is ready, and where it is.
fn place(node: &Node) -> (bool, Option<&str>) {
    (is_ready(node), node.metadata.label(ZONE))
}

fn queue_for_nodes(nodes: &Informer<Node>, queue: &Queue<Key>, moved: Arc<AtomicBool>) {
    let queue = queue.clone();
    nodes.on_event(move |event| {
        if let Event::Updated { old, new } = &event
            && place(old) == place(new)
        {
            return;
        }
        if !moved.swap(true, Ordering::AcqRel) {
            queue.add(zones());
        }
    });
}

impl Controller {
    /// What the nodes say now.
    fn with_topology<T>(&self, f: impl FnOnce(&mut Topology) -> T) -> T {
        let mut topology = self.topology.lock();
        if self.moved.swap(false, Ordering::AcqRel) {
            let nodes = self.nodes.list();
            topology.set_nodes(nodes.iter().map(|node| &**node));
        }
        f(&mut topology)
    }

    /// Services that have become lopsided by what happened to nodes.
    fn rebalance(&self) {
        if self.topology.lock().is_unused() {
            return;
        }
        for key in self.with_topology(|topology| topology.overloaded()) {
            self.queue.add(key);
        }
    }

    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        if *key == zones() {
            self.rebalance();
            return Ok(Next::Done);
        }
        let caches: [&dyn Shown; 2] = [&self.slices, &self.endpoints];
        let shown = self.expectations.shown(&self.reader, key, &caches).await?;
        let Some(service) = self.services.get_key(key) else {
            self.expectations.forget(key);
            self.topology.lock().remove(key, None);
            // Slices go with their owner; Endpoints have none.
            return self.drop_endpoints(key).await;
        };
        let spec = service.spec.clone().unwrap_or_default();
        let Some(labels) = spec
            .selector
            .filter(|_| spec.type_.as_deref() != Some("ExternalName"))
        else {
            self.topology.lock().remove(key, None);
            return Ok(Next::Done);
        };
        let current = self
            .slices
            .indexed("service", &format!("{}/{}", key.ns(), key.name()));
        if !shown || !self.expectations.gone(key, &current) {
            return Ok(Next::After(LAGGING));
        }
        let pods = self.selected(key.ns(), &labels);
        let zone = |node: &str| {
            let node = self.nodes.get("", node)?;
            node.metadata.label(ZONE).map(str::to_owned)
        };
        let backends = backends(&service, &pods, zone);
        let mut changes = slices::plan(&service, &backends, &current);
        let notes = self.with_topology(|topology| changes.hint(&service, topology));
        let legacy = self.endpoints.get_key(key);
        let older = legacy::plan(&service, &backends, legacy.as_deref());
        let applied = self.apply(key, &service, changes.into_actions(), older).await;
        let notes = notes.into_iter().map(Action::from).collect();
        self.executor.apply(notes, None).await?;
        applied
    }

    async fn apply(
        &self,
        key: &Key,
        service: &Service,
        actions: Vec<Action>,
        older: Option<Action>,
    ) -> Result<Next, Error> {
        let expectations = Some((&self.expectations, key));
        match self.executor.apply(actions, expectations).await {
            Ok(()) => self
                .legacy
                .apply(older.into_iter().collect(), expectations)
                .await
                .map(|()| Next::Done),
            Err(error) => {
                if !error.is_conflict() && !error.is_namespace_terminating() && error.code() != 0 {
                    let message = format!("Error updating Endpoint Slices for Service {key}: {error}");
                    let note = Note::warning(service, "FailedToUpdateEndpointSlices", message);
                    self.executor.apply(vec![note.into()], None).await?;
                }
                Err(error)
            }
        }
    }

    /// The pods a selector selects: those with its first label, filtered by the others.
    fn selected(&self, ns: &str, labels: &std::collections::BTreeMap<String, String>) -> Vec<Arc<Pod>> {
        let selector = Selector::from_labels(Some(labels));
        let candidates = match labels.iter().next() {
            Some((k, v)) => self.pods.indexed("label", &format!("{ns}/{k}={v}")),
            None => self.pods.in_namespace(ns),
        };
        let wanted = |p: &Arc<Pod>| selector.matches(p.metadata.labels()) && !pod::is_finished(p);
        candidates.into_iter().filter(wanted).collect()
    }

    async fn drop_endpoints(&self, key: &Key) -> Result<Next, Error> {
        let Some(endpoints) = self.endpoints.get_key(key).filter(|e| legacy::is_ours(e)) else {
            return Ok(Next::Done);
        };
        let gone = crate::core::Write::delete(&*endpoints);
        self.legacy
            .apply(vec![gone.into()], None)
            .await
            .map(|()| Next::Done)
    }
}
