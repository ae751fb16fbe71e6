//! What a controller wrote and its cache does not show yet. Planning again before it does would create twice.
//!
//! Upstream counts the creations and deletions it expects to see. Revisions are ordered (KEP-5504), so here a key simply
//! waits until the cache has reached the revision of its last write, and until every pod it deleted is seen going.

use std::collections::{HashMap, HashSet};

use corten_client::Key;
use corten_client::object::MetaExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;

#[derive(Default)]
struct Pending {
    /// Highest revision written, by resource.
    revisions: HashMap<String, u64>,
    deleted: HashSet<String>,
}

/// What is outstanding, by key. Bounded by the keys in work.
#[derive(Default)]
pub struct Expectations(Mutex<HashMap<Key, Pending>>);

impl Expectations {
    /// Remembers a write of `key` as the server answered it; `deleted` is the uid if it was a deletion.
    pub fn wrote(&self, key: &Key, deleted: Option<&str>, plural: &str, meta: &ObjectMeta) {
        let mut pending = self.0.lock();
        let pending = pending.entry(key.clone()).or_default();
        if let Some(uid) = deleted {
            pending.deleted.insert(uid.to_owned());
        } else {
            let revision = pending.revisions.entry(plural.to_owned()).or_default();
            *revision = meta.revision().max(*revision);
        }
    }

    /// Whether the cache of `plural`, which is at `revision`, shows everything `key` wrote there. `live` tells whether
    /// it still holds a uid that is not terminating.
    pub fn satisfied(&self, key: &Key, plural: &str, revision: u64, live: impl Fn(&str) -> bool) -> bool {
        let mut all = self.0.lock();
        let Some(pending) = all.get_mut(key) else {
            return true;
        };
        pending.deleted.retain(|uid| live(uid));
        if pending
            .revisions
            .get(plural)
            .is_some_and(|wanted| *wanted <= revision)
        {
            pending.revisions.remove(plural);
        }
        let waiting = pending.revisions.contains_key(plural) || !pending.deleted.is_empty();
        if !waiting && pending.revisions.is_empty() {
            all.remove(key);
        }
        !waiting
    }

    /// Forgets a key whose object is gone.
    pub fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_waits_for_its_own_writes() {
        let (expectations, key) = (Expectations::default(), Key::new("a", "b"));
        let meta = |rv: &str, uid: &str| ObjectMeta {
            resource_version: Some(rv.into()),
            uid: Some(uid.into()),
            ..Default::default()
        };
        expectations.wrote(&key, None, "pods", &meta("7", "u1"));
        assert!(!expectations.satisfied(&key, "pods", 6, |_| true));
        expectations.wrote(&key, Some("u0"), "pods", &meta("5", "u0"));
        assert!(!expectations.satisfied(&key, "pods", 7, |_| true));
        assert!(expectations.satisfied(&key, "pods", 7, |_| false));
        assert!(expectations.satisfied(&Key::new("a", "c"), "pods", 0, |_| true));
    }
}
