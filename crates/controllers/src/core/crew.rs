//! The pods of a controller that only counts them: what ReplicaSets and ReplicationControllers start from.

use std::sync::Arc;

use corten_client::Pod;
use corten_client::object::MetaExt;
use corten_client::selector::Selector;
use corten_client::{Error, Informer, Key, Object};
use k8s_openapi::Metadata;

use super::{Executor, Expectations, claim, pod};

/// The pods of one owner.
pub struct Crew {
    /// Neither finished nor going away; adoptees included.
    pub active: Vec<Arc<Pod>>,
    /// How many are going away.
    pub terminating: usize,
    /// Whether all deletions the owner asked for are seen.
    pub settled: bool,
}

/// Finds, adopts and releases the pods of `owner`. `pods` needs the indexes `controller` and `orphans`.
///
/// # Errors
/// When an adoption or release fails.
pub async fn crew<O: Object + Metadata<Ty: MetaExt>>(
    executor: &Executor,
    expectations: &Expectations,
    pods: &Informer<Pod>,
    owner: &O,
    selector: &Selector,
) -> Result<Crew, Error> {
    let meta = owner.metadata();
    let own = pods.indexed("controller", meta.uid());
    let settled = expectations.gone(&Key::of(owner), &own);
    let terminating = own.iter().filter(|p| pod::is_terminating(p)).count();
    let candidates = own.into_iter().chain(pods.indexed("orphans", meta.ns()));
    let candidates = candidates.filter(|p| pod::is_active(p));
    let active = claim::take(executor, None, owner, selector, candidates, |_| true, None).await?;
    Ok(Crew {
        active,
        terminating,
        settled,
    })
}
