//! What the fake server holds and how it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

/// One write the server accepted, in order: what golden transcripts print.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    pub method: String,
    pub path: String,
    pub body: Value,
}

/// What a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `apps/v1`, or `v1`.
    pub api_version: String,
    pub plural: String,
    pub ns: String,
    pub name: String,
    pub sub: String,
}

/// A refusal: code, reason, message.
pub(super) type Refusal = (u16, &'static str, String);

/// One step of what the server holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub revision: u64,
    pub plural: String,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub kind: &'static str,
    pub object: Value,
}

pub(super) struct Watcher {
    pub id: u64,
    pub plural: String,
    pub ns: String,
    /// The door it came through.
    pub door: usize,
    pub sender: mpsc::UnboundedSender<Result<bytes::Bytes, std::io::Error>>,
}

#[derive(Default)]
pub(super) struct State {
    pub revision: u64,
    pub compacted: u64,
    /// plural → (namespace, name) → object.
    pub objects: BTreeMap<String, BTreeMap<(String, String), Value>>,
    /// Names of namespaces that were there once.
    pub gone: BTreeSet<String>,
    pub log: Vec<Change>,
    pub watchers: Vec<Watcher>,
    pub writes: Vec<Write>,
    /// Writes still to be refused with a 500.
    pub failing: u32,
    /// Writes still to be done and then answered with a 500.
    pub losing: u32,
    /// Whose events are held back: a door (or any) and a resource (or any).
    pub holding: Vec<(Option<usize>, Option<String>)>,
    pub delayed: Vec<(u64, bytes::Bytes)>,
    pub watcher_ids: u64,
    /// Writes each door still does before it goes dead.
    pub doors: Vec<Option<u32>>,
    /// What the time of the next request comes from.
    pub requests: u64,
    changes: Vec<Change>,
    names: u64,
}

/// The server. Cheap to clone; all clones hold the same objects.
#[derive(Clone, Default)]
pub struct Fake(pub(super) Arc<Mutex<State>>);

impl Fake {
    /// Every object of a resource, in key order.
    #[must_use]
    pub fn list(&self, plural: &str) -> Vec<Value> {
        self.0
            .lock()
            .objects
            .get(plural)
            .into_iter()
            .flat_map(|o| o.values().cloned())
            .collect()
    }

    #[must_use]
    pub fn get(&self, plural: &str, ns: &str, name: &str) -> Option<Value> {
        self.0
            .lock()
            .objects
            .get(plural)?
            .get(&(ns.into(), name.into()))
            .cloned()
    }

    /// Creates or replaces an object as some other client would.
    pub fn put(&self, plural: &str, mut object: Value) -> Value {
        let mut state = self.0.lock();
        let key = key_of(&object);
        let known = state.objects.get(plural).and_then(|o| o.get(&key)).cloned();
        match known {
            Some(old) => object["metadata"]["uid"] = old["metadata"]["uid"].clone(),
            None => state.born(&mut object),
        }
        state.store(plural, &key, object)
    }

    /// Changes an object in place; nothing happens if it is not there.
    pub fn edit(&self, plural: &str, ns: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.0.lock();
        let key = (ns.to_owned(), name.to_owned());
        let Some(mut object) = state.objects.get(plural).and_then(|o| o.get(&key)).cloned() else {
            return;
        };
        change(&mut object);
        state.store(plural, &key, object);
    }

    /// Removes an object at once, whatever its finalizers.
    pub fn remove(&self, plural: &str, ns: &str, name: &str) {
        self.0.lock().remove(plural, &(ns.into(), name.into()));
    }

    /// The writes since the last call.
    #[must_use]
    pub fn take_writes(&self) -> Vec<Write> {
        std::mem::take(&mut self.0.lock().writes)
    }

    /// Breaks every watch; clients resume.
    pub fn break_watches(&self) {
        self.0.lock().watchers.clear();
    }

    /// Breaks every watch and forgets history; clients must list again.
    pub fn expire_watches(&self) {
        let mut state = self.0.lock();
        state.compacted = state.revision;
        state.log.clear();
        state.watchers.clear();
    }

    /// Refuses the next writes with a 500.
    pub fn fail_writes(&self, count: u32) {
        self.0.lock().failing = count;
    }

    /// Does the next writes but answers them with a 500.
    pub fn lose_answers(&self, count: u32) {
        self.0.lock().losing = count;
    }

    /// Every change since the last call, in order.
    #[must_use]
    pub fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut self.0.lock().changes)
    }

    /// Holds all events back until [`Fake::release_events`]: what clients see then is old.
    pub fn hold_events(&self) {
        self.0.lock().holding.push((None, None));
    }

    /// Holds back the events of one resource, so that they come after later ones of others.
    pub fn hold_events_of(&self, plural: &str) {
        self.0.lock().holding.push((None, Some(plural.to_owned())));
    }

    /// Delivers what was held back.
    pub fn release_events(&self) {
        let mut state = self.0.lock();
        state.holding.clear();
        for (id, line) in std::mem::take(&mut state.delayed) {
            if let Some(watcher) = state.watchers.iter().find(|w| w.id == id) {
                let _ = watcher.sender.send(Ok(line));
            }
        }
    }

    /// A way in of its own, for one of several processes.
    #[must_use]
    pub fn door(&self) -> Door {
        let mut state = self.0.lock();
        state.doors.push(None);
        Door {
            fake: self.clone(),
            id: state.doors.len(),
        }
    }
}

