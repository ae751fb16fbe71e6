//! CustomResourceDefinitions: from creation to the end of their instances.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Harness, Reply};

pub const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn spec_schema() -> Value {
    json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1},
            "color": {"type": "string", "default": "red"},
            "replicas": {"type": "integer"},
            "parts": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"}, "count": {"type": "integer"},
                }},
            },
        }},
        "status": {"type": "object", "properties": {
            "phase": {"type": "string"}, "replicas": {"type": "integer"}, "selector": {"type": "string"},
        }},
    }}})
}

pub fn version(name: &str, storage: bool) -> Value {
    json!({
        "name": name, "served": true, "storage": storage, "schema": spec_schema(),
        "subresources": {"status": {}, "scale": {
            "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }},
        "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
        ],
        "selectableFields": [{"jsonPath": ".spec.color"}],
    })
}

pub fn crd(plural: &str, kind: &str, versions: Vec<Value>) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.example.com")},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "versions": versions,
            "names": {"plural": plural, "kind": kind, "shortNames": [&plural[..2]], "categories": ["all"]},
        },
    })
}

pub fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

/// Reads the events of a watch until one satisfies `done`; nothing else is waited for.
async fn until(h: &Harness, path: &str, done: impl Fn(&str, &Value) -> bool) -> Value {
    let request = h
        .request("GET", path, ADMIN)
        .body(http_body_util::Full::default())
        .unwrap();
    let mut body = h.send(request).await.into_body();
    let mut text = String::new();
    let found = async {
        loop {
            let Some(frame) = body.frame().await else {
                panic!("the watch ended: {text}")
            };
            if let Ok(data) = frame.unwrap().into_data() {
                text.push_str(&String::from_utf8_lossy(&data));
            }
            while let Some((line, rest)) = text.clone().split_once('\n') {
                text = rest.to_owned();
                let event: Value = serde_json::from_str(line).unwrap();
                if done(event["type"].as_str().unwrap(), &event["object"]) {
                    return event["object"].clone();
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found)
        .await
        .unwrap()
}

fn holds(definition: &Value, kind: &str) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == kind && c["status"] == "True")
}

pub async fn define(h: &Harness, definition: Value) -> Value {
    let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
    let made = h.post(CRDS, definition).await;
    assert_eq!(made.code, 201, "{}", made.text());
    let path = format!("{CRDS}?watch=1&fieldSelector=metadata.name={name}");
    until(h, &path, |_, crd| holds(crd, "Established")).await
}

async fn with_widgets() -> Harness {
    let h = Harness::start().await;
    define(&h, crd("widgets", "Widget", vec![version("v1", true)])).await;
    h
}

#[track_caller]
pub fn refused(reply: &Reply, code: u16, text: &str) {
    let message = reply.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(
        reply.code == code && message.contains(text),
        "{} {message}",
        reply.code
    );
}

#[tokio::test]
async fn a_definition_is_established_and_its_kind_served() {
    let h = Harness::start().await;
    assert_eq!(h.get(WIDGETS).await.text(), "404 page not found\n");
    let made = define(&h, crd("widgets", "Widget", vec![version("v1", true)])).await;
    let status = &made["status"];
    assert_eq!(status["acceptedNames"], made["spec"]["names"]);
    assert_eq!(made["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(status["storedVersions"], json!(["v1"]));
    let list = h.get(WIDGETS).await.ok();
    assert_eq!(
        (&list["kind"], &list["items"]),
        (&json!("WidgetList"), &json!([]))
    );
    let resources = h.get("/apis/example.com/v1").await.ok();
    let names: Vec<_> = resources["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["name"].clone())
        .collect();
    assert_eq!(names, ["widgets", "widgets/status", "widgets/scale"]);
    assert_eq!(resources["resources"][0]["shortNames"], json!(["wi"]));
    let group = h.get("/apis/example.com").await.ok();
    assert_eq!(group["preferredVersion"]["groupVersion"], "example.com/v1");
    let services = "/apis/apiregistration.k8s.io/v1/apiservices?watch=1";
    let service = until(&h, services, |_, s| {
        s["metadata"]["name"] == "v1.example.com" && holds(s, "Available")
    })
    .await;
    assert_eq!(service["spec"]["versionPriority"], 100);
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let groups = h.get_as("/apis", aggregated).await.ok();
    let own = groups["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|g| g["metadata"]["name"] == "example.com");
    let resource = &own.unwrap()["versions"][0]["resources"][0];
    assert_eq!(
        resource["responseKind"],
        json!({"group": "example.com", "version": "v1", "kind": "Widget"})
    );
}

#[tokio::test]
async fn objects_are_pruned_defaulted_validated_and_printed() {
    let h = with_widgets().await;
    let sent = json!({"size": 3, "unknown": {"a": 1}});
    let made = h.post(WIDGETS, widget("a", sent.clone())).await;
    assert_eq!(made.code, 201, "{}", made.text());
    let warning = made.headers.get("warning").unwrap().to_str().unwrap().to_owned();
    assert_eq!(warning, r#"299 - "unknown field \"spec.unknown\"""#);
    let made = made.json();
    assert_eq!(made["spec"], json!({"size": 3, "color": "red"}));
    assert_eq!(
        (&made["metadata"]["generation"], made.get("status")),
        (&json!(1), None)
    );
    let strict = h
        .post(&format!("{WIDGETS}?fieldValidation=Strict"), widget("b", sent))
        .await;
    refused(
        &strict,
        400,
        r#"strict decoding error: unknown field "spec.unknown""#,
    );
    let small = h.post(WIDGETS, widget("b", json!({"size": 0}))).await;
    refused(&small, 422, "spec.size: Invalid value: 0: ");
    let table = h
        .get_as(WIDGETS, "application/json;as=Table;v=v1;g=meta.k8s.io")
        .await
        .ok();
    let columns: Vec<_> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].clone())
        .collect();
    assert_eq!(columns, ["Name", "Size", "Color"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", 3, "red"]));
    let selected = h
        .get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dblue"))
        .await
        .ok();
    assert_eq!(selected["items"], json!([]));
    let selected = h
        .get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dred"))
        .await
        .ok();
    assert_eq!(selected["items"][0]["metadata"]["name"], "a");
    let unknown = h.get(&format!("{WIDGETS}?fieldSelector=spec.size%3D1")).await;
    refused(&unknown, 400, "field label not supported: spec.size");
}

#[tokio::test]
async fn rules_of_the_schema_hold() {
    let h = Harness::start().await;
    let mut version = version("v1", true);
    let rules = json!([{"rule": "self.size < 10 || self.color == 'blue'", "message": "large ones are blue"}]);
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] = rules;
    let mut wrong = crd("gadgets", "Gadget", vec![version.clone()]);
    wrong["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"]
        [0]["rule"] = json!("self.nothing == 1");
    refused(&h.post(CRDS, wrong).await, 422, "undefined field 'nothing'");
    define(&h, crd("widgets", "Widget", vec![version])).await;
    let large = h.post(WIDGETS, widget("a", json!({"size": 11}))).await;
    refused(&large, 422, "spec: Invalid value: large ones are blue");
    h.post(WIDGETS, widget("a", json!({"size": 11, "color": "blue"})))
        .await
        .ok();
    let red = h
        .merge(&format!("{WIDGETS}/a"), json!({"spec": {"color": "red"}}))
        .await;
    refused(&red, 422, "large ones are blue");
}

#[tokio::test]
async fn every_verb_works() {
    let h = with_widgets().await;
    let path = format!("{WIDGETS}/a");
    let made = h.post(WIDGETS, widget("a", json!({"size": 3}))).await.ok();
    assert_eq!(h.get(&path).await.ok(), made);
    let merged = h
        .merge(&path, json!({"spec": {"size": 4}, "status": {"phase": "Up"}}))
        .await
        .ok();
    assert_eq!(
        (&merged["metadata"]["generation"], merged.get("status")),
        (&json!(2), None)
    );
    let ops = json!([{"op": "replace", "path": "/spec/size", "value": 5}]).to_string();
    let patched = h
        .body("PATCH", &path, "application/json-patch+json", ops)
        .await
        .ok();
    assert_eq!(patched["spec"]["size"], 5);
    let strategic = h
        .body("PATCH", &path, "application/strategic-merge-patch+json", "{}")
        .await;
    refused(
        &strategic,
        415,
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
    );
    let mut next = patched.clone();
    next["spec"]["color"] = json!("blue");
    let put = h.put(&path, next.clone()).await.ok();
    assert_eq!(put["spec"]["color"], "blue");
    assert_eq!(h.put(&path, next).await.code, 409);
    let mut blind = put.clone();
    blind["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    refused(
        &h.put(&path, blind).await,
        422,
        "metadata.resourceVersion: Invalid value: 0: must be specified for an update",
    );
    let status = h
        .merge(
            &format!("{path}/status"),
            json!({"status": {"phase": "Up"}, "spec": {"size": 9}}),
        )
        .await
        .ok();
    assert_eq!(
        (&status["status"]["phase"], &status["spec"]["size"]),
        (&json!("Up"), &json!(5))
    );
    assert_eq!(status["metadata"]["generation"], put["metadata"]["generation"]);
    let gone = h.delete(&path).await.ok();
    assert_eq!(
        (&gone["status"], &gone["details"]["kind"]),
        (&json!("Success"), &json!("widgets"))
    );
    h.post(WIDGETS, widget("b", json!({"size": 3}))).await.ok();
    assert_eq!(h.delete(WIDGETS).await.ok()["items"].as_array().unwrap().len(), 1);
    refused(&h.get(&path).await, 404, "widgets.example.com \"a\" not found");
}

#[tokio::test]
async fn bodies_and_answers_are_json_or_yaml() {
    let h = with_widgets().await;
    let path = format!("{WIDGETS}/a");
    h.post(WIDGETS, widget("a", json!({"size": 3}))).await.ok();
    let yaml = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: yaml}\nspec: {size: 1}\n";
    assert_eq!(h.body("POST", WIDGETS, "application/yaml", yaml).await.code, 201);
    let proto = h
        .body("POST", WIDGETS, "application/vnd.kubernetes.protobuf", "k8s\0")
        .await;
    assert_eq!(proto.code, 400, "{}", proto.text());
    assert_eq!(
        h.get_as(&path, "application/vnd.kubernetes.protobuf").await.code,
        406
    );
    let plain = h
        .get_as(&path, "application/vnd.kubernetes.protobuf,application/json")
        .await;
    assert_eq!(plain.headers["content-type"], "application/json");
    let meta = h
        .get_as(
            &path,
            "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
        )
        .await
        .ok();
    assert_eq!(
        (&meta["kind"], meta.get("spec")),
        (&json!("PartialObjectMetadata"), None)
    );
}

#[tokio::test]
async fn scale_reads_and_writes_where_the_definition_says() {
    let h = with_widgets().await;
    let path = format!("{WIDGETS}/a/scale");
    h.post(WIDGETS, widget("a", json!({"size": 3, "replicas": 2})))
        .await
        .ok();
    let scale = h.get(&path).await.ok();
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!(2))
    );
    let scaled = h.merge(&path, json!({"spec": {"replicas": 5}})).await.ok();
    assert_eq!(scaled["spec"]["replicas"], 5);
    assert_eq!(h.get(&format!("{WIDGETS}/a")).await.ok()["spec"]["replicas"], 5);
    h.post(WIDGETS, widget("b", json!({"size": 3}))).await.ok();
    let none = h.get(&format!("{WIDGETS}/b/scale")).await;
    refused(
        &none,
        500,
        "the spec replicas field \".spec.replicas\" does not exist",
    );
}

/// Who applies a Scale owns the count where the definition has it, and those who own it there are conflicts.
#[tokio::test]
async fn a_scale_is_applied() {
    let h = with_widgets().await;
    let owned = widget("a", json!({"size": 3}));
    h.post(&format!("{WIDGETS}?fieldManager=maker"), owned).await.ok();
    let counted = format!("{WIDGETS}/a?fieldManager=counter");
    h.merge(&counted, json!({"spec": {"replicas": 2}})).await.ok();
    let scale = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 6},
    });
    let apply = async |query: &str| {
        let path = format!("{WIDGETS}/a/scale?fieldManager=scaler{query}");
        h.body("PATCH", &path, "application/apply-patch+yaml", scale.to_string())
            .await
    };
    let why = "Apply failed with 1 conflict: conflict with \"counter\" using autoscaling/v1: .spec.replicas";
    refused(&apply("").await, 409, why);
    assert_eq!(apply("&force=true").await.ok()["spec"]["replicas"], 6);
    let object = h.get(&format!("{WIDGETS}/a")).await.ok();
    assert_eq!(object["spec"]["replicas"], 6);
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let owners: Vec<_> = entries
        .iter()
        .map(|entry| entry["manager"].as_str().unwrap())
        .collect();
    assert_eq!(owners, ["scaler", "maker"]);
    assert_eq!(entries[0]["subresource"], "scale");
    assert_eq!(entries[0]["apiVersion"], "example.com/v1");
    assert_eq!(entries[0]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
}

