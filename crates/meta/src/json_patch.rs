//! JSON patch (RFC 6902) as upstream applies it. Its library departs from the RFC where clients have come to rely on it:
//! `replace` puts a member where there was none, indices may count from the end, an `add` without a value adds null.
//! Facts: `evanphx/json-patch` v4. A crate that keeps to the RFC would refuse what upstream takes.

use std::fmt;

use serde_json::Value;

/// Bytes that the `copy` operations of one patch may add, as upstream (`JSONPatchMaxCopyBytes`).
const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

/// Why a patch does not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A `test` found something else.
    Test(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Test(text) | Self::Other(text)) = self;
        f.write_str(text)
    }
}

fn missing(text: String) -> Failure {
    Failure::Other(format!("{text}: missing value"))
}

/// The operations of a patch.
///
/// # Errors
/// What Go's decoder says of a document that is no list of objects.
pub fn operations(patch: &Value) -> Result<&[Value], String> {
    let of = |value: &Value, wanted: &str| {
        let word = crate::json_word(value);
        format!("json: cannot unmarshal {word} into Go value of type {wanted}")
    };
    let Value::Array(operations) = patch else {
        return Err(of(patch, "jsonpatch.Patch"));
    };
    match operations.iter().find(|o| !o.is_object() && !o.is_null()) {
        Some(wrong) => Err(of(wrong, "jsonpatch.Operation")),
        None => Ok(operations),
    }
}

/// Applies the operations one after the other; on a failure the document is spoiled.
///
/// # Errors
/// See [`Failure`].
pub fn apply(document: &mut Value, operations: &[Value]) -> Result<(), Failure> {
    let mut copied = 0;
    for operation in operations {
        match operation["op"].as_str().unwrap_or("unknown") {
            "add" => add(document, operation)?,
            "remove" => remove(document, operation)?,
            "replace" => replace(document, operation)?,
            "move" => move_(document, operation)?,
            "test" => test(document, operation)?,
            "copy" => copy(document, operation, &mut copied)?,
            other => return Err(Failure::Other(format!("Unexpected kind: {other}"))),
        }
    }
    Ok(())
}

fn member<'a>(operation: &'a Value, name: &str) -> Option<&'a str> {
    operation[name].as_str()
}

/// Where the operations `move` and `copy` take from.
fn from<'a>(operation: &'a Value, kind: &str) -> Result<&'a str, Failure> {
    member(operation, "from").ok_or_else(|| {
        missing(format!(
            "{kind} operation failed to decode from: operation, missing from field"
        ))
    })
}

/// The container that a path leads to, and the key in it; `absent` is what to say where it leads nowhere.
fn lead<'a>(
    document: &'a mut Value,
    path: &str,
    absent: fmt::Arguments<'_>,
) -> Result<(&'a mut Value, String), Failure> {
    find(document, path).ok_or_else(|| missing(absent.to_string()))
}

fn find<'a>(document: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let mut parts: Vec<&str> = path.split('/').skip(1).collect();
    let key = parts.pop()?;
    let mut at = document;
    for part in parts {
        at = match at {
            Value::Object(members) => members.get_mut(&unescaped(part))?,
            Value::Array(items) => {
                let index = index(part, items.len()).ok()?;
                items.get_mut(index)?
            }
            _ => return None,
        };
    }
    (at.is_object() || at.is_array()).then(|| (at, unescaped(key)))
}

fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// A place in a list of so many; a negative one counts from the end. It may lie behind the end.
fn index(key: &str, length: usize) -> Result<usize, String> {
    let number: i64 = key
        .parse()
        .map_err(|_| format!("strconv.Atoi: parsing {key:?}: invalid syntax"))?;
    let place = if number < 0 {
        number.checked_add(length as i64)
    } else {
        Some(number)
    };
    place
        .and_then(|place| usize::try_from(place).ok())
        .ok_or_else(|| invalid_index(number))
}

