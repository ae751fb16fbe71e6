//! Who owns whom, over all objects of the cluster, and what each change of an object asks for. Upstream:
//! pkg/controller/garbagecollector/graph_builder.go.

use std::collections::{BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use corten_client::object::MetaExt;
use corten_client::pod::{Text, shared_owners};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// The finalizer of foreground deletion: dependents first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of orphaning: dependents are let go.
pub const ORPHAN: &str = "orphan";

/// What an object is.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Type {
    /// `apps/v1`.
    pub api_version: String,
    pub kind: String,
}

/// Where an object is, without its uid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    /// One for all objects of a watch.
    pub of: Arc<Type>,
    pub ns: Text,
    pub name: Box<str>,
}

impl Deref for Place {
    type Target = Type;
    fn deref(&self) -> &Type {
        &self.of
    }
}

impl Place {
    /// Where an owner of an object of `ns` should be.
    #[must_use]
    pub fn of_owner(owner: &OwnerReference, ns: &Text) -> Self {
        let of = Type {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
        };
        Self {
            of: Arc::new(of),
            ns: ns.clone(),
            name: owner.name.as_str().into(),
        }
    }
}

/// One object, or one that others say owns them.
#[derive(Debug, Clone)]
pub struct Node {
    pub place: Place,
    /// The same for all dependents of an owner that say the same of it.
    pub owners: Arc<[OwnerReference]>,
    /// Their uids, as the graph keeps them.
    pub dependents: BTreeSet<Arc<str>>,
    pub being_deleted: bool,
    /// Deleted in the foreground: it waits for its dependents.
    pub deleting_dependents: bool,
    pub orphaning: bool,
    /// Known only from owner references; nobody has seen it.
    pub is_virtual: bool,
}

impl Node {
    fn new(place: Place, owners: Arc<[OwnerReference]>, is_virtual: bool) -> Self {
        Self {
            place,
            owners,
            dependents: BTreeSet::new(),
            being_deleted: false,
            deleting_dependents: false,
            orphaning: false,
            is_virtual,
        }
    }

    /// Whether it keeps an owner that is deleted in the foreground from going.
    #[must_use]
    pub fn blocks(&self, owner: &str) -> bool {
        self.owners
            .iter()
            .any(|o| o.uid == owner && o.block_owner_deletion == Some(true))
    }
}

/// What has to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Whether the object may stay.
    Delete(String),
    /// Whether the object's dependents have been let go.
    Orphan(String),
}

/// Objects by uid. Bounded by what the cluster holds.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<Arc<str>, Node>,
}

impl Graph {
    #[must_use]
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// An object was seen in this state.
    pub fn observe(&mut self, place: Place, meta: &ObjectMeta) -> Vec<Task> {
        let uid = self.uid(meta.uid());
        let owners = shared_owners(meta.owners().to_vec());
        let has = |f: &str| meta.finalizers().iter().any(|x| x == f);
        let (orphaning, waiting) = (
            meta.terminating() && has(ORPHAN),
            meta.terminating() && has(FOREGROUND),
        );
        let fresh = || Node::new(place.clone(), Arc::default(), false);
        let node = self.nodes.entry(Arc::clone(&uid)).or_insert_with(fresh);
        let began = (orphaning && !node.orphaning, waiting && !node.deleting_dependents);
        let old = std::mem::replace(&mut node.owners, Arc::clone(&owners));
        node.place = place;
        node.is_virtual = false;
        node.being_deleted = meta.terminating();
        node.orphaning = orphaning;
        node.deleting_dependents = waiting;
        let mut tasks = Vec::new();
        self.link(&uid, &old, &owners, &mut tasks);
        if began.0 {
            tasks.push(Task::Orphan(uid.to_string()));
        }
        if began.1 {
            tasks.extend(self.dependents(&uid).into_iter().map(Task::Delete));
            tasks.push(Task::Delete(uid.to_string()));
        }
        tasks
    }

    /// The graph's own copy of a uid.
    fn uid(&self, uid: &str) -> Arc<str> {
        let known = self.nodes.get_key_value(uid);
        known.map_or_else(|| uid.into(), |(uid, _)| Arc::clone(uid))
    }

    /// Follows a change of owner references.
    fn link(
        &mut self,
        uid: &Arc<str>,
        old: &[OwnerReference],
        new: &[OwnerReference],
        tasks: &mut Vec<Task>,
    ) {
        let ns = self
            .nodes
            .get(uid)
            .map(|n| n.place.ns.clone())
            .unwrap_or_default();
        for owner in new {
            let known = self.nodes.contains_key(&*owner.uid);
            let owner_uid = self.uid(&owner.uid);
            let node = self
                .nodes
                .entry(owner_uid)
                .or_insert_with(|| Node::new(Place::of_owner(owner, &ns), Arc::default(), true));
            let fresh = node.dependents.insert(Arc::clone(uid));
            if !known {
                // Nobody has seen the owner: it is asked for, and if it is not there its dependents go.
                tasks.push(Task::Delete(owner.uid.clone()));
            } else if fresh && (node.being_deleted || node.is_virtual || misplaced(node, owner, &ns)) {
                tasks.push(Task::Delete(uid.to_string()));
            }
        }
        self.unlink(uid, old, new, tasks);
        let left = old.iter().any(|o| new.iter().all(|n| n.uid != o.uid));
        if left && !new.is_empty() {
            tasks.push(Task::Delete(uid.to_string()));
        }
    }

