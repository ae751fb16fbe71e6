//! A served version: reading, writing, scaling and printing its objects.

use corten_crd::Version;
use corten_meta::time;
use serde_json::{Value, json};

use crate::definitions::definition;

fn version() -> Version {
    let mut crd = definition(json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "replicas": {"type": "integer", "default": 1}, "color": {"type": "string"}, "when": {"type": "string"},
            "ratio": {"type": "number"}, "on": {"type": "boolean"}, "list": {"type": "array", "items": {"type": "string"}},
        }},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer", "maximum": 9}, "selector": {"type": "string"}}},
    }}));
    let version = &mut crd["spec"]["versions"][0];
    version["subresources"] = json!({"status": {}, "scale": {
        "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector",
    }});
    version["selectableFields"] = json!([{"jsonPath": ".spec.color"}]);
    version["additionalPrinterColumns"] = json!([
        {"name": "N", "type": "integer", "jsonPath": ".spec.replicas"},
        {"name": "C", "type": "string", "jsonPath": ".spec.color", "priority": 1, "description": "its color"},
        {"name": "W", "type": "date", "jsonPath": ".spec.when"},
        {"name": "R", "type": "number", "jsonPath": ".spec.ratio"},
        {"name": "O", "type": "boolean", "jsonPath": ".spec.on"},
        {"name": "L", "type": "string", "jsonPath": ".spec.list"},
    ]);
    Version::new(&crd, "v1", None).unwrap()
}

fn object() -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "a", "namespace": "ns", "uid": "u"}, "spec": {}})
}

#[test]
fn decoding_reports_unknown_fields_and_wrong_metadata() {
    let mut given = object();
    given["spec"]["nope"] = json!(1);
    given["metadata"]["what"] = json!(1);
    let unknown = version().decode(&mut given, true).unwrap();
    assert_eq!(unknown, ["metadata.what", "spec.nope"]);
    assert_eq!(given, object());
    given["metadata"]["labels"] = json!({"a": 1});
    let error = version().decode(&mut given, true).unwrap_err();
    assert_eq!(
        error.message,
        "Foo in version \"v1\" cannot be handled as a Foo: json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"
    );
    version().decode_stored(&mut given);
    assert_eq!(
        given["metadata"],
        json!({"name": "a", "namespace": "ns", "uid": "u", "generation": 1})
    );
}

#[test]
fn status_and_spec_go_by_doors_of_their_own() {
    let version = version();
    let mut new = object();
    new["status"] = json!({"replicas": 3});
    version.prepare_for_create(&mut new);
    assert!(new.get("status").is_none() && new["metadata"]["generation"] == 1);
    let old = new.clone();
    new["status"] = json!({"replicas": 3});
    version.prepare_for_update(&mut new, &old);
    assert!(new.get("status").is_none() && new["metadata"]["generation"] == 1);
    new["spec"]["color"] = json!("red");
    version.prepare_for_update(&mut new, &old);
    assert_eq!(new["metadata"]["generation"], 2);
    let mut status = new.clone();
    status["spec"] = json!({"color": "blue"});
    status["status"] = json!({"replicas": 10});
    status["metadata"]["labels"] = json!({"x": "y"});
    version.prepare_for_status_update(&mut status, &new);
    assert_eq!(
        (&status["spec"], &status["status"]),
        (&new["spec"], &json!({"replicas": 10}))
    );
    assert!(status["metadata"].get("labels").is_none());
    let errors: Vec<String> = version
        .validate_status_update(&status, &new)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        errors,
        ["status.replicas: Invalid value: 10: replicas in body should be less than or equal to 9"]
    );
    let repeated = version.validate_status_update(&status, &status);
    assert!(repeated.is_empty());
}

#[test]
fn the_kind_is_checked_first() {
    let mut wrong = object();
    wrong["kind"] = json!("Bar");
    wrong["spec"] = json!(1);
    let errors: Vec<String> = version()
        .validate(&wrong)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(errors, ["kind: Invalid value: \"Bar\": must be Foo"]);
}

#[test]
fn scaling() {
    let version = version();
    let scale = version.scale.as_ref().unwrap();
    let mut object = object();
    assert_eq!(
        scale.get(&object).unwrap_err().message,
        "Internal error occurred: the spec replicas field \".spec.replicas\" does not exist"
    );
    version.default(&mut object);
    object["status"] = json!({"replicas": 2, "selector": "a=b"});
    assert_eq!(
        scale.get(&object).unwrap(),
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a", "namespace": "ns", "uid": "u"},
               "spec": {"replicas": 1}, "status": {"replicas": 2, "selector": "a=b"}})
    );
    scale.set(&mut object, &json!({"spec": {"replicas": 5}})).unwrap();
    assert_eq!(object["spec"]["replicas"], 5);
    object["spec"]["replicas"] = json!(-1);
    let errors: Vec<String> = version
        .validate(&object)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        errors,
        [".spec.replicas: Invalid value: -1: should be a non-negative integer"]
    );
}

#[test]
fn columns_and_fields() {
    let version = version();
    let now = time::parse("2026-01-01T00:10:00Z").unwrap();
    let mut object = object();
    assert_eq!(version.cells(&object, now), vec![Value::Null; 6]);
    object["spec"] = json!({"replicas": 3, "color": "red", "when": "2026-01-01T00:00:00Z", "ratio": 2, "on": true, "list": ["a"]});
    assert_eq!(
        version.cells(&object, now),
        [
            json!(3),
            json!("red"),
            json!("10m"),
            json!(2),
            json!(true),
            json!("[\"a\"]")
        ]
    );
    assert_eq!(
        version.columns[0].description,
        "Custom resource definition column (in JSONPath format): .spec.replicas"
    );
    assert_eq!(
        (version.selectable.as_slice(), version.field_value(0, &object)),
        (["spec.color".to_owned()].as_slice(), "red".to_owned())
    );
}

#[test]
fn finalizers_are_advised_on() {
    let mut object = object();
    object["metadata"]["finalizers"] = json!(["mine", "a.b", "a.b/c"]);
    assert_eq!(
        version().warnings(&object, None),
        [
            "metadata.finalizers: \"a.b\": prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers",
            "metadata.finalizers: \"mine\": prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers",
        ]
    );
    assert_eq!(version().warnings(&object, Some(&object)), [""; 0]);
}
