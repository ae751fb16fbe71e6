//! Which objects a controller owns: adoption of matching orphans, release of those that no longer match.

use std::sync::Arc;

use corten_client::Object;
use corten_client::object::MetaExt;
use corten_client::selector::Selector;
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};

use super::action::Write;

/// The outcome of claiming.
pub struct Claim<K> {
    pub owned: Vec<Arc<K>>,
    /// To be adopted, once a fresh read has shown that the owner still lives.
    pub adopt: Vec<Write>,
    pub release: Vec<Write>,
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
    K: Object + Metadata<Ty = ObjectMeta>,
{
    let mut claim = Claim {
        owned: Vec::new(),
        adopt: Vec::new(),
        release: Vec::new(),
    };
    for object in candidates {
        let meta = object.meta();
        let matches = selector.matches(meta.labels.as_ref());
        match meta.controller() {
            Some(current) if current.uid != owner.uid => {}
            Some(_) if matches => claim.owned.push(object),
            Some(_) if owner_terminating => {}
            Some(_) => claim
                .release
                .push(Write::patch(&*object, released(meta, &owner.uid))),
            None if !matches || owner_terminating || meta.terminating() || !adoptable(&object) => {}
            None => {
                claim.adopt.push(Write::patch(&*object, adopted(meta, owner)));
                claim.owned.push(object);
            }
        }
    }
    claim
}

fn adopted(meta: &ObjectMeta, owner: &OwnerReference) -> Value {
    let mut owners = meta.owner_references.clone().unwrap_or_default();
    owners.push(owner.clone());
    json!({"metadata": {"uid": meta.uid(), "ownerReferences": owners}})
}

fn released(meta: &ObjectMeta, owner: &str) -> Value {
    let owners: Vec<_> = meta
        .owner_references
        .iter()
        .flatten()
        .filter(|o| o.uid != owner)
        .collect();
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
