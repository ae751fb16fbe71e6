//! Protection of claims, volumes and classes: they are not removed while something uses them. Upstream:
//! pkg/controller/volume/pvcprotection, pvprotection and vacprotection.

mod classes;

use std::sync::Arc;

use corten_client::Pod;
use corten_client::driver::{self, Next};
use corten_client::object::MetaExt;
use corten_client::{Error, Event, Informer, Key, Queue};
use k8s_openapi::Metadata;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::core::context::queue_self;
use crate::core::{Action, Context, Write, pod};

const WORKERS: usize = 2;
const CLAIMS: Protection = Protection {
    name: "pvcprotection",
    controller: "pvc-protection-controller",
    finalizer: "kubernetes.io/pvc-protection",
};
const VOLUMES: Protection = Protection {
    name: "pvprotection",
    controller: "pv-protection-controller",
    finalizer: "kubernetes.io/pv-protection",
};

/// One of the controllers here.
#[derive(Clone, Copy)]
struct Protection {
    /// Of its queue.
    name: &'static str,
    /// Whom it acts as.
    controller: &'static str,
    finalizer: &'static str,
}

impl Protection {
    fn queue(&self) -> Queue<Key> {
        Queue::new(self.name)
    }

    /// Works on what `queue` names until the context stops.
    async fn run<K>(
        self,
        context: &Context,
        queue: Queue<Key>,
        objects: Informer<K>,
        is_used: impl Fn(&K) -> bool + Send + Sync + 'static,
    ) where
        K: Metadata<Ty = ObjectMeta> + DeserializeOwned + Clone + Serialize + Send + Sync + 'static,
    {
        let shared = Arc::new((context.executor(self.controller), objects, is_used));
        let stop = context.stop.clone();
        driver::run(self.name, queue, WORKERS, stop, move |key| {
            let shared = Arc::clone(&shared);
            async move {
                let (executor, objects, is_used) = &*shared;
                let Some(object) = objects.get_key(&key) else {
                    return Ok::<_, Error>(Next::Done);
                };
                let action = plan(&*object, self.finalizer, || is_used(&object));
                let done = executor.apply(action.into_iter().collect(), None);
                done.await.map(|()| Next::Done)
            }
        })
        .await;
    }
}

/// Adds the finalizer to what lives, takes it from what goes and is not used.
pub fn plan<K: Metadata<Ty = ObjectMeta> + Clone + Serialize>(
    object: &K,
    finalizer: &str,
    used: impl FnOnce() -> bool,
) -> Option<Action> {
    let meta = object.metadata();
    let all = meta.finalizers.clone().unwrap_or_default();
    let protected = all.iter().any(|f| f == finalizer);
    let wanted: Vec<String> = match (meta.terminating(), protected) {
        (false, false) => all.into_iter().chain([finalizer.to_owned()]).collect(),
        (true, true) if !used() => all.into_iter().filter(|f| f != finalizer).collect(),
        _ => return None,
    };
    let mut updated = object.clone();
    updated.metadata_mut().finalizers = Some(wanted).filter(|wanted| !wanted.is_empty());
    Some(Write::update(&updated).into())
}

/// The claims a pod uses.
fn claims_of(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter());
    volumes.map(|v| v.claim(pod.metadata.name())).collect()
}

fn by_claim(pod: &Pod) -> Vec<String> {
    claims_of(pod)
        .into_iter()
        .map(|claim| format!("{}/{claim}", pod.metadata.ns()))
        .collect()
}

/// Runs the three controllers until their context stops.
pub async fn run(context: Context) {
    tokio::join!(
        claims(context.acting_as(CLAIMS.controller)),
        volumes(context.acting_as(VOLUMES.controller)),
        classes::run(context.acting_as(classes::CLASSES.controller))
    );
}

async fn claims(context: Context) {
    let claims = context.factory.informer::<PersistentVolumeClaim>();
    let pods = context.factory.informer::<Pod>();
    pods.add_index("claim", by_claim);
    let queue = CLAIMS.queue();
    queue_self(&claims, &queue);
    let adding = queue.clone();
    pods.on_event(move |event| {
        let pod = event.object();
        if matches!(event, Event::Deleted(_)) || pod::is_finished(pod) {
            claims_of(pod)
                .iter()
                .for_each(|claim| adding.add(Key::new(pod.metadata.ns(), claim)));
        }
    });
    claims.synced().await;
    pods.synced().await;
    let used = move |claim: &PersistentVolumeClaim| is_used(&pods, claim);
    CLAIMS.run(&context, queue, claims, used).await;
}

/// Pods that wait for a node do not use anything yet, and finished ones no longer.
fn is_used(pods: &Informer<Pod>, claim: &PersistentVolumeClaim) -> bool {
    let key = format!("{}/{}", claim.metadata.ns(), claim.metadata.name());
    let users = pods.indexed("claim", &key);
    users
        .iter()
        .any(|p| !pod::node(p).is_empty() && !pod::is_finished(p))
}

async fn volumes(context: Context) {
    let volumes = context.factory.informer::<PersistentVolume>();
    let queue = VOLUMES.queue();
    queue_self(&volumes, &queue);
    volumes.synced().await;
    VOLUMES.run(&context, queue, volumes, is_bound).await;
}

fn is_bound(volume: &PersistentVolume) -> bool {
    volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound")
}
