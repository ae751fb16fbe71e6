//! Accessors for `metadata` on objects held as JSON. Readers take any shape and answer "absent" for a wrong one.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::gvk::GroupVersionKind;

pub type Object = Value;

static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

/// The object's `metadata`, empty when it has none.
pub fn metadata(obj: &Value) -> &Map<String, Value> {
    obj.get("metadata").and_then(Value::as_object).unwrap_or(&EMPTY)
}

/// The object's `metadata`, made when it has none. A value that is no object is replaced by one.
pub fn metadata_mut(obj: &mut Value) -> &mut Map<String, Value> {
    child_mut(object_mut(obj), "metadata")
}

/// `value` as a map; anything else is replaced by an empty one.
pub fn object_mut(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("just made an object"),
    }
}

/// The member `key` as a map, made when absent.
pub fn child_mut<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    object_mut(map.entry(key).or_insert_with(|| Value::Object(Map::new())))
}

fn meta_str<'a>(obj: &'a Value, key: &str) -> &'a str {
    metadata(obj).get(key).and_then(Value::as_str).unwrap_or_default()
}

fn set_meta_str(obj: &mut Value, key: &str, value: &str) {
    let meta = metadata_mut(obj);
    if value.is_empty() {
        meta.remove(key);
    } else {
        meta.insert(key.to_owned(), Value::from(value));
    }
}

pub fn api_version(obj: &Value) -> &str {
    obj.get("apiVersion").and_then(Value::as_str).unwrap_or_default()
}

pub fn kind(obj: &Value) -> &str {
    obj.get("kind").and_then(Value::as_str).unwrap_or_default()
}

/// The kind that the object says it is; `Err` for an unparsable `apiVersion`.
pub fn gvk(obj: &Value) -> Result<GroupVersionKind, String> {
    GroupVersionKind::from_api_version(api_version(obj), kind(obj))
}

pub fn set_gvk(obj: &mut Value, gvk: &GroupVersionKind) {
    let map = object_mut(obj);
    map.insert("apiVersion".to_owned(), Value::from(gvk.api_version()));
    map.insert("kind".to_owned(), Value::from(gvk.kind.as_ref()));
}

pub fn name(obj: &Value) -> &str {
    meta_str(obj, "name")
}

pub fn set_name(obj: &mut Value, name: &str) {
    set_meta_str(obj, "name", name);
}

pub fn generate_name(obj: &Value) -> &str {
    meta_str(obj, "generateName")
}

pub fn namespace(obj: &Value) -> &str {
    meta_str(obj, "namespace")
}

/// Sets or, when empty, removes the namespace.
pub fn set_namespace(obj: &mut Value, namespace: &str) {
    set_meta_str(obj, "namespace", namespace);
}

pub fn uid(obj: &Value) -> &str {
    meta_str(obj, "uid")
}

pub fn set_uid(obj: &mut Value, uid: &str) {
    set_meta_str(obj, "uid", uid);
}

pub fn resource_version(obj: &Value) -> &str {
    meta_str(obj, "resourceVersion")
}

/// Sets or, when empty, removes the resourceVersion.
pub fn set_resource_version(obj: &mut Value, version: &str) {
    set_meta_str(obj, "resourceVersion", version);
}

pub fn generation(obj: &Value) -> i64 {
    metadata(obj)
        .get("generation")
        .and_then(Value::as_i64)
        .unwrap_or(0)
}

/// Sets or, when zero, removes the generation.
pub fn set_generation(obj: &mut Value, generation: i64) {
    let meta = metadata_mut(obj);
    if generation == 0 {
        meta.remove("generation");
    } else {
        meta.insert("generation".to_owned(), Value::from(generation));
    }
}

pub fn creation_timestamp(obj: &Value) -> &str {
    meta_str(obj, "creationTimestamp")
}

pub fn set_creation_timestamp(obj: &mut Value, time: &str) {
    set_meta_str(obj, "creationTimestamp", time);
}

/// When the object is to be gone (RFC 3339), `None` while it is not being deleted.
pub fn deletion_timestamp(obj: &Value) -> Option<&str> {
    metadata(obj).get("deletionTimestamp").and_then(Value::as_str)
}

pub fn set_deletion_timestamp(obj: &mut Value, time: Option<&str>) {
    set_meta_str(obj, "deletionTimestamp", time.unwrap_or_default());
}

pub fn deletion_grace_period_seconds(obj: &Value) -> Option<i64> {
    metadata(obj)
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
}

