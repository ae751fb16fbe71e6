//! What upstream's conformance suite says of definitions and custom resources besides what other modules show.

use serde_json::{Value, json};

use crate::custom::{CRDS, WIDGETS, crd, define, refused, version, widget};
use crate::harness::Harness;

/// A version with a schema of its own.
fn schemed(name: &str, storage: bool, schema: Value) -> Value {
    json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}})
}

#[tokio::test]
async fn instances_are_watched() {
    let h = Harness::start().await;
    define(&h, crd("widgets", "Widget", vec![version("v1", true)])).await;
    let start = h.get(WIDGETS).await.ok()["metadata"]["resourceVersion"].clone();
    let path = format!("{WIDGETS}/a");
    h.post(WIDGETS, widget("a", json!({"size": 1}))).await.ok();
    h.merge(&path, json!({"spec": {"size": 2}})).await.ok();
    h.delete(&path).await.ok();
    let seen = std::cell::RefCell::new(Vec::new());
    let watch = format!("{WIDGETS}?watch=1&resourceVersion={}", start.as_str().unwrap());
    h.until_event(&watch, |event| {
        seen.borrow_mut()
            .push((event["type"].clone(), event["object"]["spec"]["size"].clone()));
        event["type"] == "DELETED"
    })
    .await;
    let wanted =
        [("ADDED", 1), ("MODIFIED", 2), ("DELETED", 2)].map(|(kind, size)| (json!(kind), json!(size)));
    assert_eq!(seen.into_inner(), wanted);
}

#[tokio::test]
async fn status_of_a_definition_is_read_and_written() {
    let h = Harness::start().await;
    define(&h, crd("widgets", "Widget", vec![version("v1", true)])).await;
    let at = format!("{CRDS}/widgets.example.com/status");
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "Test", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let has = |definition: &Value, kind: &str| {
        let all = definition["status"]["conditions"].as_array().unwrap();
        all.iter().any(|c| c["type"] == kind)
    };
    let mut read = h.get(&at).await.ok();
    read["status"]["conditions"]
        .as_array_mut()
        .unwrap()
        .push(condition("Updated"));
    read["spec"]["names"]["singular"] = json!("other");
    let written = h.put(&at, read).await.ok();
    assert!(has(&written, "Updated") && written["spec"]["names"]["singular"] == "widget");
    let patch = json!([{"op": "add", "path": "/status/conditions/-", "value": condition("Patched")}]);
    h.body("PATCH", &at, "application/json-patch+json", patch.to_string())
        .await
        .ok();
    let read = h.get(&at).await.ok();
    assert!(has(&read, "Updated") && has(&read, "Patched") && has(&read, "Established"));
}

#[tokio::test]
async fn definitions_are_deleted_together() {
    let h = Harness::start().await;
    for at in 0..4 {
        let plural = format!("x{at}widgets");
        let mut definition = crd(&plural, &format!("X{at}Widget"), vec![version("v1", true)]);
        definition["spec"]["names"] = json!({"plural": plural, "kind": format!("X{at}Widget")});
        if at > 0 {
            definition["metadata"]["labels"] = json!({"many": "yes"});
        }
        define(&h, definition).await;
    }
    let marked = format!("{CRDS}?labelSelector=many%3Dyes");
    assert_eq!(h.get(&marked).await.ok()["items"].as_array().unwrap().len(), 3);
    h.delete(&marked).await.ok();
    loop {
        let left = h.get(CRDS).await.ok();
        if left["items"].as_array().unwrap().len() == 1 {
            assert_eq!(left["items"][0]["metadata"]["name"], "x0widgets.example.com");
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn defaults_come_and_go_with_the_schema() {
    let h = Harness::start().await;
    let schema = |defaults: Value| {
        let member = |name: &str| match &defaults[name] {
            Value::Null => json!({"type": "string"}),
            default => json!({"type": "string", "default": default}),
        };
        json!({"type": "object", "properties": {"a": member("a"), "b": member("b")}})
    };
    let object =
        |name: &str| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}});
    let change = async |defaults: Value| {
        let versions = json!({"spec": {"versions": [schemed("v1", true, schema(defaults))]}});
        h.merge(&format!("{CRDS}/widgets.example.com"), versions)
            .await
            .ok();
    };
    let until = async |name: &str, wanted: [Value; 2]| loop {
        let read = h.get(&format!("{WIDGETS}/{name}")).await.ok();
        if [read["a"].clone(), read["b"].clone()] == wanted {
            return;
        }
        tokio::task::yield_now().await;
    };
    define(
        &h,
        crd("widgets", "Widget", vec![schemed("v1", true, schema(json!({})))]),
    )
    .await;
    let first = h.post(WIDGETS, object("first")).await.ok();
    assert_eq!(first.get("a"), None);
    change(json!({"a": "A"})).await;
    until("first", [json!("A"), Value::Null]).await;
    let second = h.post(WIDGETS, object("second")).await.ok();
    assert_eq!(second["a"], "A");
    change(json!({"b": "B"})).await;
    // What was stored with a default keeps it; what only was read with one does not.
    until("second", [json!("A"), json!("B")]).await;
    until("first", [Value::Null, json!("B")]).await;
}