fn invalid_index(number: impl fmt::Display) -> String {
    format!("Unable to access invalid index: {number}: invalid index referenced")
}

/// What stands at a key: nothing is null, as in objects that have no such member.
fn get<'a>(container: &'a Value, key: &str) -> Result<&'a Value, String> {
    match container {
        Value::Array(items) => {
            let index = index(key, items.len())?;
            items.get(index).ok_or_else(|| invalid_index(index))
        }
        object => Ok(&object[key]),
    }
}

fn put(container: &mut Value, key: String, value: Value) -> Result<(), String> {
    match container {
        Value::Object(members) => drop(members.insert(key, value)),
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let index = index(&key, items.len() + 1).map_err(|error| match key.parse::<i64>() {
                Ok(_) => error,
                Err(_) => format!("value was not a proper array index: '{key}': {error}"),
            })?;
            if index > items.len() {
                return Err(invalid_index(index));
            }
            items.insert(index, value);
        }
        _ => {}
    }
    Ok(())
}

fn take(container: &mut Value, key: &str) -> Result<Value, String> {
    match container {
        Value::Array(items) => {
            let index = index(key, items.len())?;
            if index >= items.len() {
                return Err(invalid_index(index));
            }
            Ok(items.remove(index))
        }
        Value::Object(members) => members
            .remove(key)
            .ok_or_else(|| format!("Unable to remove nonexistent key: {key}: missing value")),
        _ => Ok(Value::Null),
    }
}

fn add(document: &mut Value, operation: &Value) -> Result<(), Failure> {
    let path =
        member(operation, "path").ok_or_else(|| missing("add operation failed to decode path".into()))?;
    let (container, key) = lead(
        document,
        path,
        format_args!("add operation does not apply: doc is missing path: \"{path}\""),
    )?;
    put(container, key, operation["value"].clone())
        .map_err(|error| Failure::Other(format!("error in add for path: '{path}': {error}")))
}

fn remove(document: &mut Value, operation: &Value) -> Result<(), Failure> {
    let path =
        member(operation, "path").ok_or_else(|| missing("remove operation failed to decode path".into()))?;
    let (container, key) = lead(
        document,
        path,
        format_args!("remove operation does not apply: doc is missing path: \"{path}\""),
    )?;
    take(container, &key)
        .map(drop)
        .map_err(|error| Failure::Other(format!("error in remove for path: '{path}': {error}")))
}

/// No path, in what every operation but `add` and `remove` says of it.
fn no_path(kind: &str) -> Failure {
    missing(format!(
        "{kind} operation failed to decode path: operation missing path field"
    ))
}

fn replace(document: &mut Value, operation: &Value) -> Result<(), Failure> {
    let path = member(operation, "path").ok_or_else(|| no_path("replace"))?;
    let value = &operation["value"];
    if path.is_empty() {
        if !value.is_object() && !value.is_array() {
            return Err(Failure::Other(
                "replace operation value must be object or array".into(),
            ));
        }
        *document = value.clone();
        return Ok(());
    }
    let (container, key) = lead(
        document,
        path,
        format_args!("replace operation does not apply: doc is missing path: {path}"),
    )?;
    get(container, &key).map_err(|_| {
        missing(format!(
            "replace operation does not apply: doc is missing key: {path}"
        ))
    })?;
    match container {
        Value::Array(items) => {
            if let Some(item) = index(&key, items.len()).ok().and_then(|at| items.get_mut(at)) {
                *item = value.clone();
            }
        }
        object => object[key] = value.clone(),
    }
    Ok(())
}