    /// Owners an object no longer has, or no longer blocks.
    fn unlink(&mut self, uid: &str, old: &[OwnerReference], new: &[OwnerReference], tasks: &mut Vec<Task>) {
        for owner in old {
            let current = new.iter().find(|o| o.uid == owner.uid);
            let released = owner.block_owner_deletion == Some(true)
                && current.is_none_or(|c| c.block_owner_deletion != Some(true));
            let Some(node) = self.nodes.get_mut(&*owner.uid) else {
                continue;
            };
            if current.is_none() {
                node.dependents.remove(uid);
            }
            if released && node.deleting_dependents {
                tasks.push(Task::Delete(owner.uid.clone()));
            }
            if current.is_none() && node.is_virtual && node.dependents.is_empty() {
                self.nodes.remove(&*owner.uid);
            }
        }
    }

    /// An object is gone.
    pub fn gone(&mut self, uid: &str) -> Vec<Task> {
        let Some(node) = self.nodes.remove(uid) else {
            return Vec::new();
        };
        let of = |uid: &Arc<str>| Task::Delete(uid.to_string());
        let mut tasks: Vec<Task> = node.dependents.iter().map(of).collect();
        for owner in node.owners.iter() {
            let Some(parent) = self.nodes.get_mut(&*owner.uid) else {
                continue;
            };
            parent.dependents.remove(uid);
            if parent.deleting_dependents {
                tasks.push(Task::Delete(owner.uid.clone()));
            }
            if parent.is_virtual && parent.dependents.is_empty() {
                self.nodes.remove(&*owner.uid);
            }
        }
        tasks
    }

    #[must_use]
    pub fn dependents(&self, uid: &str) -> Vec<String> {
        self.nodes
            .get(uid)
            .map(|n| n.dependents.iter().map(ToString::to_string).collect())
            .unwrap_or_default()
    }

    /// Dependents that keep an object deleted in the foreground from going.
    #[must_use]
    pub fn blocking(&self, uid: &str) -> Vec<(String, &Node)> {
        let all = self.dependents(uid).into_iter();
        all.filter_map(|d| self.nodes.get(&*d).filter(|n| n.blocks(uid)).map(|n| (d, n)))
            .collect()
    }

    /// All objects of a collection, to find those a restarted watch no longer names.
    pub fn of_kind<'a>(&'a self, api_version: &'a str, kind: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        let of = move |n: &Node| !n.is_virtual && n.place.api_version == api_version && n.place.kind == kind;
        self.nodes
            .iter()
            .filter(move |(_, n)| of(n))
            .map(|(uid, _)| &**uid)
    }
}

/// A reference to an owner that is somewhere else, or something else, than it says.
fn misplaced(node: &Node, owner: &OwnerReference, ns: &Text) -> bool {
    node.place.kind != owner.kind
        || *node.place.name != *owner.name
        || (!node.place.ns.is_empty() && node.place.ns != *ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(uid: &str, owners: &[(&str, bool)], finalizer: &str) -> ObjectMeta {
        let owners = owners.iter().map(|(uid, block)| OwnerReference {
            uid: (*uid).into(),
            kind: "K".into(),
            name: (*uid).into(),
            block_owner_deletion: Some(*block),
            ..Default::default()
        });
        ObjectMeta {
            uid: Some(uid.into()),
            name: Some(uid.into()),
            owner_references: Some(owners.collect()),
            finalizers: (!finalizer.is_empty()).then(|| vec![finalizer.into()]),
            deletion_timestamp: (!finalizer.is_empty())
                .then(|| crate::core::context::time(jiff::Timestamp::UNIX_EPOCH)),
            ..Default::default()
        }
    }

    fn place(name: &str) -> Place {
        let of = Type {
            kind: "K".into(),
            ..Type::default()
        };
        Place {
            of: Arc::new(of),
            name: name.into(),
            ..Place::default()
        }
    }

    #[test]
    fn an_unseen_owner_is_asked_for_and_its_end_concerns_dependents() {
        let mut graph = Graph::default();
        assert_eq!(
            graph.observe(place("d"), &meta("d", &[("o", true)], "")),
            [Task::Delete("o".into())]
        );
        assert_eq!(graph.observe(place("o"), &meta("o", &[], "")), []);
        assert_eq!(graph.gone("o"), [Task::Delete("d".into())]);
    }

    #[test]
    fn foreground_waits_for_blocking_dependents() {
        let mut graph = Graph::default();
        graph.observe(place("o"), &meta("o", &[], ""));
        graph.observe(place("d"), &meta("d", &[("o", true)], ""));
        graph.observe(place("e"), &meta("e", &[("o", false)], ""));
        let tasks = graph.observe(place("o"), &meta("o", &[], FOREGROUND));
        assert_eq!(tasks, ["d", "e", "o"].map(|u| Task::Delete(u.into())));
        assert_eq!(graph.blocking("o").len(), 1);
        assert_eq!(graph.gone("d"), [Task::Delete("o".into())]);
        assert!(graph.blocking("o").is_empty());
    }
}
