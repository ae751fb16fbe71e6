//! The ResourceQuota controller: what a namespace uses of what it may. Admission counts up; this counts afresh when
//! something is released, and when a quota changes. Upstream: pkg/controller/resourcequota.

mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corten_client::Pod;
use corten_client::driver::{self, Next};
use corten_client::object::{MetaExt, path};
use corten_client::{Caller, Error, Event, Informer, Key, Object, Partial, Queue, watch};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, ReplicationController, ResourceQuota, ResourceQuotaStatus, Secret,
    Service,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

pub use usage::{Counted, measure};

use crate::core::discovery::served;
use crate::core::{Context, Executor, Write, pod};

const WORKERS: usize = 5;
/// After a limit was first written to a status, it is counted once more: until then admission let in what it did not count.
const SETTLED: Duration = Duration::from_secs(1);

struct Controller {
    executor: Executor,
    quotas: Informer<ResourceQuota>,
    pods: Informer<Pod>,
    services: Informer<Service>,
    claims: Informer<PersistentVolumeClaim>,
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let quotas = context.factory.informer::<ResourceQuota>();
    let pods = context.factory.informer::<Pod>();
    let services = context.factory.informer::<Service>();
    let claims = context.factory.informer::<PersistentVolumeClaim>();
    let queue: Queue<Key> = Queue::new("resource_quota");
    queue_changed(&quotas, &queue);
    queue_released(&quotas, &pods, &queue, |old, new| {
        pod::is_finished(old) != pod::is_finished(new)
    });
    queue_released(&quotas, &services, &queue, |old, new| old.spec != new.spec);
    queue_released(&quotas, &claims, &queue, |old, new| old.spec != new.spec);
    queue_deleted(&context, &quotas, &queue);
    quotas.synced().await;
    pods.synced().await;
    services.synced().await;
    claims.synced().await;
    let executor = context.executor("resourcequota-controller");
    let this = Arc::new(Controller {
        executor,
        quotas,
        pods,
        services,
        claims,
    });
    driver::run(
        "resource_quota",
        queue,
        WORKERS,
        context.stop.clone(),
        move |key| {
            let this = Arc::clone(&this);
            async move { this.sync(&key).await }
        },
    )
    .await;
}

/// New quotas, those that limit something else now, and those whose status says another limit than they have (upstream
/// finds that out every five minutes). What admission counts in a status must not be counted again: the object it made
/// room for is not stored yet.
fn queue_changed(quotas: &Informer<ResourceQuota>, queue: &Queue<Key>) {
    let queue = queue.clone();
    quotas.on_event(move |event| match &event {
        Event::Updated { old, new } if old.spec == new.spec && !is_misstated(new) => {}
        other => queue.add(Key::of(&**other.object())),
    });
}

fn is_misstated(quota: &ResourceQuota) -> bool {
    let limits = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let said = quota.status.as_ref().and_then(|status| status.hard.as_ref());
    limits != said
}

/// Kinds of which only the number counts, and whose objects the process watches anyway.
fn queue_deleted(context: &Context, quotas: &Informer<ResourceQuota>, queue: &Queue<Key>) {
    let factory = &context.factory;
    queue_released(
        quotas,
        &factory.informer::<ReplicationController>(),
        queue,
        |_, _| false,
    );
    queue_released(quotas, &factory.informer::<Deployment>(), queue, |_, _| false);
    queue_released(quotas, &factory.informer::<ReplicaSet>(), queue, |_, _| false);
    queue_released(quotas, &factory.informer::<StatefulSet>(), queue, |_, _| false);
    queue_released(quotas, &factory.informer::<Job>(), queue, |_, _| false);
    queue_released(quotas, &factory.informer::<CronJob>(), queue, |_, _| false);
    // These are many and large, and nobody here reads them: their metadata goes by and is not kept.
    for path in [path::<Secret>("", "", ""), path::<ConfigMap>("", "", "")] {
        let source = watch::Source::metadata(path);
        let (quotas, queue, client) = (quotas.clone(), queue.clone(), factory.client().clone());
        tokio::spawn(watch::run::<Partial>(
            client,
            source,
            context.stop.clone(),
            move |delta| {
                if let watch::Delta::Delete(gone) = delta {
                    let found = quotas.in_namespace(gone.metadata.ns());
                    found.iter().for_each(|quota| queue.add(Key::of(&**quota)));
                }
            },
        ));
    }
}

/// What is deleted, or changed so that it may count less, concerns the quotas of its namespace.
fn queue_released<K: Object>(
    quotas: &Informer<ResourceQuota>,
    informer: &Informer<K>,
    queue: &Queue<Key>,
    counts_less: fn(&K, &K) -> bool,
) {
    let (quotas, queue) = (quotas.clone(), queue.clone());
    informer.on_event(move |event| {
        let released = match &event {
            Event::Added(_) => false,
            Event::Updated { old, new } => counts_less(old, new),
            Event::Deleted(_) => true,
        };
        if released {
            let found = quotas.in_namespace(event.object().meta().ns());
            found.iter().for_each(|quota| queue.add(Key::of(&**quota)));
        }
    });
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let Some(quota) = self.quotas.get_key(key) else {
            return Ok(Next::Done);
        };
        let hard = quota
            .spec
            .as_ref()
            .and_then(|s| s.hard.clone())
            .unwrap_or_default();
        let counted = Counted {
            pods: self.pods.in_namespace(key.ns()),
            services: self.services.in_namespace(key.ns()),
            claims: self.claims.in_namespace(key.ns()),
            others: others(&self.executor.caller, key.ns(), hard.keys()).await?,
        };
        let used = measure(quota.spec.as_ref(), &counted);
        let status = ResourceQuotaStatus {
            hard: Some(hard),
            used: Some(used),
        };
        if same(quota.status.as_ref(), &status) {
            return Ok(Next::Done);
        }
        let updated = ResourceQuota {
            status: Some(status),
            ..(*quota).clone()
        };
        self.executor
            .apply(vec![Write::status(&updated).into()], None)
            .await?;
        Ok(match is_misstated(&quota) {
            true => Next::After(SETTLED),
            false => Next::Done,
        })
    }
}

/// Amounts that are written differently may be the same.
fn same(old: Option<&ResourceQuotaStatus>, new: &ResourceQuotaStatus) -> bool {
    let amounts = |m: &Option<BTreeMap<String, Quantity>>| -> BTreeMap<String, i128> {
        m.iter()
            .flatten()
            .map(|(k, v)| (k.clone(), usage::nanos(v)))
            .collect()
    };
    old.is_some_and(|old| {
        amounts(&old.hard) == amounts(&new.hard) && amounts(&old.used) == amounts(&new.used)
    })
}

/// Numbers of objects for `count/…` and the older names of counted kinds.
async fn others(
    caller: &Caller,
    ns: &str,
    names: impl Iterator<Item = &String>,
) -> Result<BTreeMap<String, i64>, Error> {
    let mut counts = BTreeMap::new();
    let mut kinds = None;
    for name in names {
        let Some(resource) = usage::counted_kind(name) else {
            continue;
        };
        if kinds.is_none() {
            kinds = Some(served(caller).await?);
        }
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        let found = kinds
            .iter()
            .flatten()
            .find(|s| s.plural == plural && s.group == group && s.namespaced);
        if let Some(kind) = found {
            let total = caller.metadata(&kind.path(ns, "")).await?.len();
            counts.insert(name.clone(), i64::try_from(total).unwrap_or(i64::MAX));
        }
    }
    Ok(counts)
}
