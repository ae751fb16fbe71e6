//! What a version publishes.

use corten_crd::openapi;
use corten_schema::openapi::{v2_document, v2_with, v3_of};
use corten_schema::resources::Selection;
use serde_json::{Value, json};

use crate::definitions::definition;

fn crd() -> Value {
    let mut crd = definition(json!({"type": "object", "description": "A foo.", "properties": {
        "spec": {"type": "object", "required": ["n", "maybe"], "properties": {
            "n": {"type": "integer", "description": "how many", "anyOf": [{"minimum": 1}]},
            "maybe": {"type": "string", "nullable": true},
            "port": {"x-kubernetes-int-or-string": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"x": {"type": "string"}}},
            "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
        }},
    }}));
    crd["spec"]["versions"][0]["subresources"] =
        json!({"status": {}, "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}});
    crd["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".spec.n"}]);
    crd
}

#[test]
fn definitions_of_version_3_say_all() {
    let fragment = openapi::v3(&crd(), "v1").unwrap();
    let foo = &fragment.definitions["com.example.v1.Foo"];
    let spec = &foo["properties"]["spec"]["properties"];
    assert_eq!(
        foo["x-kubernetes-group-version-kind"],
        json!([{"group": "example.com", "version": "v1", "kind": "Foo"}])
    );
    assert_eq!(
        foo["x-kubernetes-selectable-fields"],
        json!([{"fieldPath": "spec.n"}])
    );
    assert_eq!(
        foo["properties"]["metadata"]["allOf"],
        json!([{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}])
    );
    assert_eq!(
        spec["n"],
        json!({"type": "integer", "description": "how many", "anyOf": [{"minimum": 1}]})
    );
    assert_eq!(
        spec["port"]["anyOf"],
        json!([{"type": "integer"}, {"type": "string"}])
    );
    assert_eq!(spec["maybe"]["nullable"], true);
    assert_eq!(spec["pod"]["required"], json!(["kind", "apiVersion"]));
    assert_eq!(
        fragment.definitions["com.example.v1.FooList"]["properties"]["items"]["items"],
        json!({"$ref": "#/components/schemas/com.example.v1.Foo"})
    );
}

#[test]
fn version_2_leaves_out_what_it_cannot_say() {
    let fragment = openapi::v2(&crd(), "v1").unwrap();
    let spec = &fragment.definitions["com.example.v1.Foo"]["properties"]["spec"];
    assert_eq!(spec["required"], json!(["n"]));
    assert_eq!(
        spec["properties"]["n"],
        json!({"type": "integer", "description": "how many"})
    );
    assert_eq!(spec["properties"]["maybe"], json!({}));
    assert_eq!(
        spec["properties"]["port"],
        json!({"x-kubernetes-int-or-string": true})
    );
    assert_eq!(
        spec["properties"]["free"],
        json!({"x-kubernetes-preserve-unknown-fields": true})
    );
}

#[test]
fn paths_and_operations() {
    let fragment = openapi::v2(&crd(), "v1").unwrap();
    let base = "/apis/example.com/v1/namespaces/{namespace}/foos";
    let all: Vec<&String> = fragment.paths.keys().collect();
    assert_eq!(
        all,
        [
            "/apis/example.com/v1/foos",
            base,
            &format!("{base}/{{name}}"),
            &format!("{base}/{{name}}/scale"),
            &format!("{base}/{{name}}/status")
        ]
    );
    let read = &fragment.paths[&format!("{base}/{{name}}/status")]["get"];
    assert_eq!(read["operationId"], "readExampleComV1NamespacedFooStatus");
    assert_eq!(read["tags"], json!(["exampleCom_v1"]));
    assert_eq!(
        fragment.paths["/apis/example.com/v1/foos"]["get"]["operationId"],
        "listExampleComV1FooForAllNamespaces"
    );
    let patch = &fragment.paths[&format!("{base}/{{name}}")]["patch"];
    assert_eq!(patch["consumes"].as_array().unwrap().len(), 3);
}

/// Every reference in a document leads somewhere.
fn check_references(value: &Value, known: &dyn Fn(&str) -> bool) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(name)) = map.get("$ref") {
                assert!(known(name), "{name}");
            }
            map.values().for_each(|v| check_references(v, known));
        }
        Value::Array(items) => items.iter().for_each(|v| check_references(v, known)),
        _ => {}
    }
}

#[test]
fn documents_are_whole() {
    let crd = crd();
    let document = v3_of([openapi::v3(&crd, "v1").unwrap()]);
    let v3: Value = serde_json::from_slice(&document.plain()).unwrap();
    check_references(&v3, &|name| {
        v3["components"]["schemas"]
            .get(name.rsplit('/').next().unwrap())
            .is_some()
    });
    let document = v2_document(
        &v2_with(&Selection::default(), [openapi::v2(&crd, "v1").unwrap()]),
        false,
    );
    let v2: Value = serde_json::from_slice(&document.plain()).unwrap();
    check_references(&v2, &|name| {
        v2["definitions"].get(name.rsplit('/').next().unwrap()).is_some()
    });
    assert!(
        v2["paths"].get("/api/v1/pods").is_some() && v2["paths"].get("/apis/example.com/v1/foos").is_some()
    );
}

#[test]
fn what_is_not_structural_is_any_object() {
    let crd = definition(json!({"type": "object", "properties": {"a": {}}}));
    let fragment = openapi::v3(&crd, "v1").unwrap();
    let foo = fragment.definitions["com.example.v1.Foo"].as_object().unwrap();
    assert_eq!(
        foo.keys().collect::<Vec<_>>(),
        ["type", "x-kubernetes-group-version-kind"]
    );
}
