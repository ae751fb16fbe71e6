//! Merging what a mutating admission policy says into an object: as apply merges, without ownership.
//! Rules and texts: upstream's `ApplyStructuredMergeDiff`.

use corten_meta::GroupVersionKind;
use serde_json::Value;

use super::custom::CustomType;
use super::shape::{Leaf, Node, element_of};
use super::{merge, validate};
use crate::types::type_of;

/// The object with the configuration merged into it. Kinds without a type merge their maps and nothing else.
///
/// Errors: a configuration that does not fit the type, or that would replace a whole list, map or struct.
pub fn overlay(kind: &GroupVersionKind, object: &Value, configuration: &Value) -> Result<Value, String> {
    let Some(id) = type_of(kind) else {
        let mut merged = object.clone();
        maps(&mut merged, configuration, "").map_err(|path| refused(&[path]))?;
        return Ok(merged);
    };
    overlaid(Node::of(id), object, configuration)
}

/// [`overlay`] for a custom resource with this schema.
pub fn overlay_custom(
    schema: &dyn CustomType,
    object: &Value,
    configuration: &Value,
) -> Result<Value, String> {
    overlaid(Node::of_custom(schema, false), object, configuration)
}

fn overlaid(node: Node<'_>, object: &Value, configuration: &Value) -> Result<Value, String> {
    let errors = validate::errors(node, configuration);
    if !errors.is_empty() {
        let text = joined(&errors);
        return Err(format!("failed to convert patch object to typed object: {text}"));
    }
    let mut atomics = Vec::new();
    find_atomics(node, configuration, "", &mut atomics);
    if !atomics.is_empty() {
        return Err(refused(&atomics));
    }
    Ok(merge::values(node, Some(object), Some(configuration)).unwrap_or(Value::Null))
}

/// Upstream's way to print one or several faults.
pub(super) fn joined(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    }
}

fn refused(paths: &[String]) -> String {
    format!(
        "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
        paths.join(", ")
    )
}

fn find_atomics(node: Node, value: &Value, path: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(members) if node.is_map() => {
            for (name, member) in members {
                if let Some(child) = node.child(&format!("f:{name}")) {
                    find_atomics(child, member, &format!("{path}.{name}"), out);
                }
            }
        }
        Value::Array(items) if node.is_list() => {
            for (at, item) in items.iter().enumerate() {
                let child = element_of(&node, item)
                    .ok()
                    .and_then(|element| node.child(&element));
                if let Some(child) = child {
                    find_atomics(child, item, &format!("{path}[{at}]"), out);
                }
            }
        }
        Value::Object(_) | Value::Array(_) if !matches!(node, Node::Leaf(Leaf::Scalar(_))) => {
            out.push(path.to_owned());
        }
        _ => {}
    }
}

/// The path of a list, which cannot be merged without its schema.
fn maps(object: &mut Value, configuration: &Value, path: &str) -> Result<(), String> {
    match (object, configuration) {
        (_, Value::Array(_)) => Err(path.to_owned()),
        (Value::Object(object), Value::Object(configuration)) => {
            for (name, value) in configuration {
                let member = object.entry(name.clone()).or_insert(Value::Null);
                maps(member, value, &format!("{path}.{name}"))?;
            }
            Ok(())
        }
        (object, Value::Object(configuration)) => {
            *object = Value::Object(serde_json::Map::new());
            maps(object, &Value::Object(configuration.clone()), path)
        }
        (object, value) => {
            *object = value.clone();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_merge_by_key_and_atomics_are_refused() {
        let pod = GroupVersionKind::new("", "v1", "Pod");
        let live = json!({"spec": {"containers": [{"name": "a", "image": "i"}]}});
        let said = json!({"spec": {"containers": [{"name": "a", "tty": true}], "nodeSelector": null}});
        let merged = overlay(&pod, &live, &said).unwrap();
        assert_eq!(
            merged["spec"]["containers"],
            json!([{"name": "a", "image": "i", "tty": true}])
        );
        let said = json!({"spec": {"containers": [{"name": "a", "command": ["sh"]}]}});
        assert_eq!(
            overlay(&pod, &live, &said).unwrap_err(),
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.containers[0].command"
        );
        let custom = GroupVersionKind::new("example.com", "v1", "Widget");
        let merged = overlay(
            &custom,
            &json!({"spec": {"a": 1}}),
            &json!({"spec": {"b": {"c": 2}}}),
        )
        .unwrap();
        assert_eq!(merged, json!({"spec": {"a": 1, "b": {"c": 2}}}));
    }
}
