//! What a controller wrote and its cache does not show yet. Planning again before it does would create twice.
//!
//! Upstream counts the creations and deletions it expects to see. Revisions are ordered (KEP-5504), so here a key simply
//! waits until the cache has reached the revision of its last write, and until every pod it deleted is seen going. A
//! creation whose answer was lost is looked for at the server before anything else is created.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use corten_client::object::MetaExt;
use corten_client::watch::encode;
use corten_client::{Caller, Error, Informer, Key, Object};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use serde::Deserialize;

use super::action::Write;

/// When a key that waits for its caches is looked at again at the latest. What brings them up to date wakes it as a rule; a
/// new list may do so without naming anything of the key, when what was written is gone again.
pub const LAGGING: Duration = Duration::from_secs(2);

/// A cache that says up to which revision it is complete.
pub trait Shown: Sync {
    fn plural(&self) -> &'static str;
    fn revision(&self) -> u64;
}

impl<K: Object + k8s_openapi::Resource> Shown for Informer<K> {
    fn plural(&self) -> &'static str {
        K::URL_PATH_SEGMENT
    }
    fn revision(&self) -> u64 {
        Informer::revision(self)
    }
}

/// Where an object may be that was perhaps created.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Lost {
    plural: String,
    /// A list that holds it.
    list: String,
    /// The uid of its controller.
    owner: String,
}

#[derive(Default)]
struct Pending {
    /// Highest revision written, by resource.
    revisions: HashMap<String, u64>,
    deleted: HashSet<String>,
    lost: HashSet<Lost>,
}

/// What is outstanding, by key. Bounded by the keys in work.
#[derive(Default)]
pub struct Expectations {
    pending: Mutex<HashMap<Key, Pending>>,
    /// Keys whose last creations were many and all went well. Each is of an object that is scaled right now.
    steady: Mutex<HashSet<Key>>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: ObjectMeta,
}

impl Expectations {
    /// Remembers a write of `key` as the server answered it; `deleted` is the uid if it was a deletion.
    pub fn wrote(&self, key: &Key, deleted: Option<&str>, plural: &str, meta: &ObjectMeta) {
        let mut pending = self.pending.lock();
        let pending = pending.entry(key.clone()).or_default();
        match deleted {
            Some(uid) => drop(pending.deleted.insert(uid.to_owned())),
            None => pending.reach(plural, meta.revision()),
        }
    }

    /// Remembers a creation that failed in a way that does not tell whether it was done. Only objects whose name the
    /// server makes could be created twice.
    pub fn lost(&self, key: &Key, write: &Write, error: &Error) {
        let meta = &write.body["metadata"];
        let refused = (400..500).contains(&error.code());
        if refused || meta["name"].as_str().is_some_and(|n| !n.is_empty()) {
            return;
        }
        let owners = meta["ownerReferences"].as_array().into_iter().flatten();
        let Some(owner) = owners.into_iter().find_map(|o| o["uid"].as_str()) else {
            return;
        };
        let labels = meta["labels"].as_object().into_iter().flatten();
        let labels: Vec<_> = labels
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
            .collect();
        let lost = Lost {
            plural: write.plural.clone(),
            list: format!("{}?labelSelector={}", write.path, encode(&labels.join(","))),
            owner: owner.to_owned(),
        };
        self.pending
            .lock()
            .entry(key.clone())
            .or_default()
            .lost
            .insert(lost);
    }

    /// Whether the caches show everything `key` wrote to them. To be asked before the caches are read: what is read
    /// after it is at least as new.
    ///
    /// # Errors
    /// When the server cannot be asked what became of a lost creation.
    pub async fn shown(&self, caller: &Caller, key: &Key, caches: &[&dyn Shown]) -> Result<bool, Error> {
        let lost: Vec<Lost> = match self.pending.lock().get(key) {
            Some(pending) => pending.lost.iter().cloned().collect(),
            None => return Ok(true),
        };
        for lost in lost {
            let listed: Listed = caller.read(&lost.list).await?;
            let own = listed.items.iter().map(|i| &i.metadata);
            let newest = own
                .filter(|m| m.controlled_by(&lost.owner))
                .map(MetaExt::revision)
                .max();
            if let Some(pending) = self.pending.lock().get_mut(key) {
                pending.reach(&lost.plural, newest.unwrap_or(0));
                pending.lost.remove(&lost);
            }
        }
        let mut all = self.pending.lock();
        let Some(pending) = all.get_mut(key) else {
            return Ok(true);
        };
        let behind = |plural: &str, revision: u64| {
            caches
                .iter()
                .any(|c| c.plural() == plural && c.revision() < revision)
        };
        pending
            .revisions
            .retain(|plural, revision| behind(plural, *revision));
        let shown = pending.revisions.is_empty();
        if shown && pending.deleted.is_empty() {
            all.remove(key);
        }
        Ok(shown)
    }

