//! Server-side apply on custom resources: who owns what follows from the schema.

use corten_crd::Version;
use corten_meta::GroupVersionKind;
use corten_schema::apply::{self, Write};
use serde_json::{Value, json};

use crate::definitions::definition;

fn version() -> Version {
    let item = json!({"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "p": {"type": "string", "default": "TCP"}, "v": {"type": "integer"}}});
    let crd = definition(json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "n": {"type": "integer"}, "s": {"type": "string"},
            "atomicList": {"type": "array", "items": {"type": "string"}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "p"], "items": item},
            "granular": {"type": "object", "additionalProperties": {"type": "string"}},
            "atomic": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "any": {"x-kubernetes-preserve-unknown-fields": true},
            "port": {"x-kubernetes-int-or-string": true},
        }},
    }}));
    Version::new(&crd, "v1", None).unwrap()
}

fn write<'a>(gvk: &'a GroupVersionKind, manager: &'a str) -> Write<'a> {
    Write {
        gvk,
        manager,
        subresource: "",
        now: "2026-01-01T00:00:00Z",
        reset: &[],
    }
}

fn config(spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "a", "labels": {"x": "y"}}, "spec": spec})
}

fn applied(manager: &str, live: Option<&Value>, spec: Value) -> Result<Value, String> {
    let version = version();
    let root = version.apply_type();
    apply::apply_custom(&write(&version.gvk, manager), &root, live, &config(spec), false)
        .map_err(|e| e.message)
}

fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries.iter().find(|e| e["manager"] == manager).unwrap();
    entry["fieldsV1"]["f:spec"].clone()
}

#[test]
fn fields_are_owned_as_the_schema_divides_them() {
    let object = applied(
        "m",
        None,
        json!({"n": 1, "atomicList": ["a"], "set": [1, 2], "map": [{"k": "x", "v": 1}], "granular": {"l": "1"},
               "atomic": {"a": "1"}, "free": {"x": {"y": 1}, "l": [1]}, "any": {"z": 1}, "port": 80}),
    )
    .unwrap();
    assert_eq!(
        owned(&object, "m"),
        json!({
            "f:n": {}, "f:atomicList": {}, "f:atomic": {}, "f:port": {},
            "f:set": {"v:1": {}, "v:2": {}},
            "f:map": {"k:{\"k\":\"x\",\"p\":\"TCP\"}": {".": {}, "f:k": {}, "f:v": {}}},
            "f:granular": {"f:l": {}},
            "f:free": {"f:x": {".": {}, "f:y": {}}, "f:l": {}},
            "f:any": {"f:z": {}},
        })
    );
    let labels = &object["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"];
    assert_eq!(labels, &json!({"f:labels": {"f:x": {}}}));
}

#[test]
fn items_merge_by_key_and_go_when_no_longer_said() {
    let first = applied(
        "a",
        None,
        json!({"map": [{"k": "x", "v": 1}], "set": [1], "granular": {"a": "1"}}),
    )
    .unwrap();
    let both = applied(
        "b",
        Some(&first),
        json!({"map": [{"k": "y", "v": 2}], "set": [2], "granular": {"b": "2"}}),
    )
    .unwrap();
    assert_eq!(
        both["spec"],
        json!({"map": [{"k": "x", "v": 1}, {"k": "y", "v": 2}], "set": [1, 2], "granular": {"a": "1", "b": "2"}})
    );
    let without = applied("a", Some(&both), json!({"granular": {"a": "1"}})).unwrap();
    assert_eq!(
        without["spec"],
        json!({"map": [{"k": "y", "v": 2}], "set": [2], "granular": {"a": "1", "b": "2"}})
    );
    let conflict = applied("a", Some(&both), json!({"map": [{"k": "y", "v": 3}]})).unwrap_err();
    assert_eq!(
        conflict,
        "Apply failed with 1 conflict: conflict with \"b\": .spec.map[k=\"y\",p=\"TCP\"].v"
    );
}

#[test]
fn a_configuration_must_fit() {
    let cases = [
        (json!({"what": 1}), ".spec.what: field not declared in schema"),
        (
            json!({"n": "x"}),
            ".spec.n: expected numeric (int or float), got string",
        ),
        (
            json!({"set": [1, 1]}),
            ".spec.set: duplicate entries for key [=1]",
        ),
        (json!({"map": [{"v": 1, "p": null}]}), ""),
    ];
    for (spec, expected) in cases {
        match applied("m", None, spec.clone()) {
            Ok(_) => assert_eq!(expected, "", "{spec}"),
            Err(text) => assert_eq!(
                text,
                format!("failed to create typed patch object (/a; example.com/v1, Kind=Foo): {expected}"),
                "{spec}"
            ),
        }
    }
}

#[test]
fn updates_take_ownership() {
    let version = version();
    let root = version.apply_type();
    let live = applied("a", None, json!({"n": 1, "s": "x", "free": {"k": 1}})).unwrap();
    let mut new = live.clone();
    new["spec"]["n"] = json!(2);
    new["spec"]["free"]["k"] = json!(2);
    apply::update_custom(&write(&version.gvk, "u"), &root, Some(&live), &mut new);
    assert_eq!(owned(&new, "u"), json!({"f:n": {}, "f:free": {"f:k": {}}}));
    assert_eq!(owned(&new, "a"), json!({"f:s": {}}));
}