#[tokio::test]
async fn their_own_group_is_in_discovery() {
    let h = Harness::start().await;
    let groups = h.get("/apis").await.ok();
    let group = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|g| g["name"] == "apiextensions.k8s.io");
    let versions = json!([{"groupVersion": "apiextensions.k8s.io/v1", "version": "v1"}]);
    assert_eq!(group.unwrap()["versions"], versions);
    assert_eq!(
        h.get("/apis/apiextensions.k8s.io").await.ok()["versions"],
        versions
    );
    let resources = h.get("/apis/apiextensions.k8s.io/v1").await.ok();
    let found = resources["resources"].as_array().unwrap();
    let found = found
        .iter()
        .find(|r| r["name"] == "customresourcedefinitions")
        .unwrap();
    assert_eq!(
        (&found["kind"], &found["namespaced"]),
        (&json!("CustomResourceDefinition"), &json!(false))
    );
}

/// Reads `/openapi/v2` until it is as wanted.
async fn until_v2(h: &Harness, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let document = h.get("/openapi/v2").await.ok();
        if wanted(&document["definitions"]) {
            return document;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn documents_have_every_group_version_and_kind() {
    let h = Harness::start().await;
    let schema = || json!({"type": "object", "properties": {"a": {"type": "string", "description": "said"}}});
    let mut other = crd("others", "Other", vec![schemed("v1", true, schema())]);
    other["metadata"]["name"] = json!("others.second.test");
    other["spec"]["group"] = json!("second.test");
    define(&h, other).await;
    let versions = vec![schemed("v1", true, schema()), schemed("v2", false, schema())];
    define(&h, crd("widgets", "Widget", versions)).await;
    define(&h, crd("gadgets", "Gadget", vec![schemed("v1", true, schema())])).await;
    let names = [
        "com.example.v1.Widget",
        "com.example.v2.Widget",
        "com.example.v1.Gadget",
        "test.second.v1.Other",
    ];
    let all = until_v2(&h, |have| names.iter().all(|name| have[*name].is_object())).await;
    for name in names {
        assert_eq!(
            all["definitions"][name]["properties"]["a"]["description"], "said",
            "{name}"
        );
    }
    // A version is renamed, then another one served no longer.
    let at = format!("{CRDS}/widgets.example.com");
    let versions =
        json!({"spec": {"versions": [schemed("v1", true, schema()), schemed("v3", false, schema())]}});
    h.merge(&at, versions).await.ok();
    let has = |have: &Value, name: &str| have.get(name).is_some();
    until_v2(&h, |have| {
        has(have, "com.example.v3.Widget") && !has(have, "com.example.v2.Widget")
    })
    .await;
    let mut unserved = schemed("v3", false, schema());
    unserved["served"] = json!(false);
    let versions = json!({"spec": {"versions": [schemed("v1", true, schema()), unserved]}});
    h.merge(&at, versions).await.ok();
    let last = until_v2(&h, |have| !has(have, "com.example.v3.Widget")).await;
    assert!(has(&last["definitions"], "com.example.v1.Widget"));
}

#[tokio::test]
async fn nulls_are_applied_only_where_they_may_be() {
    let h = Harness::start().await;
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "a": {"type": "string"}, "b": {"type": "string", "nullable": true}, "c": {"type": "string", "default": "d"},
    }}}});
    define(&h, crd("widgets", "Widget", vec![schemed("v1", true, schema)])).await;
    let apply = |spec: Value| {
        let body = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec});
        let path = format!("{WIDGETS}/a?fieldManager=m");
        let h = &h;
        async move {
            h.body("PATCH", &path, "application/apply-patch+yaml", body.to_string())
                .await
        }
    };
    let text = "spec.a in body must be of type string: \"null\"";
    refused(&apply(json!({"a": null})).await, 422, text);
    let made = apply(json!({"b": null, "c": null})).await.ok();
    assert_eq!(made["spec"], json!({"b": null, "c": "d"}));
}