#[tokio::test]
async fn server_side_apply_knows_list_keys() {
    let h = with_widgets().await;
    let path = format!("{WIDGETS}/a?fieldManager=");
    let apply = |manager: &str, parts: Value| {
        let object = widget("a", json!({"size": 1, "parts": parts}));
        let path = format!("{path}{manager}");
        let h = &h;
        async move {
            h.body("PATCH", &path, "application/apply-patch+yaml", object.to_string())
                .await
        }
    };
    let made = apply("one", json!([{"name": "x", "count": 1}])).await;
    assert_eq!(made.code, 201, "{}", made.text());
    let both = apply("two", json!([{"name": "y", "count": 2}])).await.ok();
    let names: Vec<_> = both["spec"]["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].clone())
        .collect();
    assert_eq!(names, ["x", "y"]);
    let conflict = apply("two", json!([{"name": "x", "count": 7}])).await;
    refused(
        &conflict,
        409,
        "conflict with \"one\": .spec.parts[name=\"x\"].count",
    );
}

#[tokio::test]
async fn names_of_another_definition_are_refused_until_they_are_free() {
    let h = with_widgets().await;
    let other = h
        .post(CRDS, crd("wizards", "Widget", vec![version("v1", true)]))
        .await;
    assert_eq!(other.code, 201, "{}", other.text());
    let path = format!("{CRDS}?watch=1&fieldSelector=metadata.name=wizards.example.com");
    let refused = until(&h, &path, |_, crd| crd["status"]["conditions"].is_array()).await;
    let accepted = &refused["status"]["conditions"][0];
    assert_eq!(
        (&accepted["type"], &accepted["status"]),
        (&json!("NamesAccepted"), &json!("False"))
    );
    assert_eq!(accepted["reason"], "ListKindConflict");
    assert_eq!(h.get("/apis/example.com/v1/wizards").await.code, 404);
    h.delete(&format!("{CRDS}/widgets.example.com")).await.ok();
    until(&h, &path, |_, crd| holds(crd, "Established")).await;
    h.get("/apis/example.com/v1/wizards").await.ok();
}

#[tokio::test]
async fn deleting_a_definition_deletes_its_instances_first() {
    let h = with_widgets().await;
    let mut kept = widget("kept", json!({"size": 1}));
    kept["metadata"]["finalizers"] = json!(["example.com/keep"]);
    h.post(WIDGETS, kept).await.ok();
    h.post(WIDGETS, widget("plain", json!({"size": 1}))).await.ok();
    let name = format!("{CRDS}/widgets.example.com");
    let deleting = h.delete(&name).await.ok();
    assert_eq!(
        deleting["metadata"]["finalizers"],
        json!(["customresourcecleanup.apiextensions.k8s.io"])
    );
    let path = format!("{WIDGETS}?watch=1");
    until(&h, &path, |_, w| w["metadata"]["deletionTimestamp"].is_string()).await;
    let create = h.post(WIDGETS, widget("late", json!({"size": 1}))).await;
    refused(
        &create,
        403,
        "create not allowed while custom resource definition is terminating",
    );
    let freed = h
        .merge(
            &format!("{WIDGETS}/kept"),
            json!({"metadata": {"finalizers": null}}),
        )
        .await;
    assert_eq!(freed.code, 200, "{}", freed.text());
    let path = format!(
        "{CRDS}?watch=1&fieldSelector=metadata.name=widgets.example.com&resourceVersion={}",
        deleting["metadata"]["resourceVersion"].as_str().unwrap()
    );
    until(&h, &path, |kind, _| kind == "DELETED").await;
    let discovery = async {
        while h.get("/apis/example.com").await.code != 404 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), discovery)
        .await
        .unwrap();
    assert_eq!(h.get(WIDGETS).await.text(), "404 page not found\n");
}

