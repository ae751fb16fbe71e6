//! Lists of type set and map: no item twice.

use std::collections::HashMap;

use corten_meta::field::{Error, ErrorList};
use serde_json::{Map, Value};

use crate::place::Place;
use crate::structural::{ListType, Structural};

/// Items that a set or map of the object has more than once, each named at its second place.
pub fn lists(object: &Value, schema: &Structural) -> ErrorList {
    let mut errors = ErrorList::new();
    walk(object, schema, &Place::ROOT, &mut errors);
    errors
}

fn walk(value: &Value, schema: &Structural, at: &Place<'_>, errors: &mut ErrorList) {
    match value {
        Value::Object(map) => {
            if let Some(schema) = schema.additional_schema() {
                for (key, value) in map {
                    walk(value, schema, &at.key(key), errors);
                }
            }
            for (name, value) in map {
                if let Some(property) = schema.property(name) {
                    walk(value, property, &at.field(name), errors);
                }
            }
        }
        Value::Array(items) => {
            match schema.list_type {
                ListType::Set => {
                    for index in repeated(items.iter().cloned()) {
                        errors.push(Error::duplicate(&at.index(index).path(), items[index].clone()));
                    }
                }
                ListType::Map => keyed(items, schema, at, errors),
                _ => {}
            }
            if let Some(schema) = schema.items.as_deref() {
                for (index, item) in items.iter().enumerate() {
                    walk(item, schema, &at.index(index), errors);
                }
            }
        }
        _ => {}
    }
}

/// Where each value that occurs again does so first.
fn repeated(items: impl Iterator<Item = Value>) -> Vec<usize> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut out = Vec::new();
    for (index, item) in items.enumerate() {
        let times = seen.entry(item.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            out.push(index);
        }
    }
    out
}

fn keyed(items: &[Value], schema: &Structural, at: &Place<'_>, errors: &mut ErrorList) {
    let wrong = items.iter().position(|item| !item.is_object() && !item.is_null());
    if let Some(index) = wrong {
        let detail = "must be an object for an array of list-type map";
        return errors.push(Error::invalid(
            &at.index(index).path(),
            items[index].clone(),
            detail,
        ));
    }
    let key = |item: &Value| {
        let keys = schema.list_map_keys().iter();
        let members = keys.filter_map(|key| Some((key.to_string(), item.get(&**key)?.clone())));
        Value::Object(members.collect::<Map<String, Value>>())
    };
    for index in repeated(items.iter().map(key)) {
        errors.push(Error::duplicate(&at.index(index).path(), key(&items[index])));
    }
}
