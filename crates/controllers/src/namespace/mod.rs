//! The namespace controller: empties a namespace that is being deleted, whatever kinds the server has, then lets it go.

mod content;
mod status;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use corten_client::Pod;
use corten_client::driver::{self, Next};
use corten_client::object::{MetaExt, path};
use corten_client::{Caller, Error, Event, Informer, Key, Queue};
use http::Method;
use k8s_openapi::api::core::v1::Namespace;
use parking_lot::Mutex;

use crate::core::action::value;
use crate::core::context::queue_self;
use crate::core::discovery::served;
use crate::core::{Context, Write};

pub use content::Remaining;
pub use status::conditions;

const WORKERS: usize = 4;
/// What remains is looked at again after this long, doubling; pods that go wake the key at once.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

struct Controller {
    context: Context,
    caller: Caller,
    namespaces: Informer<Namespace>,
    /// How often each namespace was found not empty yet; bounded by the namespaces that are going.
    waits: Mutex<HashMap<Key, u32>>,
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let namespaces = context.factory.informer::<Namespace>();
    let pods = context.factory.informer::<Pod>();
    let queue: Queue<Key> = Queue::new("namespace");
    queue_self(&namespaces, &queue);
    let (adding, all) = (queue.clone(), namespaces.clone());
    pods.on_event(move |event| {
        if let Event::Deleted(pod) = event
            && all
                .get("", pod.metadata.ns())
                .is_some_and(|ns| ns.metadata.terminating())
        {
            adding.add(Key::new("", pod.metadata.ns()));
        }
    });
    namespaces.synced().await;
    let stop = context.stop.clone();
    let caller = context.caller();
    let this = Arc::new(Controller {
        context,
        caller,
        namespaces,
        waits: Mutex::default(),
    });
    driver::run("namespace", queue, WORKERS, stop, move |key| {
        let this = Arc::clone(&this);
        async move { this.sync(&key).await }
    })
    .await;
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let Some(namespace) = self
            .namespaces
            .get_key(key)
            .filter(|ns| ns.metadata.terminating())
        else {
            return Ok(Next::Done);
        };
        if !has_finalizer(&namespace) {
            return Ok(Next::Done);
        }
        let namespace = self.mark_terminating(&namespace).await?;
        let remaining = match served(&self.caller).await {
            Ok(all) => content::delete_all(&self.caller, &all, key.name()).await,
            Err(error) => Remaining {
                discovery: Some(error.to_string()),
                ..Remaining::default()
            },
        };
        if remaining.is_empty() {
            return self.finalize(namespace).await;
        }
        let status = conditions(&namespace, &remaining, self.context.now());
        if namespace.status.as_ref() != Some(&status) {
            let updated = Namespace {
                status: Some(status),
                ..namespace
            };
            self.caller.update_status(&updated).await?;
        }
        if !remaining.errors.is_empty() || remaining.discovery.is_some() {
            let what = remaining.errors.join("; ") + remaining.discovery.as_deref().unwrap_or_default();
            return Err(Error::Other(what));
        }
        Ok(Next::After(self.wait(key)))
    }

    fn wait(&self, key: &Key) -> Duration {
        let mut waits = self.waits.lock();
        let count = waits.entry(key.clone()).or_default();
        *count += 1;
        (RETRY * (1 << (*count - 1).min(7))).min(RETRY_MAX)
    }

    async fn mark_terminating(&self, namespace: &Namespace) -> Result<Namespace, Error> {
        let mut updated = namespace.clone();
        let status = updated.status.get_or_insert_default();
        if status.phase.as_deref() == Some("Terminating") {
            return Ok(updated);
        }
        status.phase = Some("Terminating".into());
        self.caller.update_status(&updated).await
    }

    async fn finalize(&self, mut namespace: Namespace) -> Result<Next, Error> {
        if let Some(finalizers) = namespace.spec.as_mut().and_then(|s| s.finalizers.as_mut()) {
            finalizers.retain(|f| f != "kubernetes");
        }
        let target = path::<Namespace>("", namespace.metadata.name(), "finalize");
        let body = serde_json::to_vec(&value(&namespace))?;
        match self
            .caller
            .send(Method::PUT, &target, "application/json", body)
            .await
        {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Next::Done),
        }
    }
}

fn has_finalizer(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|s| s.finalizers.as_ref());
    finalizers.is_some_and(|f| f.iter().any(|f| f == "kubernetes"))
}

/// The write that starts the deletion of a namespace; for tests and tools.
#[must_use]
pub fn deletion(namespace: &Namespace) -> Write {
    Write::delete(namespace)
}
