//! The ServiceAccount controller: every active namespace has the account `default`.

use std::sync::Arc;

use corten_client::driver::{self, Next};
use corten_client::{Event, Key, Queue};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use corten_client::object::MetaExt;

use crate::core::{Action, Context, Write};

const WORKERS: usize = 2;

/// What a namespace lacks.
#[must_use]
pub fn plan(namespace: &Namespace, has_default: bool) -> Vec<Action> {
    if has_default || !is_active(namespace) {
        return Vec::new();
    }
    let metadata = ObjectMeta {
        name: Some("default".into()),
        namespace: namespace.metadata.name.clone(),
        ..ObjectMeta::default()
    };
    vec![
        Write::create(&ServiceAccount {
            metadata,
            ..ServiceAccount::default()
        })
        .into(),
    ]
}

/// Whether things can be made in a namespace. A missing phase is one that was not defaulted yet.
#[must_use]
pub fn is_active(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|s| s.phase.as_deref());
    !namespace.metadata.terminating() && phase.is_none_or(|p| p == "Active")
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let namespaces = context.factory.informer::<Namespace>();
    let accounts = context.factory.informer::<ServiceAccount>();
    let queue: Queue<Key> = Queue::new("serviceaccount");
    let adding = queue.clone();
    namespaces.on_event(move |event| adding.add(Key::of(&**event.object())));
    let adding = queue.clone();
    accounts.on_event(move |event| {
        if let Event::Deleted(account) = event {
            adding.add(Key::new("", account.metadata.ns()));
        }
    });
    namespaces.synced().await;
    accounts.synced().await;
    let executor = Arc::new(context.executor("serviceaccount-controller"));
    driver::run(
        "serviceaccount",
        queue,
        WORKERS,
        context.stop.clone(),
        move |key| {
            let executor = Arc::clone(&executor);
            let actions = namespaces
                .get_key(&key)
                .map(|ns| plan(&ns, accounts.get(key.name(), "default").is_some()))
                .unwrap_or_default();
            async move {
                match executor.apply(actions, None).await {
                    Err(error) if !error.is_already_exists() => Err(error),
                    _ => Ok(Next::Done),
                }
            }
        },
    )
    .await;
}
