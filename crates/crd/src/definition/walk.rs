//! Every node of a schema as written, junctors and forbidden keywords included.

use serde_json::Value;

use super::{entries, items};

const LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const SINGLES: [&str; 4] = ["not", "items", "additionalProperties", "additionalItems"];
const MAPS: [&str; 4] = ["properties", "patternProperties", "definitions", "dependencies"];

/// Some node satisfies a predicate; each is asked until one does.
pub(super) fn any(schema: &Value, predicate: &mut dyn FnMut(&Value) -> bool) -> bool {
    if !schema.is_object() {
        return false;
    }
    predicate(schema)
        || items(&schema["items"]).iter().any(|s| any(s, predicate))
        || LISTS
            .iter()
            .any(|key| items(&schema[*key]).iter().any(|s| any(s, predicate)))
        || SINGLES.iter().any(|key| any(&schema[*key], predicate))
        || MAPS
            .iter()
            .any(|key| entries(&schema[*key]).any(|(_, s)| any(s, predicate)))
}

pub(super) fn has_default(schema: &Value) -> bool {
    any(schema, &mut |node| !node["default"].is_null())
}

/// An extension that only structural schemas may use.
pub(super) fn has_extension(schema: &Value) -> bool {
    any(schema, &mut |node| {
        let set = |key: &str| node[key] == true;
        let some = |key: &str| !items(&node[key]).is_empty();
        set("x-kubernetes-embedded-resource")
            || !node["x-kubernetes-preserve-unknown-fields"].is_null()
            || set("x-kubernetes-int-or-string")
            || some("x-kubernetes-list-map-keys")
            || !node["x-kubernetes-list-type"].is_null()
            || some("x-kubernetes-validations")
    })
}
