//! List and map types: what sets hold, and that the keys of a map's items are there.

use corten_meta::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::keywords::Demands;
use super::{entries, go_form, items, text};

const LIST: &str = "x-kubernetes-list-type";
const MAP: &str = "x-kubernetes-map-type";
const KEYS: &str = "x-kubernetes-list-map-keys";

pub(super) fn validate(schema: &Value, demands: Demands, path: &Path, errors: &mut ErrorList) {
    let list = schema[LIST].as_str();
    if let Some(map) = schema[MAP].as_str() {
        demand_type(schema, "object", MAP, path, errors);
        if !matches!(map, "atomic" | "granular") {
            errors.push(Error::not_supported(
                &path.child(MAP),
                map,
                &["atomic", "granular"],
            ));
        }
    }
    let wrong_type = list.is_some() && demand_type(schema, "array", LIST, path, errors);
    if !wrong_type && demands.atomic_sets && list == Some("set") {
        atomic_items(&schema["items"], &path.child("items"), errors);
    }
    if let Some(list) = list.filter(|list| !matches!(*list, "atomic" | "set" | "map")) {
        errors.push(Error::not_supported(
            &path.child(LIST),
            list,
            &["atomic", "set", "map"],
        ));
    }
    if !items(&schema[KEYS]).is_empty() && list != Some("map") {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match list {
            None => Error::required(&path.child(LIST), detail),
            Some(list) => Error::invalid(&path.child(LIST), list, detail),
        });
    }
    if list == Some("map") {
        map_list(schema, path, errors);
    }
    if demands.sound_keys {
        keys(schema, path, errors);
    }
}

fn demand_type(schema: &Value, wanted: &str, because: &str, path: &Path, errors: &mut ErrorList) -> bool {
    let kind = text(schema, "type");
    let detail = format!("must be {wanted} if {because} is specified");
    let at = path.child("type");
    match kind {
        "" => errors.push(Error::required(&at, detail)),
        kind if kind != wanted => errors.push(Error::invalid(&at, kind, detail)),
        _ => return false,
    }
    true
}

/// Why an item is not one value as a whole; upstream shows the list type where it means the map type.
fn not_atomic(item: &Value) -> Option<&'static str> {
    match text(item, "type") {
        "array" => item[LIST].as_str().filter(|list| *list != "atomic").map(|_| LIST),
        "object" => (item[MAP] != "atomic").then_some(MAP),
        _ => None,
    }
}

fn atomic_items(item: &Value, path: &Path, errors: &mut ErrorList) {
    if let Some(key) = not_atomic(item) {
        let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
        errors.push(Error::invalid(&path.child(key), item[LIST].clone(), detail));
    }
}

pub(super) fn has_non_atomic_set(schema: &Value) -> bool {
    super::walk::any(schema, &mut |node| {
        node[LIST] == "set" && not_atomic(&node["items"]).is_some()
    })
}

fn map_list(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let keys = items(&schema[KEYS]);
    let item = &schema["items"];
    let at = path.child("items");
    if keys.is_empty() {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        errors.push(Error::required(&path.child(KEYS), detail));
    }
    if item.is_null() {
        let detail = "must have a schema if x-kubernetes-list-type is map";
        return errors.push(Error::required(&at, detail));
    }
    if !item.is_object() {
        let shown = go_form::shown_items(item);
        let detail = format!("{shown}: must only have a single schema if x-kubernetes-list-type is map");
        let mut error = Error::invalid(&at, Value::Null, detail);
        error.bad_value = None;
        return errors.push(error);
    }
    let kind = text(item, "type");
    if kind != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        return errors.push(Error::invalid(&at.child("type"), kind, detail));
    }
    for (index, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        match item["properties"].get(name) {
            None => {
                let detail = "entries must all be names of item properties";
                errors.push(Error::invalid(&path.child(KEYS), schema[KEYS].clone(), detail));
            }
            Some(property) if matches!(text(property, "type"), "array" | "object") => {
                let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                let at = at.child("properties").key(name).child("type");
                errors.push(Error::invalid(&at, kind, detail));
            }
            Some(_) => {}
        }
        if keys[..index].contains(key) {
            let detail = "must not contain duplicate entries";
            errors.push(Error::invalid(&path.child(KEYS), schema[KEYS].clone(), detail));
        }
    }
}

/// Items of sets and maps are never null, and a map's keys are always there.
fn keys(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let (item, list) = (&schema["items"], text(schema, LIST));
    if !item.is_object() || !matches!(list, "set" | "map") {
        return;
    }
    let at = path.child("items");
    if item["nullable"] == true {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {list}");
        errors.push(Error::forbidden(&at.child("nullable"), detail));
    }
    if list != "map" {
        return;
    }
    let required = items(&item["required"]);
    for key in items(&schema[KEYS]) {
        let name = key.as_str().unwrap_or_default();
        let Some((_, property)) = entries(&item["properties"]).find(|(n, _)| *n == name) else {
            continue;
        };
        let at = at.child("properties").key(name);
        if !required.contains(key) && property["default"].is_null() {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(Error::required(&at.child("default"), detail));
        }
        if property["nullable"] == true {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(Error::forbidden(&at.child("nullable"), detail));
        }
    }
}

pub(super) fn has_unsound_keys(schema: &Value) -> bool {
    super::walk::any(schema, &mut |node| {
        let mut errors = ErrorList::new();
        keys(node, &Path::root(), &mut errors);
        !errors.is_empty()
    })
}
