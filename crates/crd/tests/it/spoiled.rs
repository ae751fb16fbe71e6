//! Definitions and objects of which little is right.

use corten_crd::jsonpath::JsonPath;
use corten_crd::{Structural, object, validate};
use corten_fuzz::value;
use corten_meta::field::Path;
use serde_json::{Value, json};

fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["spec"],
        "properties": {"spec": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 20, "pattern": "^[a-z]+(-[a-z]+)*$", "default": "a"},
                "at": {"type": "string", "format": "date-time"},
                "count": {"type": "integer", "format": "int32", "minimum": 1, "multipleOf": 2, "nullable": true},
                "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "kind": {"type": "string", "enum": ["A", "B"]},
                "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "maxItems": 4,
                    "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "number"}}}},
                "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "format": "ipv4"}},
                "map": {"type": "object", "additionalProperties": {"type": "boolean"}, "maxProperties": 3},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}
            },
            "oneOf": [{"required": ["name"]}, {"not": {"required": ["list"]}}],
            "x-kubernetes-validations": [{"rule": "self.name != 'b' || has(self.count)", "message": "no"}]
        }}
    })
}

fn instance() -> Value {
    json!({"apiVersion": "x.test/v1", "kind": "X", "metadata": {"name": "x"}, "spec": {
        "name": "a-b", "at": "2026-01-01T00:00:00Z", "count": 4, "port": "http", "kind": "A",
        "list": [{"k": "a", "v": 1.5}, {"k": "b"}], "set": ["10.0.0.1"], "map": {"a": true}, "free": {"x": [1, {"y": null}]},
        "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    }})
}

/// What is served of an object that came in: pruning again takes nothing more, defaulting again adds nothing.
fn pass(schema: &Structural, mut value: Value) {
    object::drop_nulls(&mut value, schema);
    object::default(&mut value, schema);
    object::prune(&mut value, schema, true, true);
    let once = value.clone();
    object::default(&mut value, schema);
    assert_eq!(
        object::prune(&mut value, schema, true, true),
        Vec::<String>::new()
    );
    assert_eq!(value, once);
    let old = instance();
    let _ = validate::object(&value, schema, &Path::default());
    let _ = validate::change(&value, &old, schema, &Path::default());
    let _ = validate::lists(&value, schema);
    let _ = object::validate_embedded(&value, schema, true);
}

#[test]
fn spoiled_schemas_are_refused_or_used() {
    let mut read = 0;
    let seed = schema().to_string().into_bytes();
    corten_fuzz::each("schema", corten_fuzz::rounds(), 36, &[seed], |random, _| {
        let mut spoiled = schema();
        for _ in 0..=random.below(3) {
            value(random, &mut spoiled);
        }
        if let Ok(schema) = Structural::parse(&spoiled) {
            read += 1;
            pass(&schema, instance());
        }
    });
    assert!(read > 100, "only {read} were read");
}

#[test]
fn spoiled_objects_are_pruned_and_checked() {
    let schema = Structural::parse(&schema()).unwrap();
    let seed = instance().to_string().into_bytes();
    corten_fuzz::each("object", corten_fuzz::rounds(), 36, &[seed], |random, _| {
        let mut spoiled = instance();
        for _ in 0..=random.below(4) {
            value(random, &mut spoiled);
        }
        if spoiled.is_object() {
            pass(&schema, spoiled);
        }
    });
}

#[test]
fn spoiled_paths_are_refused_or_found() {
    let corpus: Vec<Vec<u8>> = [
        ".spec.list[?(@.k=='a')].v",
        ".spec.list[-1:].k",
        "..name",
        ".spec['name','kind']",
        ".spec.list[0:2:1]",
        ".metadata.annotations.x\\.test/y",
        ".spec.list[*].v",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    let object = instance();
    let mut read = 0;
    corten_fuzz::spoil("JSONPath", &corpus, |input| {
        if let Some(path) = JsonPath::parse(&String::from_utf8_lossy(input)) {
            read += 1;
            let _ = path.find(&object);
        }
    });
    assert!(read > 100, "only {read} were read");
}