#[tokio::test]
async fn unknown_and_duplicate_fields_are_told() {
    let h = Harness::start().await;
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
    }});
    define(&h, crd("widgets", "Widget", vec![schemed("v1", true, open)])).await;
    let apply = format!("{WIDGETS}/a?fieldManager=m&fieldValidation=Strict");
    let yaml = "application/apply-patch+yaml";
    let head = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a";
    let unknown = format!("{head}}}\nspec: {{x: 1, y: {{z: [1]}}}}\n");
    let made = h.body("PATCH", &apply, yaml, unknown).await.ok();
    assert_eq!(made["spec"], json!({"x": 1, "y": {"z": [1]}}));
    let twice = format!("{head}}}\nspec: {{x: 1}}\nspec: {{x: 2}}\n");
    refused(
        &h.body("PATCH", &apply, yaml, twice).await,
        400,
        "already set in map",
    );
    let duplicate = r#"{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "b"}, "spec": {"x": 1, "x": 2}}"#;
    let strict = format!("{WIDGETS}?fieldValidation=Strict");
    let reply = h.body("POST", &strict, "application/json", duplicate).await;
    refused(&reply, 400, r#"strict decoding error: duplicate field "spec.x""#);
    let strange = |metadata: Value, inner: Value| {
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata,
            "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": inner}})
    };
    let root = strange(json!({"name": "c", "odd": 1}), json!({"name": "p"}));
    refused(
        &h.post(&strict, root).await,
        400,
        r#"unknown field "metadata.odd""#,
    );
    let inner = strange(json!({"name": "c"}), json!({"name": "p", "odd": 1}));
    refused(
        &h.post(&strict, inner).await,
        400,
        r#"unknown field "pod.metadata.odd""#,
    );
}

/// A definition without a schema to speak of takes anything.
#[tokio::test]
async fn without_a_schema_anything_goes() {
    let h = Harness::start().await;
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    define(&h, crd("widgets", "Widget", vec![schemed("v1", true, open)])).await;
    let yaml = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\nfoo: {bar: [1, x]}\n";
    let apply = format!("{WIDGETS}/a?fieldManager=m&fieldValidation=Strict");
    let made = h
        .body("PATCH", &apply, "application/apply-patch+yaml", yaml)
        .await
        .ok();
    assert_eq!(made["foo"], json!({"bar": [1, "x"]}));
    let document = until_v2(&h, |have| have["com.example.v1.Widget"].is_object()).await;
    let definition = &document["definitions"]["com.example.v1.Widget"];
    assert_eq!(
        (&definition["type"], definition.get("properties")),
        (&json!("object"), None)
    );
    assert_eq!(definition["x-kubernetes-group-version-kind"][0]["kind"], "Widget");
}