/// How one process reaches the server, and how it is cut off.
#[derive(Clone)]
pub struct Door {
    pub(super) fake: Fake,
    /// 0 is [`Fake::client`], which is never cut off.
    pub(super) id: usize,
}

impl Door {
    /// Does this many more writes, never answers the last, and no request after it: a process that dies in between.
    pub fn die_after(&self, writes: u32) {
        self.fake.0.lock().doors[self.id - 1] = Some(writes);
    }

    /// Whether it has come to that.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.left() == Some(0)
    }

    pub(super) fn left(&self) -> Option<u32> {
        let state = self.fake.0.lock();
        state.doors.get(self.id.wrapping_sub(1)).copied().flatten()
    }

    /// Holds back the events of one resource, or of all, for this process only.
    pub fn hold_events(&self, plural: Option<&str>) {
        let held = (Some(self.id), plural.map(str::to_owned));
        self.fake.0.lock().holding.push(held);
    }
}

impl State {
    pub fn born(&mut self, object: &mut Value) {
        self.names += 1;
        let n = self.names;
        let meta = &mut object["metadata"];
        meta["uid"] = json!(format!("uid-{n}"));
        if meta.get("creationTimestamp").is_none_or(Value::is_null) {
            meta["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        meta["generation"] = json!(1);
        if meta["name"].as_str().unwrap_or_default().is_empty() {
            let prefix = meta["generateName"].as_str().unwrap_or_default().to_owned();
            meta["name"] = json!(format!("{prefix}{n:05}"));
        }
    }

    pub fn store(&mut self, plural: &str, key: &(String, String), mut object: Value) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let objects = self.objects.entry(plural.to_owned()).or_default();
        let kind = if objects.insert(key.clone(), object.clone()).is_some() {
            "MODIFIED"
        } else {
            "ADDED"
        };
        self.publish(plural, kind, object.clone());
        object
    }

    pub fn remove(&mut self, plural: &str, key: &(String, String)) -> Option<Value> {
        let mut object = self.objects.get_mut(plural)?.remove(key)?;
        if plural == "namespaces" {
            self.gone.insert(key.1.clone());
        }
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.publish(plural, "DELETED", object.clone());
        Some(object)
    }

    fn publish(&mut self, plural: &str, kind: &'static str, object: Value) {
        let line = line(kind, &object);
        let ns = object["metadata"]["namespace"].as_str().unwrap_or_default();
        for watcher in &self.watchers {
            if watcher.plural == plural && (watcher.ns.is_empty() || watcher.ns == ns) {
                let held = self.holding.iter().any(|(door, of)| {
                    door.is_none_or(|d| d == watcher.door) && of.as_deref().is_none_or(|of| of == plural)
                });
                // What follows something held back waits behind it.
                if held || self.delayed.iter().any(|(id, _)| *id == watcher.id) {
                    self.delayed.push((watcher.id, line.clone()));
                } else {
                    let _ = watcher.sender.send(Ok(line.clone()));
                }
            }
        }
        let change = Change {
            revision: self.revision,
            plural: plural.into(),
            kind,
            object,
        };
        self.changes.push(change.clone());
        self.log.push(change);
    }
}

pub(super) fn line(kind: &str, object: &Value) -> bytes::Bytes {
    bytes::Bytes::from(format!("{}\n", json!({"type": kind, "object": object})))
}

pub(super) fn key_of(object: &Value) -> (String, String) {
    let part = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    (part("namespace"), part("name"))
}

/// RFC 7386; what the fake makes of strategic patches too.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else { return };
    for (name, value) in fields {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().cloned().unwrap_or_default();
            if let Some(items) = map.get_mut(list).and_then(Value::as_array_mut) {
                items.retain(|i| !gone.contains(i));
            }
            continue;
        }
        if value.is_null() {
            map.remove(name);
        } else if name == "conditions" {
            merge_conditions(map.entry(name.clone()).or_insert(Value::Null), value);
        } else {
            merge(map.entry(name.clone()).or_insert(Value::Null), value);
            drop_markers(map.get_mut(name));
        }
    }
}

/// Conditions merge by their type, as their kinds declare.
fn merge_conditions(target: &mut Value, patch: &Value) {
    let mut list = target.as_array().cloned().unwrap_or_default();
    for item in patch.as_array().into_iter().flatten() {
        let known = list.iter_mut().find(|c| c["type"] == item["type"]);
        if item["$patch"] == "delete" {
            list.retain(|c| c["type"] != item["type"]);
        } else if let Some(known) = known {
            merge(known, item);
        } else {
            list.push(item.clone());
        }
    }
    *target = Value::Array(list);
}

/// `$patch: replace` in a list says what this fake does anyway.
fn drop_markers(target: Option<&mut Value>) {
    if let Some(Value::Array(list)) = target {
        list.retain(|item| item.get("$patch").is_none());
    }
}
