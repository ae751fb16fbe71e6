//! The service-lb-controller with the built-in provider: a Service of type LoadBalancer gets the addresses of nodes, whose
//! proxies lead its ports to its endpoints. Upstream: staging/src/k8s.io/cloud-provider/controllers/service; the provider
//! is ours, and chooses as k3s's ServiceLB does.
//!
//! Acts when a Service's spec, the nodes, the endpoints behind a Local policy or another Service's ports change, and not
//! when a client writes a status: what stands there then stays until something else changes.

mod claims;
mod nodes;
mod plan;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use corten_client::driver::Next;
use corten_client::object::MetaExt;
use corten_client::{Error, Event, Informer, Key, Queue};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;

use claims::{Contender, Ground, Outcome, held, wanted};
use plan::{View, needs_cleanup, needs_update, wants};

use crate::core::{Context, Executor, Reconcile, drive};
use crate::endpoints::{SERVICE_NAME, by_service};

/// Upstream's `--concurrent-service-syncs`.
const WORKERS: usize = 1;
/// Where the API servers' addresses and ports are published.
const API_SERVERS: &str = "default/kubernetes";

struct Controller {
    executor: Executor,
    queue: Queue<Key>,
    services: Informer<Service>,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    asked: Asked,
    /// What each Service was given last; nothing where a write failed, which may have arrived all the same.
    last: Mutex<HashMap<Key, Outcome>>,
}

/// Services that have changed so that they need their balancer ensured anew: one that comes back to what it was has lost it
/// on the way.
type Asked = Arc<Mutex<HashSet<Key>>>;

/// Index values of a Service that has a balancer or waits for one: its ports. One more value names them all.
fn by_wanted(service: &Service) -> Vec<String> {
    let mut values = wanted(service);
    if !values.is_empty() {
        values.push(ALL.into());
    }
    values
}

const ALL: &str = "";

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let services = context.factory.informer::<Service>();
    let nodes = context.factory.informer::<Node>();
    let slices = context.factory.informer::<EndpointSlice>();
    services.add_index("balanced", by_wanted);
    services.add_index("held", held);
    slices.add_index("service", by_service);
    let queue: Queue<Key> = Queue::new("service");
    let asked = Asked::default();
    queue_services(&services, &queue, &asked);
    queue_for_nodes(&services, &nodes, &queue);
    queue_for_endpoints(&services, &slices, &queue);
    tokio::join!(services.synced(), nodes.synced(), slices.synced());
    let stop = context.stop.clone();
    let controller = Controller {
        executor: context.executor("service-controller"),
        queue: queue.clone(),
        services,
        nodes,
        slices,
        asked,
        last: Mutex::default(),
    };
    drive("service", queue, WORKERS, stop, controller).await;
}

/// Queues those that want one of these ports.
fn queue_rivals(services: &Informer<Service>, ports: &[String], queue: &Queue<Key>) {
    for port in ports {
        for service in services.indexed("balanced", port) {
            queue.add(Key::of(&*service));
        }
    }
}

fn queue_services(services: &Informer<Service>, queue: &Queue<Key>, asked: &Asked) {
    let (all, queue, asked) = (services.clone(), queue.clone(), Arc::clone(asked));
    services.on_event(move |event| {
        let new = event.object();
        let old = match &event {
            Event::Updated { old, .. } => Some(*old),
            Event::Deleted(old) => Some(*old),
            Event::Added(_) => None,
        };
        let gone = matches!(event, Event::Deleted(_));
        let changed = gone || old.is_none_or(|old| needs_update(old, new));
        let touched = changed && (wants(new) || old.is_some_and(|old| wants(old)));
        if touched || needs_cleanup(new) {
            let key = Key::of(&**new);
            asked.lock().insert(key.clone());
            queue.add(key);
        }
        // What it no longer asks for may be what others wait for.
        if let Some(old) = old.filter(|old| gone || wanted(old) != wanted(new)) {
            queue_rivals(&all, &wanted(old), &queue);
        }
        let (before, after) = (old.map(|o| held(o)).unwrap_or_default(), held(new));
        if gone || before != after {
            queue_rivals(&all, &before, &queue);
            queue_rivals(&all, &after, &queue);
        }
    });
}

