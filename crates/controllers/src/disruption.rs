//! The disruption controller: how many pods each PodDisruptionBudget lets go. Upstream: pkg/controller/disruption.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use corten_client::Pod;
use corten_client::driver::{self, Next};
use corten_client::object::MetaExt;
use corten_client::selector::Selector;
use corten_client::{Error, Event, Factory, Informer, Key, Queue};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::ReplicationController;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::core::context::{queue_self, time};
use crate::core::{Action, Context, Executor, Note, Write, pod};
use crate::deployment::scaled;

const WORKERS: usize = 4;
/// An eviction that was allowed must delete its pod within this time, or it counts as not having happened.
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);

/// What a plan is made from.
pub struct View<'a> {
    pub budget: &'a PodDisruptionBudget,
    /// The pods it selects.
    pub pods: Vec<Arc<Pod>>,
    /// Replicas the controllers of these pods want, and the names of pods without any.
    pub expected: i32,
    pub unmanaged: Vec<String>,
}

/// The steps, and when an eviction will be found not to have happened.
#[must_use]
pub fn plan(view: &View<'_>, now: Timestamp) -> (Vec<Action>, Option<Duration>) {
    let (budget, mut actions) = (view.budget, Vec::new());
    if view.pods.is_empty() {
        actions.push(Note::normal(budget, "NoPods", "No matching pods found").into());
    }
    let spec = budget.spec.clone().unwrap_or_default();
    let count = i32::try_from(view.pods.len()).unwrap_or(i32::MAX);
    let (expected, desired) = match (&spec.max_unavailable, &spec.min_available) {
        (Some(max), _) => (
            view.expected,
            (view.expected - scaled(max, view.expected, true)).max(0),
        ),
        (None, Some(IntOrString::Int(min))) => (count, *min),
        (None, Some(min)) => (view.expected, scaled(min, view.expected, true)),
        (None, None) => (0, 0),
    };
    if !view.unmanaged.is_empty() && !matches!(spec.min_available, Some(IntOrString::Int(_))) {
        let message = format!(
            "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the \
             status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for \
             these pods please set \".spec.minAvailable\" field of the PDB to an integer value.",
            crate::core::action::value(&spec.selector)
        );
        actions.push(Note::warning(budget, "UnmanagedPods", message).into());
    }
    let (disrupted, recheck) = disrupted(view, now, &mut actions);
    let healthy = view.pods.iter().filter(|p| {
        !p.metadata.terminating() && !disrupted.contains_key(p.metadata.name()) && pod::is_ready(p)
    });
    let healthy = i32::try_from(healthy.count()).unwrap_or(i32::MAX);
    let allowed = if expected <= 0 {
        0
    } else {
        (healthy - desired).max(0)
    };
    let status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: Some(disrupted).filter(|d| !d.is_empty()),
        observed_generation: budget.metadata.generation,
        conditions: Some(vec![condition(budget, allowed, now)]),
    };
    if budget.status.as_ref() != Some(&status) {
        let updated = PodDisruptionBudget {
            status: Some(status),
            ..budget.clone()
        };
        actions.push(Write::status(&updated).into());
    }
    (actions, recheck)
}

