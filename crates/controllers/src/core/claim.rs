//! Which objects a controller owns: adoption of matching orphans, release of those that no longer match.
//! Upstream: pkg/controller/controller_ref_manager.go.

use std::sync::Arc;

use corten_client::object::{MetaExt, controller_ref};
use corten_client::selector::Selector;
use corten_client::{Error, Key, Object};
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use super::action::{Action, Write};
use super::{Executor, Expectations};

/// The outcome of claiming.
pub struct Claim<K> {
    pub owned: Vec<Arc<K>>,
    /// To be adopted, once a fresh read has shown that the owner still lives.
    pub adopt: Vec<Write>,
    pub release: Vec<Write>,
    /// What `release` is about, in its order.
    pub released: Vec<Arc<K>>,
}

/// Sorts candidates into those `owner` owns, should adopt, and should release.
pub fn claim<K>(
    owner: &OwnerReference,
    owner_terminating: bool,
    selector: &Selector,
    candidates: impl IntoIterator<Item = Arc<K>>,
    adoptable: impl Fn(&K) -> bool,
) -> Claim<K>
where
    K: Object + Metadata<Ty: MetaExt>,
{
    let mut claim = Claim {
        owned: Vec::new(),
        adopt: Vec::new(),
        release: Vec::new(),
        released: Vec::new(),
    };
    for object in candidates {
        let meta = object.meta();
        let matches = selector.matches(meta.labels());
        match meta.controller() {
            Some(current) if current.uid != owner.uid => {}
            Some(_) if matches => claim.owned.push(object),
            Some(_) if owner_terminating => {}
            Some(_) => {
                claim
                    .release
                    .push(Write::patch(&*object, released(meta, &owner.uid)));
                claim.released.push(object);
            }
            None if !matches || owner_terminating || meta.terminating() || !adoptable(&object) => {}
            None => {
                claim.adopt.push(Write::patch(&*object, adopted(meta, owner)));
                claim.owned.push(object);
            }
        }
    }
    claim
}

/// Claims for `owner`, writes what that takes, and returns what it owns. An owner the server no longer has, or has under
/// another uid, adopts nothing. Objects adopted get `finalizer` too, and lose it when they are released.
///
/// # Errors
/// When the owner cannot be read, or an adoption or release fails.
pub async fn take<O, K>(
    executor: &Executor,
    expectations: Option<&Expectations>,
    owner: &O,
    selector: &Selector,
    candidates: impl IntoIterator<Item = Arc<K>>,
    adoptable: impl Fn(&K) -> bool,
    finalizer: Option<&str>,
) -> Result<Vec<Arc<K>>, Error>
where
    O: Object + Metadata<Ty: MetaExt>,
    K: Object + Metadata<Ty: MetaExt>,
{
    let meta = owner.metadata();
    let reference = controller_ref(owner);
    let mut claimed = claim(&reference, meta.terminating(), selector, candidates, adoptable);
    if !claimed.adopt.is_empty() {
        // The cache may not know yet that this owner is gone and another has taken its name.
        let fresh: O = executor.caller.get(meta.ns(), meta.name()).await?;
        if fresh.meta().uid() != meta.uid() || fresh.meta().terminating() {
            claimed.adopt.clear();
            claimed.owned.retain(|o| o.meta().controlled_by(meta.uid()));
        }
    }
    if let Some(finalizer) = finalizer {
        for write in &mut claimed.adopt {
            let adoptee = claimed.owned.iter().find(|o| o.meta().uid() == write.uid);
            let before = adoptee.map(|o| o.meta().finalizers().to_vec());
            let mut all = before.unwrap_or_default();
            all.push(finalizer.to_owned());
            all.dedup();
            Arc::make_mut(&mut write.body)["metadata"]["finalizers"] = json!(all);
        }
    }
    if let Some(finalizer) = finalizer {
        for (write, object) in claimed.release.iter_mut().zip(&claimed.released) {
            let mut left = object.meta().finalizers().to_vec();
            left.retain(|known| known != finalizer);
            // As with owners: an empty list is written as none.
            let left = if left.is_empty() { Value::Null } else { json!(left) };
            Arc::make_mut(&mut write.body)["metadata"]["finalizers"] = left;
        }
    }
    let mut writes = claimed.adopt;
    writes.extend(claimed.release);
    if !writes.is_empty() {
        let key = Key::of(owner);
        let expectations = expectations.map(|e| (e, &key));
        executor
            .apply(vec![Action::Together(writes)], expectations)
            .await?;
    }
    Ok(claimed.owned)
}

fn adopted(meta: &impl MetaExt, owner: &OwnerReference) -> Value {
    let mut owners = meta.owners().to_vec();
    owners.push(owner.clone());
    json!({"metadata": {"uid": meta.uid(), "ownerReferences": owners}})
}

fn released(meta: &impl MetaExt, owner: &str) -> Value {
    let owners: Vec<_> = meta.owners().iter().filter(|o| o.uid != owner).collect();
    // A merge patch replaces lists; an empty one is written as none.
    let owners = if owners.is_empty() {
        Value::Null
    } else {
        json!(owners)
    };
    json!({"metadata": {"uid": meta.uid(), "ownerReferences": owners}})
}

/// Index value of objects without a controller: their namespace.
pub fn orphans<K: Object>(object: &K) -> Vec<String> {
    match object.meta().controller() {
        None => vec![object.meta().ns().to_owned()],
        Some(_) => Vec::new(),
    }
}