#[tokio::test]
async fn versions_live_side_by_side() {
    let h = Harness::start().await;
    define(
        &h,
        crd(
            "widgets",
            "Widget",
            vec![version("v1", true), version("v2", false)],
        ),
    )
    .await;
    h.post(WIDGETS, widget("a", json!({"size": 3}))).await.ok();
    let second = WIDGETS.replace("/v1/", "/v2/");
    let seen = h.get(&format!("{second}/a")).await.ok();
    assert_eq!(
        (&seen["apiVersion"], &seen["spec"]["size"]),
        (&json!("example.com/v2"), &json!(3))
    );
    let mut other = widget("b", json!({"size": 4}));
    refused(
        &h.post(&second, other.clone()).await,
        400,
        "does not match the expected API version (example.com/v2)",
    );
    other["apiVersion"] = json!("example.com/v2");
    assert_eq!(h.post(&second, other).await.ok()["apiVersion"], "example.com/v2");
    let all = h.get(WIDGETS).await.ok();
    let versions: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w["apiVersion"].clone())
        .collect();
    assert_eq!(versions, ["example.com/v1", "example.com/v1"]);
    // The stored version changes; what was written stays and is read in any version.
    let name = format!("{CRDS}/widgets.example.com");
    let mut definition = h.get(&name).await.ok();
    definition["spec"]["versions"][0]["storage"] = json!(false);
    definition["spec"]["versions"][1]["storage"] = json!(true);
    let changed = h.put(&name, definition).await.ok();
    assert_eq!(changed["status"]["storedVersions"], json!(["v1", "v2"]));
    let path = format!("{second}/a");
    assert_eq!(h.get(&path).await.ok()["apiVersion"], "example.com/v2");
    let patched = h.merge(&path, json!({"spec": {"size": 5}})).await.ok();
    assert_eq!(
        (&patched["apiVersion"], &patched["spec"]["size"]),
        (&json!("example.com/v2"), &json!(5))
    );
    let old = h.get(&format!("{WIDGETS}/a")).await.ok();
    assert_eq!(
        (&old["apiVersion"], &old["spec"]["size"]),
        (&json!("example.com/v1"), &json!(5))
    );
    // A version that is served no longer is not there.
    let mut unserved = version("v1", false);
    unserved["served"] = json!(false);
    let versions = json!({"spec": {"versions": [unserved, version("v2", true)]}});
    h.merge(&name, versions).await.ok();
    let gone = async {
        while h.get(WIDGETS).await.code != 404 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap();
    h.get(&second).await.ok();
}
