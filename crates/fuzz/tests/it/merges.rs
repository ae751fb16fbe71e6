//! Merge patches, JSON patches and strategic merges of random documents against models that are easy to believe.

use std::collections::BTreeMap;

use corten_meta::GroupVersionKind;
use corten_meta::patch::{json_patch, merge_patch};
use corten_schema::{Mode, normalize, strategic, type_of};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Documents without nulls, which a merge patch cannot write.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z~/]{0,3}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab~/]{1,2}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// The merge patch that leads from one document to the other.
fn merge_between(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return to.clone();
    };
    let mut patch = Map::new();
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in to {
        match from.get(key) {
            Some(before) if before == value => {}
            Some(before) => drop(patch.insert(key.clone(), merge_between(before, value))),
            None => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    Value::Object(patch)
}

/// The JSON patch that leads from one document to the other, by whole members.
fn operations_between(from: &Value, to: &Value, path: &str, out: &mut Vec<Value>) {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match (from, to) {
        _ if from == to => out.push(json!({"op": "test", "path": path, "value": to})),
        (Value::Object(from), Value::Object(to)) => {
            for key in from.keys().filter(|key| !to.contains_key(*key)) {
                out.push(json!({"op": "remove", "path": format!("{path}/{}", escaped(key))}));
            }
            for (key, value) in to {
                let path = format!("{path}/{}", escaped(key));
                match from.get(key) {
                    Some(before) => operations_between(before, value, &path, out),
                    None => out.push(json!({"op": "add", "path": path, "value": value})),
                }
            }
        }
        (Value::Array(from), Value::Array(to)) if from.len() < to.len() && to.starts_with(from) => {
            for value in &to[from.len()..] {
                out.push(json!({"op": "add", "path": format!("{path}/-"), "value": value}));
            }
        }
        _ => out.push(json!({"op": "replace", "path": path, "value": to})),
    }
}

/// Containers by name, each with an image and variables by name.
type Containers = BTreeMap<String, (Option<String>, BTreeMap<String, String>)>;
/// What a patch says of a container: delete it, or set its image and set or delete variables.
type Changes = BTreeMap<String, Option<(Option<String>, BTreeMap<String, Option<String>>)>>;

fn containers() -> impl Strategy<Value = Containers> {
    let one = (
        prop::option::of("[x-z]"),
        prop::collection::btree_map("[A-C]", "[0-9]", 0..3),
    );
    prop::collection::btree_map("[a-d]", one, 0..4)
}

fn changes() -> impl Strategy<Value = Changes> {
    let variables = prop::collection::btree_map("[A-C]", prop::option::of("[0-9]"), 0..3);
    let one = prop::option::weighted(0.8, (prop::option::of("[x-z]"), variables));
    prop::collection::btree_map("[a-d]", one, 0..4)
}

fn written(image: Option<&String>, variables: Vec<Value>, name: &str) -> Value {
    let mut out = json!({"name": name});
    if let Some(image) = image {
        out["image"] = json!(image);
    }
    if !variables.is_empty() {
        out["env"] = json!(variables);
    }
    out
}

fn pod_of(containers: &Containers) -> Value {
    let all = containers.iter().map(|(name, (image, variables))| {
        let variables = variables
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}));
        written(image.as_ref(), variables.collect(), name)
    });
    json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": all.collect::<Vec<_>>()}})
}

fn patch_of(changes: &Changes) -> Value {
    let all = changes.iter().map(|(name, change)| match change {
        None => json!({"name": name, "$patch": "delete"}),
        Some((image, variables)) => {
            let variables = variables.iter().map(|(name, value)| match value {
                Some(value) => json!({"name": name, "value": value}),
                None => json!({"name": name, "$patch": "delete"}),
            });
            written(image.as_ref(), variables.collect(), name)
        }
    });
    json!({"spec": {"containers": all.collect::<Vec<_>>()}})
}

/// What the patch means, by names.
fn patched(mut containers: Containers, changes: &Changes) -> Containers {
    for (name, change) in changes {
        let Some((image, variables)) = change else {
            containers.remove(name);
            continue;
        };
        let container = containers.entry(name.clone()).or_default();
        if image.is_some() {
            container.0.clone_from(image);
        }
        for (name, value) in variables {
            match value {
                Some(value) => drop(container.1.insert(name.clone(), value.clone())),
                None => drop(container.1.remove(name)),
            }
        }
    }
    containers
}

/// A pod's containers by name again.
fn read(pod: &Value) -> Containers {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let all = list(&pod["spec"]["containers"]).into_iter().map(|container| {
        let variables = list(&container["env"]).into_iter();
        let variables = variables.map(|v| (text(&v["name"]).unwrap(), text(&v["value"]).unwrap_or_default()));
        (
            text(&container["name"]).unwrap(),
            (text(&container["image"]), variables.collect()),
        )
    });
    all.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_merge_patch_leads_where_it_should(from in document(), to in document()) {
        let mut document = from.clone();
        merge_patch(&mut document, &merge_between(&from, &to));
        prop_assert_eq!(document, to);
    }

    #[test]
    fn a_json_patch_leads_where_it_should(from in document(), to in document()) {
        // What is patched is an object.
        let (from, to) = (json!({"r": from}), json!({"r": to}));
        let mut operations = Vec::new();
        operations_between(&from, &to, "", &mut operations);
        let mut document = from.clone();
        json_patch(&mut document, &Value::Array(operations)).unwrap();
        prop_assert_eq!(document, to);
    }

    #[test]
    fn a_json_patch_that_fails_says_so(from in document(), wrong in document()) {
        prop_assume!(from != wrong);
        let mut document = from.clone();
        let test = json!([{"op": "test", "path": "", "value": wrong}]);
        prop_assert_eq!(json_patch(&mut document, &test).unwrap_err().code, 422);
    }

    #[test]
    fn a_strategic_merge_goes_by_names(before in containers(), changes in changes()) {
        let mut changes = changes;
        // As on upstream, directives stay inside an element that is new, and are refused later.
        for (name, change) in &mut changes {
            if let Some((_, variables)) = change && !before.contains_key(name) {
                variables.retain(|_, value| value.is_some());
            }
        }
        let id = type_of(&GroupVersionKind::new("", "v1", "Pod")).unwrap();
        let mut merged = strategic::merge(id, &pod_of(&before), &patch_of(&changes)).unwrap();
        normalize(id, &mut merged, Mode::Strict).unwrap();
        prop_assert_eq!(read(&merged), patched(before, &changes));
    }
}