fn move_(document: &mut Value, operation: &Value) -> Result<(), Failure> {
    let from = from(operation, "move")?;
    let (container, key) = lead(
        document,
        from,
        format_args!("move operation does not apply: doc is missing from path: {from}"),
    )?;
    let value = take(container, &key)
        .map_err(|error| Failure::Other(format!("error in move for path: '{key}': {error}")))?;
    let path = member(operation, "path").ok_or_else(|| no_path("move"))?;
    let (container, key) = lead(
        document,
        path,
        format_args!("move operation does not apply: doc is missing destination path: {path}"),
    )?;
    put(container, key, value)
        .map_err(|error| Failure::Other(format!("error in move for path: '{path}': {error}")))
}

fn test(document: &mut Value, operation: &Value) -> Result<(), Failure> {
    let path = member(operation, "path").ok_or_else(|| no_path("test"))?;
    let found = if path.is_empty() {
        &*document
    } else {
        let (container, key) = lead(
            document,
            path,
            format_args!("test operation does not apply: is missing path: {path}"),
        )?;
        get(container, &key)
            .map_err(|error| Failure::Other(format!("error in test for path: '{path}': {error}")))?
    };
    // An operation without a value asks for null, and finds it where nothing is.
    if *found == operation["value"] {
        return Ok(());
    }
    Err(Failure::Test(format!("testing value {path} failed: test failed")))
}

