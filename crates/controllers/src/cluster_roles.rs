//! ClusterRole aggregation: a role with an aggregation rule has the rules of all roles it selects.

use std::sync::Arc;

use corten_client::driver::{self, Next};
use corten_client::object::MetaExt;
use corten_client::selector::Selector;
use corten_client::{Key, Queue};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};

use crate::core::{Action, Context, Write};

const WORKERS: usize = 2;

/// The write that brings an aggregating role up to date, if it is not.
#[must_use]
pub fn plan(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Option<Action> {
    let selectors = role.aggregation_rule.as_ref()?.cluster_role_selectors.as_ref()?;
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in selectors.iter().filter_map(|s| Selector::new(Some(s)).ok()) {
        let chosen = all.iter().filter(|r| {
            r.metadata.name() != role.metadata.name() && selector.matches(r.metadata.labels.as_ref())
        });
        for rule in chosen.flat_map(|r| r.rules.iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    let rules = Some(rules).filter(|r| !r.is_empty());
    if role.rules.clone().filter(|r| !r.is_empty()) == rules {
        return None;
    }
    Some(
        Write::update(&ClusterRole {
            rules,
            ..role.clone()
        })
        .into(),
    )
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let roles = context.factory.informer::<ClusterRole>();
    let queue: Queue<Key> = Queue::new("clusterrole_aggregation");
    let (all, adding) = (roles.clone(), queue.clone());
    roles.on_event(move |_| {
        for role in all.list().iter().filter(|r| r.aggregation_rule.is_some()) {
            adding.add(Key::of(&**role));
        }
    });
    roles.synced().await;
    let executor = Arc::new(context.executor("clusterrole-aggregation-controller"));
    driver::run(
        "clusterrole_aggregation",
        queue,
        WORKERS,
        context.stop.clone(),
        move |key| {
            let executor = Arc::clone(&executor);
            let action = roles.get_key(&key).and_then(|role| plan(&role, &roles.list()));
            async move {
                executor
                    .apply(action.into_iter().collect(), None)
                    .await
                    .map(|()| Next::Done)
            }
        },
    )
    .await;
}
