//! Generated schemas against those upstream serves.

use corten_schema::{openapi, resources};
use serde_json::Value;

use crate::facts;
use crate::golden::differs;

fn upstream(served: &resources::ServedVersion) -> Option<Value> {
    let name = openapi::v3_path(*served).replace('/', "__");
    let text = std::fs::read(facts::dir().join(format!("oracle/openapi-v3/{name}.json"))).ok()?;
    serde_json::from_slice(&text).ok()
}

/// A reference alone and one wrapped for siblings mean the same; upstream wraps those with a description.
fn unwrap_references(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Array(all)) = map.get_mut("allOf")
                && let [only] = all.as_mut_slice()
            {
                let only = std::mem::take(only);
                map.remove("allOf");
                map.extend(only.as_object().unwrap().clone());
            }
            map.values_mut().for_each(unwrap_references);
        }
        Value::Array(items) => items.iter_mut().for_each(unwrap_references),
        _ => {}
    }
}

#[test]
fn schemas_are_upstreams() {
    let (mut failures, mut seen) = (Vec::new(), 0);
    for served in resources::versions() {
        let (Some(mut want), Some(document)) = (upstream(served), openapi::v3(served.group, served.version))
        else {
            continue;
        };
        let mut got: Value = serde_json::from_slice(&document.plain()).unwrap();
        unwrap_references(&mut want);
        unwrap_references(&mut got);
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

/// The two forms of version 2 say the same; protobuf is read back as far as its names go.
#[test]
fn version_two_has_every_definition_in_both_forms() {
    let json: Value = serde_json::from_slice(&openapi::v2().plain()).unwrap();
    let definitions = json["definitions"].as_object().unwrap();
    let protobuf = openapi::v2_protobuf().plain();
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
    let index: Value = serde_json::from_slice(&openapi::v3_index(&[])).unwrap();
    assert!(
        index["paths"]["apis/apps/v1"]["serverRelativeURL"]
            .as_str()
            .unwrap()
            .starts_with("/openapi/v3/apis/apps/v1?hash=")
    );
}