fn copy(document: &mut Value, operation: &Value, copied: &mut usize) -> Result<(), Failure> {
    let from = from(operation, "copy")?;
    let (container, key) = lead(
        document,
        from,
        format_args!("copy operation does not apply: doc is missing from path: {from}"),
    )?;
    let value = get(container, &key)
        .map_err(|error| Failure::Other(format!("error in copy for from: '{from}': {error}")))?
        .clone();
    let path =
        member(operation, "path").ok_or_else(|| missing("copy operation failed to decode path".into()))?;
    let (container, key) = lead(
        document,
        path,
        format_args!("copy operation does not apply: doc is missing destination path: {path}"),
    )?;
    *copied += if value.is_null() {
        0
    } else {
        value.to_string().len()
    };
    if *copied > MAX_COPIED_BYTES {
        return Err(Failure::Other(format!(
            "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED_BYTES}"
        )));
    }
    put(container, key, value)
        .map_err(|error| Failure::Other(format!("error while adding value during copy: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    /// The document after the operations, or why it has none.
    fn patched(document: &Value, patch: &Value) -> Result<Value, String> {
        let mut document = document.clone();
        apply(&mut document, operations(patch).unwrap()).map_err(|failure| failure.to_string())?;
        Ok(document)
    }

    #[test]
    fn operations_do_what_upstreams_library_does() {
        let document = json!({"m": {"a": 1, "n": null, "x/y~z": 2}, "l": [1, 2, 3]});
        let one = |operation: Value| patched(&document, &json!([operation]));
        let with = |change: fn(&mut Value)| {
            let mut changed = document.clone();
            change(&mut changed);
            Ok(changed)
        };
        for (operation, expected) in [
            (
                json!({"op": "replace", "path": "/m/new", "value": 5}),
                with(|d| d["m"]["new"] = json!(5)),
            ),
            (
                json!({"op": "replace", "path": "/l/-1", "value": 5}),
                with(|d| d["l"][2] = json!(5)),
            ),
            (
                json!({"op": "add", "path": "/m/b"}),
                with(|d| d["m"]["b"] = Value::Null),
            ),
            (
                json!({"op": "add", "path": "/l/-", "value": 4}),
                with(|d| d["l"] = json!([1, 2, 3, 4])),
            ),
            (
                json!({"op": "add", "path": "/l/-1", "value": 4}),
                with(|d| d["l"] = json!([1, 2, 3, 4])),
            ),
            (
                json!({"op": "add", "path": "/l/01", "value": 4}),
                with(|d| d["l"] = json!([1, 4, 2, 3])),
            ),
            (
                json!({"op": "remove", "path": "/l/-3"}),
                with(|d| d["l"] = json!([2, 3])),
            ),
            (
                json!({"op": "remove", "path": "/m/n"}),
                with(|d| d["m"] = json!({"a": 1, "x/y~z": 2})),
            ),
            (
                json!({"op": "move", "from": "/m/x~1y~0z", "path": "/l/0"}),
                with(|d| *d = json!({"m": {"a": 1, "n": null}, "l": [2, 1, 2, 3]})),
            ),
            (
                json!({"op": "copy", "from": "/m/none", "path": "/m/c"}),
                with(|d| d["m"]["c"] = Value::Null),
            ),
            (
                json!({"op": "copy", "from": "/l", "path": "/m/c"}),
                with(|d| d["m"]["c"] = json!([1, 2, 3])),
            ),
            (json!({"op": "test", "path": "/m/none"}), with(|_| ())),
            (json!({"op": "test", "path": "/m/n", "value": null}), with(|_| ())),
            (
                json!({"op": "replace", "path": "", "value": {"z": 1}}),
                with(|d| *d = json!({"z": 1})),
            ),
        ] {
            assert_eq!(one(operation.clone()), expected, "{operation}");
        }
    }

    #[test]
    fn what_does_not_apply_says_why() {
        let document = json!({"m": {"a": 1, "n": null}, "l": [1]});
        for (operation, expected) in [
            (
                json!({"op": "frobnicate", "path": "/m"}),
                "Unexpected kind: frobnicate",
            ),
            (json!({"path": "/m"}), "Unexpected kind: unknown"),
            (
                json!({"op": "add", "value": 1}),
                "add operation failed to decode path: missing value",
            ),
            (
                json!({"op": "add", "path": "", "value": 1}),
                "add operation does not apply: doc is missing path: \"\": missing value",
            ),
            (
                json!({"op": "add", "path": "/m/n/x", "value": 1}),
                "add operation does not apply: doc is missing path: \"/m/n/x\": missing value",
            ),
            (
                json!({"op": "add", "path": "/l/9", "value": 1}),
                "error in add for path: '/l/9': Unable to access invalid index: 9: invalid index referenced",
            ),
            (
                json!({"op": "add", "path": "/l/x", "value": 1}),
                "error in add for path: '/l/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                json!({"op": "remove", "path": "/m/zz"}),
                "error in remove for path: '/m/zz': Unable to remove nonexistent key: zz: missing value",
            ),
            (
                json!({"op": "remove", "path": "/l/-2"}),
                "error in remove for path: '/l/-2': Unable to access invalid index: -2: invalid index referenced",
            ),
            (
                json!({"op": "replace", "path": "/l/3", "value": 1}),
                "replace operation does not apply: doc is missing key: /l/3: missing value",
            ),
            (
                json!({"op": "move", "path": "/m"}),
                "move operation failed to decode from: operation, missing from field: missing value",
            ),
            (
                json!({"op": "test", "path": "/m/a", "value": 1.0}),
                "testing value /m/a failed: test failed",
            ),
            (
                json!({"op": "test", "path": "/m/a"}),
                "testing value /m/a failed: test failed",
            ),
        ] {
            assert_eq!(
                patched(&document, &json!([operation])),
                Err(expected.to_owned()),
                "{operation}"
            );
        }
        let long = json!({"a": "x".repeat(MAX_COPIED_BYTES)});
        let copies = patched(&long, &json!([{"op": "copy", "from": "/a", "path": "/b"}])).unwrap_err();
        assert!(copies.starts_with("Unable to complete the copy"), "{copies}");
    }

    #[test]
    fn a_patch_is_a_list_of_objects() {
        for (patch, expected) in [
            (
                json!({}),
                "json: cannot unmarshal object into Go value of type jsonpatch.Patch",
            ),
            (
                json!(["x"]),
                "json: cannot unmarshal string into Go value of type jsonpatch.Operation",
            ),
        ] {
            assert_eq!(operations(&patch), Err(expected.to_owned()));
        }
        assert_eq!(
            patched(&json!({}), &json!([null])),
            Err("Unexpected kind: unknown".to_owned())
        );
    }
}
