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

use crate::core::context::queue_self;
use crate::core::{Action, Context, Write, pod};

const WORKERS: usize = 2;
pub const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
pub const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";

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
    let claims_context = context.acting_as("pvc-protection-controller");
    tokio::join!(
        claims(claims_context),
        volumes(context.acting_as("pv-protection-controller")),
        classes::run(context.acting_as("volumeattributesclass-protection-controller"))
    );
}

async fn claims(context: Context) {
    let claims = context.factory.informer::<PersistentVolumeClaim>();
    let pods = context.factory.informer::<Pod>();
    pods.add_index("claim", by_claim);
    let queue: Queue<Key> = Queue::new("pvcprotection");
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
    let executor = Arc::new(context.executor("pvc-protection-controller"));
    driver::run(
        "pvcprotection",
        queue,
        WORKERS,
        context.stop.clone(),
        move |key| {
            let (executor, claims, pods) = (Arc::clone(&executor), claims.clone(), pods.clone());
            async move {
                let Some(claim) = claims.get_key(&key) else {
                    return Ok(Next::Done);
                };
                let action = plan(&*claim, CLAIM_FINALIZER, || is_used(&pods, &key));
                executor
                    .apply(action.into_iter().collect(), None)
                    .await
                    .map(|()| Next::Done)
            }
        },
    )
    .await;
}

/// Pods that wait for a node do not use anything yet, and finished ones no longer.
fn is_used(pods: &Informer<Pod>, claim: &Key) -> bool {
    let users = pods.indexed("claim", &format!("{}/{}", claim.ns(), claim.name()));
    users
        .iter()
        .any(|p| !pod::node(p).is_empty() && !pod::is_finished(p))
}

async fn volumes(context: Context) {
    let volumes = context.factory.informer::<PersistentVolume>();
    let queue: Queue<Key> = Queue::new("pvprotection");
    queue_self(&volumes, &queue);
    volumes.synced().await;
    let executor = Arc::new(context.executor("pv-protection-controller"));
    driver::run("pvprotection", queue, WORKERS, context.stop.clone(), move |key| {
        let (executor, volumes) = (Arc::clone(&executor), volumes.clone());
        async move {
            let Some(volume) = volumes.get_key(&key) else {
                return Ok::<_, Error>(Next::Done);
            };
            let bound = volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
            let action = plan(&*volume, VOLUME_FINALIZER, || bound);
            executor
                .apply(action.into_iter().collect(), None)
                .await
                .map(|()| Next::Done)
        }
    })
    .await;
}
