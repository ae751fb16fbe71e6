//! Applies and updates of several managers, in any order, against a model that holds each key's value and owners.

use std::collections::{BTreeMap, BTreeSet};

use corten_meta::GroupVersionKind;
use corten_schema::apply::{Write, apply, reset_fields, update};
use corten_schema::{Mode, normalize, type_of};
use proptest::prelude::*;
use serde_json::{Value, json};

type Data = BTreeMap<String, String>;

#[derive(Clone, Debug)]
enum Step {
    Apply {
        manager: &'static str,
        data: Data,
        force: bool,
    },
    Update {
        manager: &'static str,
        changes: BTreeMap<String, Option<String>>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let data = prop::collection::btree_map("[a-d]", "[0-2]", 0..4);
    let changes = prop::collection::btree_map("[a-d]", prop::option::of("[0-2]"), 0..3);
    let applier = prop::sample::select(vec!["one", "two", "three"]);
    let updater = prop::sample::select(vec!["four", "five"]);
    prop_oneof![
        3 => (applier, data, any::<bool>()).prop_map(|(manager, data, force)| Step::Apply { manager, data, force }),
        1 => (updater, changes).prop_map(|(manager, changes)| Step::Update { manager, changes }),
    ]
}

/// Values with their owners; a key without owners is not there.
#[derive(Default, Debug, PartialEq, Eq)]
struct Model(BTreeMap<String, (String, BTreeSet<&'static str>)>);

impl Model {
    /// False where it conflicts, and nothing happened.
    fn apply(&mut self, manager: &'static str, data: &Data, force: bool) -> bool {
        let conflicts = data.iter().any(|(key, value)| {
            let held = self.0.get(key);
            held.is_some_and(|(held, owners)| held != value && owners.iter().any(|owner| *owner != manager))
        });
        if conflicts && !force {
            return false;
        }
        for (key, (_, owners)) in &mut self.0 {
            if !data.contains_key(key) {
                owners.remove(manager);
            }
        }
        self.0.retain(|_, (_, owners)| !owners.is_empty());
        for (key, value) in data {
            self.set(manager, key, value);
        }
        true
    }

    /// A new value has one owner; the same value has one owner more.
    fn set(&mut self, manager: &'static str, key: &str, value: &str) {
        let (held, owners) = self.0.entry(key.to_owned()).or_default();
        if held != value {
            value.clone_into(held);
            owners.clear();
        }
        owners.insert(manager);
    }

    /// An update owns what it changes, and only that.
    fn update(&mut self, manager: &'static str, changes: &BTreeMap<String, Option<String>>) {
        for (key, value) in changes {
            match value {
                None => drop(self.0.remove(key)),
                Some(value) if self.0.get(key).is_some_and(|(held, _)| held == value) => {}
                Some(value) => self.set(manager, key, value),
            }
        }
    }
}

fn write<'a>(gvk: &'a GroupVersionKind, manager: &'a str) -> Write<'a> {
    Write {
        gvk,
        manager,
        subresource: "",
        now: "2026-01-01T00:00:00Z",
        reset: reset_fields(gvk, "", false),
    }
}

fn config(data: &Data) -> Value {
    let mut out = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    if !data.is_empty() {
        out["data"] = json!(data);
    }
    out
}

/// What the object says of its values and who owns them.
fn seen(object: &Value) -> Model {
    let mut out = Model::default();
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        out.0
            .insert(key.clone(), (value.as_str().unwrap().to_owned(), BTreeSet::new()));
    }
    for entry in object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let names = ["base", "one", "two", "three", "four", "five"];
        let manager = names.into_iter().find(|name| entry["manager"] == *name).unwrap();
        for field in entry["fieldsV1"]["f:data"].as_object().into_iter().flatten() {
            let Some(key) = field.0.strip_prefix("f:") else {
                continue;
            };
            let (_, owners) = out
                .0
                .get_mut(key)
                .unwrap_or_else(|| panic!("{manager} owns {key}, which is not there"));
            owners.insert(manager);
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_and_owners_are_the_models(steps in prop::collection::vec(step(), 1..12)) {
        let gvk = GroupVersionKind::new("", "v1", "ConfigMap");
        let id = type_of(&gvk).unwrap();
        let mut model = Model::default();
        let mut live: Option<Value> = None;
        // Something always stays: who made an empty member owns the member itself.
        let first = Step::Apply { manager: "base", data: [("z".to_owned(), "9".to_owned())].into(), force: false };
        for step in std::iter::once(first).chain(steps) {
            let next = match &step {
                Step::Apply { manager, data, force } => {
                    let agreed = model.apply(manager, data, *force);
                    let applied = apply(&write(&gvk, manager), live.as_ref(), &config(data), *force);
                    prop_assert_eq!(applied.is_ok(), agreed, "{:?}: {:?}", step, applied);
                    match applied {
                        Ok(next) => next,
                        Err(status) => {
                            prop_assert_eq!(status.code, 409);
                            continue;
                        }
                    }
                }
                Step::Update { manager, changes } => {
                    let Some(before) = &live else { continue };
                    model.update(manager, changes);
                    let mut next = before.clone();
                    let mut data: Data = serde_json::from_value(next["data"].clone()).unwrap_or_default();
                    for (key, value) in changes {
                        match value {
                            Some(value) => drop(data.insert(key.clone(), value.clone())),
                            None => drop(data.remove(key)),
                        }
                    }
                    match data.is_empty() {
                        true => drop(next.as_object_mut().unwrap().remove("data")),
                        false => next["data"] = json!(data),
                    }
                    update(&write(&gvk, manager), Some(before), &mut next);
                    next
                }
            };
            let mut next = next;
            normalize(id, &mut next, Mode::Strict).unwrap();
            next["metadata"]["uid"] = json!("u");
            prop_assert_eq!(&seen(&next), &model, "after {:?}", step);
            live = Some(next);
        }
    }
}
