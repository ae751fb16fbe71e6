//! The root CA publisher: every active namespace has the ConfigMap `kube-root-ca.crt`, by which pods verify the server.

use std::sync::Arc;

use corten_client::driver::{self, Next};
use corten_client::object::MetaExt;
use corten_client::{Event, Key, Queue};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::core::{Action, Context, Write};
use crate::service_account::is_active;

const WORKERS: usize = 2;
const NAME: &str = "kube-root-ca.crt";
const KEY: &str = "ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
const TEXT: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints \
    such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of \
    Kubernetes clusters.";

/// What a namespace lacks, given the bundle (PEM) and what it has.
#[must_use]
pub fn plan(namespace: &Namespace, current: Option<&ConfigMap>, bundle: &str) -> Vec<Action> {
    if !is_active(namespace) {
        return Vec::new();
    }
    let data = Some([(KEY.to_owned(), bundle.to_owned())].into());
    match current {
        None => {
            let metadata = ObjectMeta {
                name: Some(NAME.into()),
                namespace: namespace.metadata.name.clone(),
                annotations: Some([(DESCRIPTION.to_owned(), TEXT.to_owned())].into()),
                ..ObjectMeta::default()
            };
            vec![
                Write::create(&ConfigMap {
                    metadata,
                    data,
                    ..ConfigMap::default()
                })
                .into(),
            ]
        }
        Some(map)
            if map.data == data
                && map
                    .metadata
                    .annotation(DESCRIPTION)
                    .is_some_and(|d| !d.is_empty()) =>
        {
            Vec::new()
        }
        Some(map) => {
            let mut map = map.clone();
            map.data = data;
            map.metadata
                .annotations
                .get_or_insert_default()
                .insert(DESCRIPTION.into(), TEXT.into());
            vec![Write::update(&map).into()]
        }
    }
}

/// Runs the controller until its context stops.
pub async fn run(context: Context, bundle: String) {
    let namespaces = context.factory.informer::<Namespace>();
    // Only those: a cluster's other ConfigMaps are many and large.
    let query = format!("fieldSelector=metadata.name%3D{NAME}");
    let maps = context.factory.filtered::<ConfigMap>(&query);
    let queue: Queue<Key> = Queue::new("root-ca-cert-publisher");
    let adding = queue.clone();
    namespaces.on_event(move |event| adding.add(Key::of(&**event.object())));
    let adding = queue.clone();
    maps.on_event(move |event| {
        let meta = &event.object().metadata;
        if meta.name() == NAME && !matches!(event, Event::Added(_)) {
            adding.add(Key::new("", meta.ns()));
        }
    });
    namespaces.synced().await;
    maps.synced().await;
    let executor = Arc::new(context.executor("root-ca-certificate-publisher"));
    driver::run(
        "root-ca-cert-publisher",
        queue,
        WORKERS,
        context.stop.clone(),
        move |key| {
            let executor = Arc::clone(&executor);
            let current = maps.get(key.name(), NAME);
            let actions = namespaces
                .get_key(&key)
                .map(|ns| plan(&ns, current.as_deref(), &bundle))
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
