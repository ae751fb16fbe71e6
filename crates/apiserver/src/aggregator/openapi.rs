//! OpenAPI of remote APIServices: v3 documents stay where they are and are listed; v2 documents are merged into one.
//! Rules: upstream's controllers/openapi and openapiv3, and kube-openapi's `MergeSpecsIgnorePathConflict…`.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Aggregator;
use super::service::ApiService;

/// Where definitions are referred to.
const DEFINITIONS: &str = "#/definitions/";

/// Reads where the server's v3 documents are, and its v2 document.
pub async fn read(service: &ApiService) {
    let Ok(transport) = &service.transport else { return };
    if let Ok(answer) = transport.get("/openapi/v3", "application/json", None).await
        && let Ok(mut index) = serde_json::from_slice::<Value>(&answer.body)
        && let Value::Object(mut paths) = index["paths"].take()
    {
        paths.retain(|path, _| path.starts_with("apis/"));
        service.openapi_v3.store(Some(Arc::new(paths)));
    }
    if let Ok(answer) = transport.get("/openapi/v2", "application/json", None).await
        && let Ok(document) = serde_json::from_slice::<Value>(&answer.body)
    {
        let own = cut_down(
            &document,
            &format!("/apis/{}/{}/", service.group, service.version),
        );
        if service.openapi_v2.load().as_deref() != Some(&own) {
            service.openapi_v2.store(Some(Arc::new(own)));
        }
    }
}

/// What remote servers add to the v2 document. The same part stays at the same address until it changes.
pub fn v2_parts(aggregator: &Aggregator) -> Vec<Arc<Value>> {
    let services = aggregator.services();
    services
        .iter()
        .filter_map(|service| service.openapi_v2.load_full())
        .collect()
}

/// `paths` of the v3 index with those of remote servers.
pub fn merged_v3_index(aggregator: &Aggregator, own: Vec<u8>) -> Vec<u8> {
    if aggregator.is_empty() {
        return own;
    }
    let Ok(mut index) = serde_json::from_slice::<Value>(&own) else {
        return own;
    };
    for service in aggregator.services() {
        for (path, entry) in service.openapi_v3.load_full().iter().flat_map(|p| p.iter()) {
            if index["paths"][path].is_null() {
                index["paths"][path] = entry.clone();
            }
        }
    }
    index.to_string().into_bytes()
}

/// The server that has the v3 document of a path (`apis/GROUP/VERSION`).
pub fn v3_server(aggregator: &Aggregator, path: &str) -> Option<Arc<ApiService>> {
    if aggregator.is_empty() {
        return None;
    }
    let has = |s: &Arc<ApiService>| s.openapi_v3.load().as_ref().is_some_and(|p| p.contains_key(path));
    aggregator.services().into_iter().find(has)
}

/// The paths below a prefix with the definitions they lead to.
fn cut_down(document: &Value, prefix: &str) -> Value {
    let mut paths = document["paths"].as_object().cloned().unwrap_or_default();
    paths.retain(|path, _| path.starts_with(prefix));
    let (mut seen, mut pending) = (BTreeSet::new(), BTreeSet::new());
    paths.values().for_each(|item| references(item, &mut pending));
    let mut definitions = Map::new();
    while let Some(name) = pending.pop_first() {
        if let Some(definition) = document["definitions"].get(&name)
            && seen.insert(name.clone())
        {
            references(definition, &mut pending);
            definitions.insert(name, definition.clone());
        }
    }
    serde_json::json!({"paths": paths, "definitions": definitions})
}

/// Names of the definitions that a value refers to.
fn references(value: &Value, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str().and_then(|text| text.strip_prefix(DEFINITIONS)) {
                    Some(name) if key == "$ref" => drop(out.insert(name.to_owned())),
                    _ => references(value, out),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|value| references(value, out)),
        _ => {}
    }
}

/// Adds one document to another. A definition whose name is taken by a different one gets a new name.
pub fn merge(into: &mut Value, from: &Value) {
    let empty = Map::new();
    let definitions = from["definitions"].as_object().unwrap_or(&empty);
    let mut renamed = Vec::new();
    for (name, definition) in definitions {
        let known = &into["definitions"];
        if known.get(name).is_none_or(|other| other == definition) {
            continue;
        }
        let fresh = (2..)
            .map(|n| format!("{name}_v{n}"))
            .find(|candidate| known.get(candidate).is_none() && !definitions.contains_key(candidate));
        renamed.extend(fresh.map(|fresh| (name.clone(), fresh)));
    }
    let new_name = |name: &str| {
        renamed
            .iter()
            .find(|(old, _)| old == name)
            .map(|(_, new)| new.clone())
    };
    for (name, definition) in definitions {
        let mut definition = definition.clone();
        rename(&mut definition, &new_name);
        let name = new_name(name).unwrap_or_else(|| name.clone());
        into["definitions"][name] = definition;
    }
    for (path, item) in from["paths"].as_object().unwrap_or(&empty) {
        if into["paths"].get(path).is_none() {
            let mut item = item.clone();
            rename(&mut item, &new_name);
            into["paths"][path] = item;
        }
    }
}

fn rename(value: &mut Value, new_name: &impl Fn(&str) -> Option<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                let target = value.as_str().and_then(|text| text.strip_prefix(DEFINITIONS));
                match target.and_then(new_name) {
                    Some(fresh) if key == "$ref" => *value = format!("{DEFINITIONS}{fresh}").into(),
                    _ => rename(value, new_name),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|value| rename(value, new_name)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_a_version_needs_is_taken_and_clashes_are_renamed() {
        let remote = json!({
            "paths": {
                "/apis/x.io/v1/foos": {"get": {"schema": {"$ref": "#/definitions/Foo"}}},
                "/apis/y.io/v1/bars": {"get": {"schema": {"$ref": "#/definitions/Bar"}}},
            },
            "definitions": {
                "Foo": {"properties": {"meta": {"$ref": "#/definitions/Meta"}}},
                "Meta": {"type": "object", "description": "theirs"},
                "Bar": {"type": "object"},
            },
        });
        let part = cut_down(&remote, "/apis/x.io/v1/");
        assert!(part["definitions"].get("Bar").is_none());
        let mut whole = json!({"paths": {}, "definitions": {"Meta": {"type": "object"}}});
        merge(&mut whole, &part);
        let definitions = &whole["definitions"];
        assert_eq!(definitions["Meta"], json!({"type": "object"}));
        assert_eq!(definitions["Meta_v2"]["description"], "theirs");
        assert_eq!(
            definitions["Foo"]["properties"]["meta"]["$ref"],
            "#/definitions/Meta_v2"
        );
        assert!(whole["paths"].get("/apis/x.io/v1/foos").is_some());
    }
}
