//! Token secrets of ServiceAccounts: they go when their account does. (Filling new ones in needs the signing key, which
//! this crate does not hold.)

use std::sync::Arc;

use corten_client::driver::{self, Next};
use corten_client::object::{MetaExt, path_of};
use corten_client::{Error, Event, Key, Partial, Queue, watch};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use serde::Deserialize;

use crate::core::{Action, Context, Write};

const WORKERS: usize = 2;
const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Secret>,
}

/// Deletions of the token secrets of an account that is gone: those that name it, and its uid if they name one.
#[must_use]
pub fn plan(account: &str, living: Option<&ServiceAccount>, secrets: &[Secret]) -> Vec<Action> {
    let of = |s: &&Secret| s.metadata.annotation(NAME) == Some(account);
    let stale = |s: &&Secret| match living {
        None => true,
        Some(living) => s
            .metadata
            .annotation(UID)
            .is_some_and(|uid| !uid.is_empty() && uid != living.metadata.uid()),
    };
    secrets
        .iter()
        .filter(of)
        .filter(stale)
        .map(|s| Write::delete(s).into())
        .collect()
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let accounts = context.factory.informer::<ServiceAccount>();
    let queue: Queue<Key> = Queue::new("serviceaccount_tokens");
    let adding = queue.clone();
    accounts.on_event(move |event| {
        if let Event::Deleted(account) = event {
            adding.add(Key::of(&**account));
        }
    });
    // A token secret made for an account that is not there.
    let source = watch::Source {
        query: "fieldSelector=type%3Dkubernetes.io%2Fservice-account-token".into(),
        ..watch::Source::metadata(path_of("", "v1", "secrets", "", "", ""))
    };
    let (adding, client) = (queue.clone(), context.factory.client().clone());
    accounts.synced().await;
    tokio::spawn(watch::run::<Partial>(
        client,
        source,
        context.stop.clone(),
        move |delta| {
            if let watch::Delta::Apply(secret) = delta
                && let Some(name) = secret.metadata.annotation(NAME)
            {
                adding.add(Key::new(secret.metadata.ns(), name));
            }
        },
    ));
    let executor = Arc::new(context.executor("serviceaccount-token-controller"));
    driver::run(
        "serviceaccount_tokens",
        queue,
        WORKERS,
        context.stop.clone(),
        move |key| {
            let executor = Arc::clone(&executor);
            async move {
                // The cache may not have seen an account that was just made.
                let living = match executor.caller.get::<ServiceAccount>(key.ns(), key.name()).await {
                    Ok(account) => Some(account),
                    Err(error) if error.is_not_found() => None,
                    Err(error) => return Err::<Next, Error>(error),
                };
                let list = path_of("", "v1", "secrets", key.ns(), "", "");
                let query = "fieldSelector=type%3Dkubernetes.io%2Fservice-account-token";
                let secrets: List = executor.caller.read(&format!("{list}?{query}")).await?;
                let actions = plan(key.name(), living.as_ref(), &secrets.items);
                executor.apply(actions, None).await.map(|()| Next::Done)
            }
        },
    )
    .await;
}