    /// Whether everything `key` deleted is gone or going, as far as the objects it owns in the cache tell.
    pub fn gone<K: Object>(&self, key: &Key, own: &[Arc<K>]) -> bool {
        let mut all = self.pending.lock();
        let Some(pending) = all.get_mut(key) else {
            return true;
        };
        if pending.deleted.is_empty() {
            return true;
        }
        let live: HashSet<&str> = own
            .iter()
            .map(|o| o.meta())
            .filter(|meta| !meta.terminating())
            .map(MetaExt::uid)
            .collect();
        pending.deleted.retain(|uid| live.contains(uid.as_str()));
        pending.deleted.is_empty()
    }

    /// The last creations of `key` were many and all went well.
    pub fn set_steady(&self, key: &Key) {
        self.steady.lock().insert(key.clone());
    }

    /// Whether [`Expectations::set_steady`] was said of the key since this was last asked.
    pub fn take_steady(&self, key: &Key) -> bool {
        self.steady.lock().remove(key)
    }

    /// Forgets a key whose object is gone.
    pub fn forget(&self, key: &Key) {
        self.pending.lock().remove(key);
        self.steady.lock().remove(key);
    }
}

impl Pending {
    fn reach(&mut self, plural: &str, revision: u64) {
        let highest = self.revisions.entry(plural.to_owned()).or_default();
        *highest = revision.max(*highest);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use corten_client::fake::Fake;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    struct At(u64);

    impl Shown for At {
        fn plural(&self) -> &'static str {
            "pods"
        }
        fn revision(&self) -> u64 {
            self.0
        }
    }

    fn meta(rv: &str, uid: &str) -> ObjectMeta {
        ObjectMeta {
            resource_version: Some(rv.into()),
            uid: Some(uid.into()),
            ..Default::default()
        }
    }

    #[tokio::test]
    async fn a_key_waits_for_its_own_writes() {
        let (expectations, key) = (Expectations::default(), Key::new("a", "b"));
        let caller: Caller = Fake::default().client().into();
        let pod = |uid: &str| {
            Arc::new(Pod {
                metadata: meta("5", uid),
                ..Pod::default()
            })
        };
        expectations.wrote(&key, None, "pods", &meta("7", "u1"));
        assert!(!expectations.shown(&caller, &key, &[&At(6)]).await.unwrap());
        expectations.wrote(&key, Some("u0"), "pods", &meta("5", "u0"));
        assert!(expectations.shown(&caller, &key, &[&At(7)]).await.unwrap());
        assert!(!expectations.gone(&key, &[pod("u0")]));
        assert!(expectations.gone(&key, &[pod("u1")]));
        let other = Key::new("a", "c");
        assert!(expectations.shown(&caller, &other, &[&At(0)]).await.unwrap());
    }

    #[tokio::test]
    async fn a_lost_creation_is_looked_for() {
        let (expectations, key, fake) = (Expectations::default(), Key::new("a", "b"), Fake::default());
        let caller: Caller = fake.client().into();
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "generateName": "p-",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "b", "uid": "u",
                "controller": true}]}});
        let write = Write::create(&serde_json::from_value::<Pod>(pod.clone()).unwrap());
        expectations.lost(&key, &write, &Error::Other("no answer".into()));
        assert!(expectations.shown(&caller, &key, &[&At(0)]).await.unwrap());
        let stored = fake.put("pods", pod);
        expectations.lost(&key, &write, &Error::Other("no answer".into()));
        assert!(!expectations.shown(&caller, &key, &[&At(0)]).await.unwrap());
        let revision = stored["metadata"]["resourceVersion"].as_str().unwrap();
        let at = At(revision.parse().unwrap());
        assert!(expectations.shown(&caller, &key, &[&at]).await.unwrap());
    }
}
