//! JSON patch (RFC 6902) and JSON merge patch (RFC 7386). Strategic merge is the schema's.

use serde_json::Value;

use crate::status::{Details, Result, Status};

/// Most operations one JSON patch may hold, as upstream; over it 413.
pub const MAX_JSON_PATCH_OPERATIONS: usize = 10_000;

/// Applies a JSON patch. A patch that cannot be read is a bad request; one that does not apply is
/// unprocessable (422), as upstream answers.
pub fn json_patch(doc: &mut Value, patch: &Value) -> Result<()> {
    let count = patch.as_array().map_or(0, Vec::len);
    if count > MAX_JSON_PATCH_OPERATIONS {
        return Err(Status::request_too_large(format!(
            "The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}, got {count}"
        )));
    }
    let operations = crate::json_patch::operations(patch).map_err(Status::bad_request)?;
    // On a copy: a patch applies whole or not at all.
    let mut patched = doc.clone();
    crate::json_patch::apply(&mut patched, operations).map_err(|_| {
        Status::new(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
        )
        .with_details(Details::default())
    })?;
    *doc = patched;
    Ok(())
}

/// Applies an RFC 7386 patch: nulls delete, objects merge, all else replaces. As upstream's library has it, nulls in objects
/// within what is new go as well, also within lists; a list that replaces an object stays as it is.
pub fn merge_patch(doc: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *doc = patch.clone();
        return;
    };
    let target = crate::object::object_mut(doc);
    for (key, value) in patch {
        match target.get_mut(key.as_str()) {
            _ if value.is_null() => drop(target.remove(key)),
            Some(current) if current.is_object() => merge_patch(current, value),
            _ => drop(target.insert(key.clone(), without_nulls(value))),
        }
    }
}

/// Without the members that are null, in all objects; nulls of lists stay.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                members
                    .map(|(key, value)| (key.clone(), without_nulls(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn patches() {
        let mut doc = json!({"a": {"b": 1}, "c": [1, 2]});
        merge_patch(&mut doc, &json!({"a": {"b": null, "d": {"e": null}}, "c": [3]}));
        assert_eq!(doc, json!({"a": {"d": {}}, "c": [3]}));
        let lists = json!({"a": [{"x": null}, null], "c": [{"y": [null, {"z": null}]}]});
        merge_patch(&mut doc, &lists);
        assert_eq!(doc, json!({"a": [{"x": null}, null], "c": [{"y": [null, {}]}]}));
        doc = json!({"c": [3]});
        json_patch(&mut doc, &json!([{"op": "add", "path": "/c/-", "value": 4}])).unwrap();
        assert_eq!(doc["c"], json!([3, 4]));
        let error = json_patch(&mut doc, &json!([{"op": "test", "path": "/c/0", "value": 9}])).unwrap_err();
        assert_eq!(error.code, 422);
    }

    #[test]
    fn a_patch_that_fails_halfway_changes_nothing() {
        let mut doc = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"list": [1]}});
        let before = doc.clone();
        let patch = json!([
            {"op": "add", "path": "/metadata/labels/x", "value": "y"},
            {"op": "move", "from": "/metadata/labels", "path": "/spec/list/0"},
            {"op": "test", "path": "/nowhere", "value": 1},
        ]);
        assert_eq!(json_patch(&mut doc, &patch).unwrap_err().code, 422);
        assert_eq!(doc, before);
    }
}