pub fn set_deletion_grace_period_seconds(obj: &mut Value, seconds: Option<i64>) {
    let meta = metadata_mut(obj);
    match seconds {
        Some(seconds) => meta.insert("deletionGracePeriodSeconds".to_owned(), Value::from(seconds)),
        None => meta.remove("deletionGracePeriodSeconds"),
    };
}

fn string_map(obj: &Value, key: &str) -> BTreeMap<String, String> {
    string_entries(obj, key)
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

fn string_entries<'a>(obj: &'a Value, key: &str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let map = metadata(obj)
        .get(key)
        .and_then(Value::as_object)
        .unwrap_or(&EMPTY);
    map.iter().filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))
}

pub fn labels(obj: &Value) -> BTreeMap<String, String> {
    string_map(obj, "labels")
}

/// Labels without copying them.
pub fn label_entries(obj: &Value) -> impl Iterator<Item = (&str, &str)> {
    string_entries(obj, "labels")
}

pub fn label<'a>(obj: &'a Value, key: &str) -> Option<&'a str> {
    metadata(obj).get("labels")?.get(key)?.as_str()
}

pub fn set_label(obj: &mut Value, key: &str, value: &str) {
    child_mut(metadata_mut(obj), "labels").insert(key.to_owned(), Value::from(value));
}

pub fn annotations(obj: &Value) -> BTreeMap<String, String> {
    string_map(obj, "annotations")
}

pub fn annotation<'a>(obj: &'a Value, key: &str) -> Option<&'a str> {
    metadata(obj).get("annotations")?.get(key)?.as_str()
}

pub fn set_annotation(obj: &mut Value, key: &str, value: &str) {
    child_mut(metadata_mut(obj), "annotations").insert(key.to_owned(), Value::from(value));
}

/// The `ownerReferences` as they stand.
pub fn owner_refs(obj: &Value) -> &[Value] {
    metadata(obj)
        .get("ownerReferences")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The owner with `controller: true`.
pub fn controller_of(obj: &Value) -> Option<&Value> {
    owner_refs(obj)
        .iter()
        .find(|o| o.get("controller") == Some(&Value::Bool(true)))
}

pub fn finalizers(obj: &Value) -> Vec<String> {
    let list = metadata(obj).get("finalizers").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|f| f.as_str().map(str::to_owned))
        .collect()
}

/// Sets or, when empty, removes the finalizers.
pub fn set_finalizers(obj: &mut Value, finalizers: &[String]) {
    let meta = metadata_mut(obj);
    if finalizers.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert(
            "finalizers".to_owned(),
            finalizers.iter().map(String::as_str).collect(),
        );
    }
}

/// `spec.replicas`-style lookup: `at(obj, &["spec", "replicas"])`.
pub fn at<'a>(obj: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(obj, |value, key| value.get(key))
}

/// The string at a path, empty when absent.
pub fn str_at<'a>(obj: &'a Value, path: &[&str]) -> &'a str {
    at(obj, path).and_then(Value::as_str).unwrap_or_default()
}

/// A random version 4 UID.
pub fn new_uid() -> String {
    // The process's generator, seeded by the kernel: `new_v4` would ask the kernel each time.
    uuid::Builder::from_random_bytes(rand::random())
        .into_uuid()
        .to_string()
}

/// Letters of generated name suffixes: no vowels, no look-alikes (apimachinery `util/rand`).
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
const GENERATED_BASE_MAX: usize = 63 - SUFFIX_LENGTH;

/// A name made from a `generateName`: the base cut to 58 bytes and five random letters.
pub fn generated_name(base: &str) -> String {
    let mut end = base.len().min(GENERATED_BASE_MAX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut out = base[..end].to_owned();
    out.push_str(&random_suffix(SUFFIX_LENGTH));
    out
}

/// `length` random letters safe in names.
pub fn random_suffix(length: usize) -> String {
    (0..length)
        .map(|_| char::from(SUFFIX_LETTERS[rand::random_range(0..SUFFIX_LETTERS.len())]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_and_writes_metadata() {
        let mut obj = json!({"metadata": {"name": "a", "labels": {"x": "y"}, "finalizers": ["f"]}});
        assert_eq!(name(&obj), "a");
        assert_eq!(label(&obj, "x"), Some("y"));
        set_finalizers(&mut obj, &[]);
        set_namespace(&mut obj, "ns");
        set_generation(&mut obj, 2);
        assert_eq!(
            obj["metadata"],
            json!({"name": "a", "namespace": "ns", "generation": 2, "labels": {"x": "y"}})
        );
        assert_eq!(name(&json!(3)), "");
        assert_eq!(generated_name(&"n".repeat(70)).len(), 63);
    }
}
