//! The ReplicationController controller: a ReplicaSet in all but name, so the same plan serves it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use corten_client::Pod;
use corten_client::cache::by_controller;
use corten_client::driver::Next;
use corten_client::object::{MetaExt, controller_ref, reference};
use corten_client::selector::Selector;
use corten_client::{Error, Informer, Key, Queue};
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::core::action::value;
use crate::core::claim::orphans;
use crate::core::context::{queue_controller, queue_self};
use crate::core::crew::crew;
use crate::core::{Action, Context, Executor, Expectations, LAGGING, Reconcile, Write, drive, pod};
use crate::replicaset::{self, View};

const WORKERS: usize = 4;

struct Controller {
    context: Context,
    executor: Executor,
    controllers: Informer<ReplicationController>,
    pods: Informer<Pod>,
    expectations: Expectations,
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let controllers = context.factory.informer::<ReplicationController>();
    let pods = context.factory.informer::<Pod>();
    pods.add_index("controller", by_controller);
    pods.add_index("orphans", orphans);
    let queue: Queue<Key> = Queue::new("replicationmanager");
    queue_self(&controllers, &queue);
    queue_controller(&pods, "ReplicationController", &queue);
    let (all, adding) = (controllers.clone(), queue.clone());
    pods.on_event(move |event| {
        let meta = &event.object().metadata;
        if meta.controller().is_none() && meta.labels.is_some() {
            for found in all
                .in_namespace(meta.ns())
                .iter()
                .filter(|c| selector(c).matches(meta.labels()))
            {
                adding.add(Key::of(&**found));
            }
        }
    });
    controllers.synced().await;
    pods.synced().await;
    let executor = context.executor("replication-controller");
    let stop = context.stop.clone();
    let expectations = Expectations::default();
    let controller = Controller {
        context,
        executor,
        controllers,
        pods,
        expectations,
    };
    drive("replicationmanager", queue, WORKERS, stop, controller).await;
}

fn selector(controller: &ReplicationController) -> Selector {
    match controller
        .spec
        .as_ref()
        .and_then(|s| s.selector.as_ref())
        .filter(|s| !s.is_empty())
    {
        Some(labels) => Selector::from_labels(Some(labels)),
        None => Selector::nothing(),
    }
}

/// The same controller as a ReplicaSet.
fn as_set(controller: &ReplicationController) -> ReplicaSet {
    let spec = controller.spec.clone().unwrap_or_default();
    let status = controller.status.clone().unwrap_or_default();
    let condition = |c: ReplicationControllerCondition| ReplicaSetCondition {
        type_: c.type_,
        status: c.status,
        reason: c.reason,
        message: c.message,
        last_transition_time: c.last_transition_time,
    };
    ReplicaSet {
        metadata: controller.metadata.clone(),
        spec: Some(ReplicaSetSpec {
            replicas: spec.replicas,
            min_ready_seconds: spec.min_ready_seconds,
            selector: LabelSelector {
                match_labels: spec.selector,
                match_expressions: None,
            },
            template: spec.template,
        }),
        status: Some(ReplicaSetStatus {
            replicas: status.replicas,
            observed_generation: status.observed_generation,
            conditions: status
                .conditions
                .map(|all| all.into_iter().map(condition).collect()),
            ..ReplicaSetStatus::default()
        }),
    }
}

fn as_status(status: ReplicaSetStatus) -> ReplicationControllerStatus {
    let condition = |c: ReplicaSetCondition| ReplicationControllerCondition {
        type_: c.type_,
        status: c.status,
        reason: c.reason,
        message: c.message,
        last_transition_time: c.last_transition_time,
    };
    ReplicationControllerStatus {
        replicas: status.replicas,
        fully_labeled_replicas: status.fully_labeled_replicas,
        ready_replicas: status.ready_replicas,
        available_replicas: status.available_replicas,
        observed_generation: status.observed_generation,
        conditions: status
            .conditions
            .map(|all| all.into_iter().map(condition).collect()),
    }
}

/// Makes the actions of the ReplicaSet plan those of the controller it stands for.
fn retarget(actions: &mut [Action], controller: &ReplicationController) {
    let owner = value(&[controller_ref(controller)]);
    for action in actions {
        let (Action::SlowStart(writes) | Action::Together(writes)) = action else {
            continue;
        };
        for write in writes {
            if write.body["metadata"]["ownerReferences"].is_array() {
                Arc::make_mut(&mut write.body)["metadata"]["ownerReferences"] = owner.clone();
            }
            for note in [&mut write.ok, &mut write.err].into_iter().flatten() {
                note.about = reference(controller);
            }
        }
    }
}

impl Reconcile for Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let shown = self
            .expectations
            .shown(&self.executor.caller, key, &[&self.pods])
            .await?;
        let Some(controller) = self.controllers.get_key(key) else {
            self.expectations.forget(key);
            return Ok(Next::Done);
        };
        let now = self.context.now();
        let (executor, selector) = (&self.executor, selector(&controller));
        let mut crew = crew(executor, &self.expectations, &self.pods, &*controller, &selector).await?;
        crew.settled &= shown;
        let set = as_set(&controller);
        let view = View {
            set: &set,
            active: crew.active,
            terminating: crew.terminating,
            crowd: HashMap::new(),
        };
        let mut error = None;
        if crew.settled && !controller.metadata.terminating() {
            let mut actions = replicaset::manage(&view, now);
            retarget(&mut actions, &controller);
            error = self
                .executor
                .apply(actions, Some((&self.expectations, key)))
                .await
                .err();
        }
        let message = error.as_ref().map(ToString::to_string);
        let status = as_status(replicaset::status(&view, message.as_deref(), now));
        if controller.status.as_ref() != Some(&status) {
            let updated = ReplicationController {
                status: Some(status),
                ..(*controller).clone()
            };
            self.executor
                .apply(vec![Write::status(&updated).into()], None)
                .await?;
        }
        if let Some(error) = error {
            return Err(error);
        }
        if !crew.settled {
            return Ok(Next::After(LAGGING));
        }
        let min_ready = controller
            .spec
            .as_ref()
            .and_then(|s| s.min_ready_seconds)
            .unwrap_or(0);
        let wait =
            pod::next_available(view.active.iter().map(|p| &**p), min_ready, now).filter(|_| min_ready > 0);
        Ok(wait.map_or(Next::Done, |d| Next::After(d + Duration::from_millis(10))))
    }
}