fn condition(budget: &PodDisruptionBudget, allowed: i32, now: Timestamp) -> Condition {
    let (status, reason) = if allowed > 0 {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    let old = budget.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let old = old
        .into_iter()
        .find(|c| c.type_ == "DisruptionAllowed" && c.status == status);
    Condition {
        type_: "DisruptionAllowed".into(),
        status: status.into(),
        reason: reason.into(),
        message: String::new(),
        observed_generation: budget.metadata.generation,
        last_transition_time: old.map_or_else(|| time(now), |c| c.last_transition_time.clone()),
    }
}

type Disrupted = BTreeMap<String, Time>;

/// Pods the eviction API has let go that are still there.
fn disrupted(view: &View<'_>, now: Timestamp, actions: &mut Vec<Action>) -> (Disrupted, Option<Duration>) {
    let known = view
        .budget
        .status
        .as_ref()
        .and_then(|s| s.disrupted_pods.clone())
        .unwrap_or_default();
    let (mut kept, mut recheck) = (Disrupted::new(), None::<Duration>);
    for pod in view.pods.iter().filter(|p| !p.metadata.terminating()) {
        let Some(at) = known.get(pod.metadata.name()) else {
            continue;
        };
        let left = (at.0 + DELETION_TIMEOUT).duration_since(now);
        if left.is_positive() {
            kept.insert(pod.metadata.name().to_owned(), at.clone());
            recheck = Some(recheck.map_or(left.unsigned_abs(), |r| r.min(left.unsigned_abs())));
        } else {
            let meta = &view.budget.metadata;
            let message = format!(
                "Pod was expected by PDB {}/{} to be deleted but it wasn't",
                meta.ns(),
                meta.ns()
            );
            actions.push(Note::warning(&**pod, "NotDeleted", message).into());
        }
    }
    (kept, recheck)
}

struct Controller {
    context: Context,
    executor: Executor,
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<Pod>,
    scales: Scales,
}

struct Scales {
    deployments: Informer<Deployment>,
    replica_sets: Informer<ReplicaSet>,
    stateful_sets: Informer<StatefulSet>,
    controllers: Informer<ReplicationController>,
}

impl Scales {
    fn new(factory: &Factory) -> Self {
        Self {
            deployments: factory.informer(),
            replica_sets: factory.informer(),
            stateful_sets: factory.informer(),
            controllers: factory.informer(),
        }
    }

    async fn synced(&self) {
        self.deployments.synced().await;
        self.replica_sets.synced().await;
        self.stateful_sets.synced().await;
        self.controllers.synced().await;
    }

    /// The uid and size of the topmost controller that has a scale.
    fn of(&self, ns: &str, owner: &OwnerReference) -> Option<(String, i32)> {
        let named = |uid: &str| uid == owner.uid;
        match owner.kind.as_str() {
            "ReplicaSet" => {
                let set = self
                    .replica_sets
                    .get(ns, &owner.name)
                    .filter(|s| named(s.metadata.uid()))?;
                let above = set.metadata.controller().filter(|o| o.kind == "Deployment");
                above.and_then(|o| self.of(ns, o)).or_else(|| {
                    Some((
                        set.metadata.uid().to_owned(),
                        set.spec.as_ref()?.replicas.unwrap_or(1),
                    ))
                })
            }
            "Deployment" => {
                let found = self
                    .deployments
                    .get(ns, &owner.name)
                    .filter(|d| named(d.metadata.uid()))?;
                Some((
                    found.metadata.uid().to_owned(),
                    found.spec.as_ref()?.replicas.unwrap_or(1),
                ))
            }
            "StatefulSet" => {
                let found = self
                    .stateful_sets
                    .get(ns, &owner.name)
                    .filter(|s| named(s.metadata.uid()))?;
                Some((
                    found.metadata.uid().to_owned(),
                    found.spec.as_ref()?.replicas.unwrap_or(1),
                ))
            }
            "ReplicationController" => {
                let found = self
                    .controllers
                    .get(ns, &owner.name)
                    .filter(|c| named(c.metadata.uid()))?;
                Some((
                    found.metadata.uid().to_owned(),
                    found.spec.as_ref()?.replicas.unwrap_or(1),
                ))
            }
            _ => None,
        }
    }
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let budgets = context.factory.informer::<PodDisruptionBudget>();
    let pods = context.factory.informer::<Pod>();
    let scales = Scales::new(&context.factory);
    let queue: Queue<Key> = Queue::new("disruption");
    queue_self(&budgets, &queue);
    let (all, adding) = (budgets.clone(), queue.clone());
    pods.on_event(move |event| {
        let changed = |a: &Pod, b: &Pod| {
            pod::is_ready(a) != pod::is_ready(b)
                || a.metadata.terminating() != b.metadata.terminating()
                || a.metadata.labels != b.metadata.labels
                || a.metadata.owner_references != b.metadata.owner_references
        };
        if matches!(&event, Event::Updated { old, new } if !changed(old, new)) {
            return;
        }
        // Budgets are few: all of the namespace are looked at.
        all.in_namespace(event.object().metadata.ns())
            .iter()
            .for_each(|b| adding.add(Key::of(&**b)));
    });
    let (all, adding) = (budgets.clone(), queue.clone());
    scales.deployments.on_event(move |event| {
        all.in_namespace(event.object().metadata.ns())
            .iter()
            .for_each(|b| adding.add(Key::of(&**b)));
    });
    budgets.synced().await;
    pods.synced().await;
    scales.synced().await;
    let executor = context.executor("controllermanager");
    let stop = context.stop.clone();
    let this = Arc::new(Controller {
        context,
        executor,
        budgets,
        pods,
        scales,
    });
    driver::run("disruption", queue, WORKERS, stop, move |key| {
        let this = Arc::clone(&this);
        async move { this.sync(&key).await }
    })
    .await;
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let Some(budget) = self.budgets.get_key(key) else {
            return Ok(Next::Done);
        };
        let selector = budget.spec.as_ref().and_then(|s| s.selector.as_ref());
        let selector = Selector::new(selector).map_err(Error::Other)?;
        let pods: Vec<_> = self
            .pods
            .in_namespace(key.ns())
            .into_iter()
            .filter(|p| selector.matches(p.metadata.labels()))
            .collect();
        let (mut sizes, mut unmanaged) = (HashMap::new(), Vec::new());
        for pod in &pods {
            match pod
                .metadata
                .controller()
                .and_then(|o| self.scales.of(key.ns(), o))
            {
                Some((uid, size)) => drop(sizes.insert(uid, size)),
                None => unmanaged.push(pod.metadata.name().to_owned()),
            }
        }
        let view = View {
            budget: &budget,
            pods,
            expected: sizes.values().sum(),
            unmanaged,
        };
        let (actions, recheck) = plan(&view, self.context.now());
        self.executor.apply(actions, None).await?;
        Ok(recheck.map_or(Next::Done, Next::After))
    }
}
