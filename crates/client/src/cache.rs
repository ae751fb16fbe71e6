//! The cache behind an informer: objects by key, in order, and the indexes over them.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use crate::object::{MetaExt, Object};

/// `namespace/name` of an object; the namespace is empty for cluster-scoped ones.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    #[must_use]
    pub fn new(ns: &str, name: &str) -> Self {
        Self(format!("{ns}/{name}").into())
    }
    /// The key of an object.
    #[must_use]
    pub fn of<K: Object>(object: &K) -> Self {
        Self::new(object.meta().ns(), object.meta().name())
    }
    #[must_use]
    pub fn ns(&self) -> &str {
        self.0.split_once('/').map_or("", |(ns, _)| ns)
    }
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, name)| name)
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.trim_start_matches('/'))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The values under which an object is found in an index.
pub type IndexFn<K> = fn(&K) -> Vec<String>;

struct Index<K> {
    name: &'static str,
    values: IndexFn<K>,
    /// The objects themselves: reading a large group must not look up each.
    found: HashMap<String, BTreeMap<Key, Arc<K>>>,
}

impl<K> Index<K> {
    fn insert(&mut self, key: &Key, object: &Arc<K>) {
        for value in (self.values)(object) {
            let group = self.found.entry(value).or_default();
            group.insert(key.clone(), Arc::clone(object));
        }
    }

    fn remove(&mut self, key: &Key, object: &K) {
        for value in (self.values)(object) {
            self.leave(key, &value);
        }
    }

    fn leave(&mut self, key: &Key, value: &str) {
        if let Some(group) = self.found.get_mut(value) {
            group.remove(key);
            if group.is_empty() {
                self.found.remove(value);
            }
        }
    }

    /// Another state of an object that is in the index already.
    fn replace(&mut self, key: &Key, old: &K, new: &Arc<K>) {
        let (before, after) = ((self.values)(old), (self.values)(new));
        for value in before.iter().filter(|value| !after.contains(value)) {
            self.leave(key, value);
        }
        for value in after {
            let group = self.found.entry(value).or_default();
            group.insert(key.clone(), Arc::clone(new));
        }
    }
}

/// Objects of one kind. Bounded by what the server holds of that kind.
pub struct Cache<K> {
    items: BTreeMap<Key, Arc<K>>,
    indexes: Vec<Index<K>>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            indexes: Vec::new(),
        }
    }
}

impl<K: Object> Cache<K> {
    /// Puts an object in; returns what it replaces.
    pub fn insert(&mut self, key: &Key, object: Arc<K>) -> Option<Arc<K>> {
        let old = self.items.insert(key.clone(), Arc::clone(&object));
        for index in &mut self.indexes {
            match &old {
                Some(old) => index.replace(key, old, &object),
                None => index.insert(key, &object),
            }
        }
        old
    }

    pub fn remove(&mut self, key: &Key) -> Option<Arc<K>> {
        let old = self.items.remove(key)?;
        for index in &mut self.indexes {
            index.remove(key, &old);
        }
        Some(old)
    }

    /// Adds an index unless one of that name is there already.
    pub fn add_index(&mut self, name: &'static str, values: IndexFn<K>) {
        if self.indexes.iter().any(|i| i.name == name) {
            return;
        }
        let mut index = Index {
            name,
            values,
            found: HashMap::new(),
        };
        for (key, object) in &self.items {
            index.insert(key, object);
        }
        self.indexes.push(index);
    }

    #[must_use]
    pub fn get(&self, ns: &str, name: &str) -> Option<Arc<K>> {
        self.items.get(&Key::new(ns, name)).cloned()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All objects in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<K>)> {
        self.items.iter()
    }

    /// The objects of one namespace in name order.
    pub fn in_namespace<'a>(&'a self, ns: &str) -> impl Iterator<Item = &'a Arc<K>> + use<'a, K> {
        // '0' follows '/', so this range holds exactly the keys that start with "ns/".
        let (from, to) = (format!("{ns}/"), format!("{ns}0"));
        let range = (Bound::Included(from.as_str()), Bound::Excluded(to.as_str()));
        self.items.range::<str, _>(range).map(|(_, object)| object)
    }

    /// The objects an index holds under `value`. An index that was never added holds none.
    pub fn indexed<'a>(&'a self, name: &str, value: &str) -> impl Iterator<Item = &'a Arc<K>> + use<'a, K> {
        let index = self.indexes.iter().find(|i| i.name == name);
        debug_assert!(index.is_some(), "index {name} was never added");
        let group = index.and_then(|i| i.found.get(value));
        group.into_iter().flat_map(BTreeMap::values)
    }

    /// How many objects an index holds under `value`.
    #[must_use]
    pub fn indexed_len(&self, name: &str, value: &str) -> usize {
        let index = self.indexes.iter().find(|i| i.name == name);
        index.and_then(|i| i.found.get(value)).map_or(0, BTreeMap::len)
    }
}

/// Index by namespace-less owner: the uid of the controller.
pub fn by_controller<K: Object>(object: &K) -> Vec<String> {
    object
        .meta()
        .controller()
        .map(|o| o.uid.clone())
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn map(ns: &str, name: &str, kind: &str) -> Arc<ConfigMap> {
        let labels = Some([("kind".to_string(), kind.to_string())].into());
        let metadata = ObjectMeta {
            namespace: Some(ns.into()),
            name: Some(name.into()),
            labels,
            ..Default::default()
        };
        Arc::new(ConfigMap {
            metadata,
            ..Default::default()
        })
    }

    #[test]
    fn namespaces_and_indexes_follow_changes() {
        let mut cache = Cache::default();
        for (ns, name) in [("a", "1"), ("a", "2"), ("a-b", "1"), ("ab", "1")] {
            let object = map(ns, name, "x");
            cache.insert(&Key::of(&*object), object);
        }
        assert_eq!(cache.in_namespace("a").count(), 2);
        cache.add_index("kind", |m| {
            m.metadata.label("kind").map(str::to_owned).into_iter().collect()
        });
        assert_eq!(cache.indexed("kind", "x").count(), 4);
        cache.insert(&Key::new("a", "1"), map("a", "1", "y"));
        cache.remove(&Key::new("ab", "1"));
        assert_eq!(cache.indexed("kind", "x").count(), 2);
        assert_eq!(cache.indexed("kind", "y").count(), 1);
    }
}