fn queue_for_nodes(services: &Informer<Service>, nodes: &Informer<Node>, queue: &Queue<Key>) {
    let (services, queue) = (services.clone(), queue.clone());
    nodes.on_event(move |event| {
        if let Event::Updated { old, new } = &event
            && nodes::place(old) == nodes::place(new)
        {
            return;
        }
        queue_rivals(&services, &[ALL.into()], &queue);
    });
}

fn queue_for_endpoints(services: &Informer<Service>, slices: &Informer<EndpointSlice>, queue: &Queue<Key>) {
    let (services, queue) = (services.clone(), queue.clone());
    slices.on_event(move |event| {
        let meta = &event.object().metadata;
        let Some(name) = meta.label(SERVICE_NAME) else {
            return;
        };
        let key = Key::new(meta.ns(), name);
        if key.to_string() == API_SERVERS {
            queue_rivals(&services, &[ALL.into()], &queue);
        } else if services
            .get_key(&key)
            .is_some_and(|s| wants(&s) && nodes::is_local(&s))
        {
            queue.add(key);
        }
    });
}

impl Reconcile for Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let asked = self.asked.lock().remove(key);
        let last = self.last.lock().remove(key);
        let Some(service) = self.services.get_key(key) else {
            return Ok(Next::Done);
        };
        let done = if needs_cleanup(&service) {
            let cleaned = self.executor.apply(plan::cleanup(&service), None).await;
            cleaned.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
        } else if wants(&service) && !service.metadata.terminating() {
            self.ensure(key, &service, asked, last).await
        } else {
            Ok(())
        };
        if done.is_err() {
            self.asked.lock().insert(key.clone());
        }
        done.map(|()| Next::Done)
    }
}

impl Controller {
    async fn ensure(
        &self,
        key: &Key,
        service: &Service,
        asked: bool,
        last: Option<Outcome>,
    ) -> Result<(), Error> {
        let outcome = self.decide(service);
        let view = View {
            service,
            outcome: &outcome,
            last: last.as_ref(),
            asked,
        };
        self.executor.apply(plan::plan(&view), None).await?;
        if last.is_none_or(|last| last != outcome) {
            // Who loses by it, or gains.
            let rivals = self.contenders(service).into_iter().map(|c| Key::of(&*c.service));
            rivals
                .filter(|rival| rival != key)
                .for_each(|rival| self.queue.add(rival));
        }
        self.last.lock().insert(key.clone(), outcome);
        Ok(())
    }

    fn decide(&self, service: &Service) -> Outcome {
        let contenders = self.contenders(service);
        let ports: BTreeSet<String> = contenders.iter().flat_map(|c| wanted(&c.service)).collect();
        let holders = ports.iter().flat_map(|port| self.services.indexed("held", port));
        let ground = Ground {
            nodes: self
                .nodes
                .list()
                .iter()
                .filter_map(|node| nodes::place(node))
                .collect(),
            api_ports: self.api_ports(),
            holders: holders.collect(),
        };
        claims::decide(service, contenders, &ground)
    }

    /// The Services that want a port of this one, those that want a port of theirs, and so on; this one included.
    fn contenders(&self, service: &Service) -> Vec<Contender> {
        let mut found: BTreeMap<String, Contender> = BTreeMap::new();
        let (mut seen, mut next) = (BTreeSet::new(), wanted(service));
        while let Some(port) = next.pop() {
            if !seen.insert(port.clone()) {
                continue;
            }
            for service in self.services.indexed("balanced", &port) {
                let key = Key::of(&*service);
                next.extend(wanted(&service));
                found.entry(key.to_string()).or_insert_with(|| Contender {
                    ready_on: self.ready_on(&service, &key),
                    service,
                });
            }
        }
        found.into_values().collect()
    }

    /// Under policy Local the nodes with a ready endpoint, as long as there is one: a Service has its addresses before its first
    /// pod, as it would of a cloud.
    fn ready_on(&self, service: &Service, key: &Key) -> Option<BTreeSet<String>> {
        if !nodes::is_local(service) {
            return None;
        }
        let slices = self.slices.indexed("service", &key.to_string());
        let ready: BTreeSet<String> = slices.iter().flat_map(|slice| nodes::ready_on(slice)).collect();
        (!ready.is_empty()).then_some(ready)
    }

    fn api_ports(&self) -> BTreeSet<i32> {
        let slices = self.slices.indexed("service", API_SERVERS);
        let ports = slices.iter().flat_map(|slice| slice.ports.iter().flatten());
        ports.filter_map(|port| port.port).collect()
    }
}
