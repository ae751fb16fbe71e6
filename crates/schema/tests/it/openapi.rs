//! Generated schemas against those upstream serves.

use corten_schema::openapi;
use corten_schema::resources::{self, Selection};
use serde_json::Value;

use crate::facts;
use crate::golden::differs;

fn upstream(served: &resources::ServedVersion) -> Option<Value> {
    let name = openapi::v3_path(*served).replace('/', "__");
    let text = std::fs::read(facts::dir().join(format!("oracle/openapi-v3/{name}.json"))).ok()?;
    serde_json::from_slice(&text).ok()
}

#[test]
fn schemas_are_upstreams() {
    let (mut failures, mut seen) = (Vec::new(), 0);
    for served in resources::versions() {
        let (Some(want), Some(document)) = (upstream(served), openapi::v3(served.group, served.version))
        else {
            continue;
        };
        let mut got: Value = serde_json::from_slice(&document.plain()).unwrap();
        without_descriptions(&mut got["components"]["schemas"]);
        let (got, want) = (&got["components"]["schemas"], &want["components"]["schemas"]);
        for (name, schema) in want.as_object().unwrap() {
            seen += 1;
            match got.get(name) {
                None => failures.push(format!("{}/{} lacks {name}", served.group, served.version)),
                Some(own) => failures.extend(differs(own, schema, "").map(|d| format!("{name}: {d}"))),
            }
        }
        let extra = got
            .as_object()
            .unwrap()
            .keys()
            .filter(|k| want.get(k.as_str()).is_none());
        failures.extend(extra.map(|k| format!("{}/{} has {k}", served.group, served.version)));
    }
    assert!(seen > 800, "only {seen} schemas");
    failures.sort();
    failures.dedup();
    assert!(failures.is_empty(), "{}\n{}", failures.len(), failures.join("\n"));
}

/// Upstream's sentences are its own, and not in the facts.
fn without_descriptions(value: &mut Value) {
    match value {
        Value::Object(members) => {
            // A property may have this name; its value is a schema.
            if members.get("description").is_some_and(Value::is_string) {
                members.remove("description");
            }
            members.values_mut().for_each(without_descriptions);
        }
        Value::Array(items) => items.iter_mut().for_each(without_descriptions),
        _ => {}
    }
}

#[test]
fn every_type_and_field_is_described() {
    let (mut missing, mut described) = (Vec::new(), 0);
    for served in resources::versions() {
        let document = openapi::v3(served.group, served.version).unwrap().plain();
        let document: Value = serde_json::from_slice(&document).unwrap();
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            let properties = schema["properties"].as_object().into_iter().flatten();
            // A reference that stands alone has no room for one.
            let properties = properties.filter(|(_, property)| property.get("$ref").is_none());
            let members = properties.map(|(member, property)| (format!("{name}.{member}"), property));
            for (name, schema) in members.chain([(name.clone(), schema)]) {
                match schema["description"].as_str() {
                    Some(said) if said.ends_with('.') => described += 1,
                    _ => missing.push(name),
                }
            }
        }
    }
    missing.sort();
    missing.dedup();
    assert!(missing.is_empty(), "{}\n{}", missing.len(), missing.join("\n"));
    assert!(described > 5000, "only {described}");
}

/// The two forms of version 2 say the same; protobuf is read back as far as its names go.
#[test]
fn version_two_has_every_definition_in_both_forms() {
    let json: Value = serde_json::from_slice(&openapi::v2(false).plain()).unwrap();
    let definitions = json["definitions"].as_object().unwrap();
    let protobuf = openapi::v2(true).plain();
    let text = String::from_utf8_lossy(&protobuf);
    assert!(definitions.len() > 500);
    assert!(definitions.keys().all(|name| text.contains(name.as_str())));
    let patch = &json["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    let names: Vec<_> = patch["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["body", "dryRun", "fieldManager", "fieldValidation", "force"]
    );
    let index: Value = serde_json::from_slice(&openapi::v3_index(&Selection::default(), &[])).unwrap();
    assert!(
        index["paths"]["apis/apps/v1"]["serverRelativeURL"]
            .as_str()
            .unwrap()
            .starts_with("/openapi/v3/apis/apps/v1?hash=")
    );
}

