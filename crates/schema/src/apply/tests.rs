#![allow(clippy::unwrap_used)]

use corten_meta::GroupVersionKind;
use serde_json::{Value, json};

use super::{Write, apply, reset_fields, update};
use crate::types::type_of;
use crate::{Mode, default, normalize};

const NOW: &str = "2026-01-01T00:00:00Z";

fn deployment() -> GroupVersionKind {
    GroupVersionKind::new("apps", "v1", "Deployment")
}

fn formed(mut value: Value) -> Value {
    let id = type_of(&deployment()).unwrap();
    normalize(id, &mut value, Mode::Strict).unwrap();
    default(id, &mut value);
    value
}

fn write<'a>(gvk: &'a GroupVersionKind, manager: &'a str) -> Write<'a> {
    Write {
        gvk,
        manager,
        subresource: "",
        now: NOW,
        reset: reset_fields(gvk, "", true),
    }
}

fn config(containers: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}}},
    })
}

fn fields(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    entries
        .iter()
        .find(|e| e["manager"] == manager)
        .map(|e| e["fieldsV1"].clone())
        .unwrap_or_default()
}

fn applied(live: Option<&Value>, manager: &str, containers: Value, force: bool) -> Result<Value, String> {
    let gvk = deployment();
    apply(&write(&gvk, manager), live, &config(containers), force)
        .map(formed)
        .map_err(|s| s.message)
}

fn stored(mut object: Value) -> Value {
    object["metadata"]["uid"] = json!("u");
    object
}

#[test]
fn an_applier_owns_what_it_says() {
    let got = applied(
        None,
        "one",
        json!([{"name": "c", "image": "x", "ports": [{"containerPort": 80}]}]),
        false,
    )
    .unwrap();
    let expected = json!({"f:spec": {"f:selector": {}, "f:template": {"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:containers": {
        "k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}, "f:ports": {
            "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}}});
    assert_eq!(fields(&got, "one"), expected);
    assert_eq!(got["metadata"]["managedFields"][0]["operation"], "Apply");
    assert_eq!(got["spec"]["replicas"], 1);
}

#[test]
fn what_is_no_longer_said_goes() {
    let first = stored(
        applied(
            None,
            "one",
            json!([{"name": "c", "image": "x"}, {"name": "e", "image": "y"}]),
            false,
        )
        .unwrap(),
    );
    let second = applied(Some(&first), "one", json!([{"name": "c", "image": "z"}]), false).unwrap();
    let containers = second["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    assert_eq!(containers.len(), 1);
    assert_eq!(containers[0]["image"], "z");
    assert_eq!(containers[0]["terminationMessagePath"], "/dev/termination-log");
}

/// Metadata holds what nobody owns: it does not go with the last of its fields that somebody does.
#[test]
fn who_gives_up_the_last_field_of_metadata_leaves_the_rest() {
    let gvk = GroupVersionKind::new("", "v1", "ConfigMap");
    let config = |metadata: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
    let first = config(json!({"name": "c", "labels": {"l": "one"}, "annotations": {"a": "b"}}));
    let mut first = stored(apply(&write(&gvk, "one"), None, &first, false).unwrap());
    first["metadata"]["creationTimestamp"] = json!(NOW);
    let nothing = config(json!({"name": "c"}));
    let second = apply(&write(&gvk, "one"), Some(&first), &nothing, false).unwrap();
    assert_eq!(
        second,
        config(json!({"name": "c", "uid": "u", "creationTimestamp": NOW}))
    );
}

#[test]
fn two_want_the_same_field() {
    let first = stored(applied(None, "one", json!([{"name": "c", "image": "x"}]), false).unwrap());
    let error = applied(Some(&first), "two", json!([{"name": "c", "image": "y"}]), false).unwrap_err();
    assert_eq!(
        error,
        "Apply failed with 1 conflict: conflict with \"one\": .spec.template.spec.containers[name=\"c\"].image"
    );
    let forced = applied(Some(&first), "two", json!([{"name": "c", "image": "y"}]), true).unwrap();
    assert!(!fields(&forced, "one").to_string().contains("f:image"));
    assert!(fields(&forced, "two").to_string().contains("f:image"));
    let same = applied(Some(&first), "two", json!([{"name": "c", "image": "x"}]), false).unwrap();
    assert!(fields(&same, "one").to_string().contains("f:image"));
    assert!(fields(&same, "two").to_string().contains("f:image"));
}

#[test]
fn an_updater_owns_what_it_changes() {
    let gvk = deployment();
    let mut created = formed(config(json!([{"name": "c", "image": "x"}])));
    update(&write(&gvk, "one"), None, &mut created);
    let spec = &fields(&created, "one")["f:spec"];
    assert_eq!(
        spec["f:strategy"],
        json!({"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}})
    );
    assert_eq!(spec["f:selector"], json!({}));
    let live = stored(created);
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = json!(3);
    let scale = Write {
        subresource: "scale",
        now: "2026-01-01T00:00:09Z",
        ..write(&gvk, "two")
    };
    update(&scale, Some(&live), &mut scaled);
    assert_eq!(fields(&scaled, "two"), json!({"f:spec": {"f:replicas": {}}}));
    assert!(fields(&scaled, "one")["f:spec"].get("f:replicas").is_none());
    let mut untouched = scaled.clone();
    update(&write(&gvk, "three"), Some(&scaled), &mut untouched);
    assert_eq!(untouched, scaled);
}

#[test]
fn a_wrong_configuration_is_refused() {
    let gvk = deployment();
    let mut wrong = config(json!([{"name": "c"}]));
    wrong["spec"]["nope"] = json!(1);
    let error = apply(&write(&gvk, "one"), None, &wrong, false).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (
            500,
            "failed to create typed patch object (/d; apps/v1, Kind=Deployment): .spec.nope: field not declared in schema"
        )
    );
    let twice = config(json!([{"name": "c"}, {"name": "c"}]));
    let error = apply(&write(&gvk, "one"), None, &twice, false).unwrap_err();
    assert!(
        error
            .message
            .ends_with(".spec.template.spec.containers: duplicate entries for key [name=\"c\"]"),
        "{error}"
    );
}

/// As structured-merge-diff: updates may have a key twice, and no one owns a part of such items.
#[test]
fn items_that_share_a_key_are_owned_as_a_whole() {
    let gvk = deployment();
    let with = |env: Value| config(json!([{"name": "c", "env": env}]));
    let twice =
        json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "B", "value": "3"}]);
    let once = json!([{"name": "A", "value": "1"}]);
    let env = |object: &Value| {
        let owned = fields(object, "one");
        owned["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"]["f:env"].clone()
    };
    let mut object = stored(with(twice));
    update(&write(&gvk, "one"), None, &mut object);
    let named = json!({".": {}, "f:name": {}, "f:value": {}});
    let whole = json!({".": {}, "k:{\"name\":\"A\"}": {}, "k:{\"name\":\"B\"}": named});
    assert_eq!(env(&object), whole);
    let before = object.clone();
    object["spec"]["template"]["spec"]["containers"][0]["env"] = once;
    update(&write(&gvk, "one"), Some(&before), &mut object);
    assert_eq!(env(&object), json!({".": {}, "k:{\"name\":\"A\"}": named}));
}