fn operation(document: &Value, path: &str, method: &str) -> Value {
    let found = &document["paths"][path][method];
    assert!(found.is_object(), "{method} {path} is not there");
    found.clone()
}

#[test]
fn operations_are_named_as_upstream_names_them() {
    let core: Value = serde_json::from_slice(&openapi::v3("", "v1").unwrap().plain()).unwrap();
    let pod = "/api/v1/namespaces/{namespace}/pods/{name}";
    let names = [
        (pod, "get", "readCoreV1NamespacedPod"),
        ("/api/v1/pods", "get", "listCoreV1PodForAllNamespaces"),
        (
            "/api/v1/namespaces/{namespace}/pods",
            "delete",
            "deleteCoreV1CollectionNamespacedPod",
        ),
        ("/api/v1/watch/pods", "get", "watchCoreV1PodListForAllNamespaces"),
        (
            &format!("{pod}/exec"),
            "post",
            "connectCoreV1PostNamespacedPodExec",
        ),
        (
            &format!("{pod}/proxy/{{path}}"),
            "options",
            "connectCoreV1OptionsNamespacedPodProxyWithPath",
        ),
        ("/api/v1/nodes/{name}/status", "put", "replaceCoreV1NodeStatus"),
        ("/api/v1/", "get", "getCoreV1APIResources"),
    ];
    for (path, method, name) in names {
        assert_eq!(operation(&core, path, method)["operationId"], name);
    }
    let flow = openapi::v3("flowcontrol.apiserver.k8s.io", "v1").unwrap().plain();
    let flow: Value = serde_json::from_slice(&flow).unwrap();
    let list = operation(&flow, "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", "get");
    assert_eq!(list["operationId"], "listFlowcontrolApiserverV1FlowSchema");
    assert_eq!(list["tags"][0], "flowcontrolApiserver_v1");
    let deletion = operation(&core, pod, "delete");
    let codes: Vec<&String> = deletion["responses"].as_object().unwrap().keys().collect();
    assert_eq!(codes, ["200", "202", "401"]);
}

/// Parameters that every operation of a path takes stand at the path, as generated clients expect them.
#[test]
fn shared_parameters_stand_at_the_path() {
    let core: Value = serde_json::from_slice(&openapi::v3("", "v1").unwrap().plain()).unwrap();
    let names = |list: &Value| -> Vec<String> {
        let all = list.as_array().into_iter().flatten();
        all.map(|p| p["name"].as_str().unwrap().to_owned()).collect()
    };
    let log = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/log"];
    let wanted = [
        "container",
        "follow",
        "insecureSkipTLSVerifyBackend",
        "limitBytes",
        "name",
        "namespace",
        "pretty",
        "previous",
        "sinceSeconds",
        "stream",
        "tailLines",
        "timestamps",
    ];
    assert_eq!(names(&log["parameters"]), wanted);
    assert_eq!(log["get"]["parameters"], Value::Null);
    let pod = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"];
    assert_eq!(names(&pod["parameters"]), ["name", "namespace", "pretty"]);
    assert_eq!(
        names(&pod["patch"]["parameters"]),
        ["dryRun", "fieldManager", "fieldValidation", "force"]
    );
}

/// Discovery, the version and the token issuer have documents of their own.
#[test]
fn paths_above_resources_have_documents() {
    let index: Value = serde_json::from_slice(&openapi::v3_index(&Selection::default(), &[])).unwrap();
    for path in [
        "api",
        "apis",
        "apis/apps",
        "version",
        "openid/v1/jwks",
        ".well-known/openid-configuration",
    ] {
        assert!(index["paths"][path].is_object(), "{path} is not in the index");
        let document: Value =
            serde_json::from_slice(&openapi::v3_at(&Selection::default(), path).unwrap().plain()).unwrap();
        assert!(
            document["paths"][format!("/{path}/")]["get"].is_object(),
            "{path}"
        );
    }
}
