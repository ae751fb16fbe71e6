//! What schemas do to objects.

use corten_crd::{Structural, object, validate};
use corten_meta::field::Path;
use serde_json::{Value, json};

fn schema(value: Value) -> Structural {
    Structural::parse(&value).unwrap().for_objects()
}

fn errors(of: &Value, value: Value) -> Vec<String> {
    let schema = schema(json!({"type": "object", "properties": {"a": of}}));
    let found = validate::object(&json!({ "a": value }), &schema, &Path::root());
    found.iter().map(ToString::to_string).collect()
}

fn check(of: Value, value: Value, expected: &[&str]) {
    assert_eq!(errors(&of, value.clone()), expected, "{of} {value}");
}

#[test]
fn types() {
    check(
        json!({"type": "string"}),
        json!(1),
        &["a: Invalid value: \"integer\": a in body must be of type string: \"integer\""],
    );
    check(
        json!({"type": "string"}),
        Value::Null,
        &["a: Invalid value: \"null\": a in body must be of type string: \"null\""],
    );
    check(json!({"type": "string", "nullable": true}), Value::Null, &[]);
    check(json!({"type": "integer"}), json!(2.0), &[]);
    check(
        json!({"type": "integer"}),
        json!(1.5),
        &[
            "a: Invalid value: \"number\": a in body must be of type integer: \"number\"",
            "<nil>: Invalid value: \"\": Checked value must be of type integer (default format) in a",
        ],
    );
    check(json!({"x-kubernetes-int-or-string": true}), json!(1), &[]);
    check(
        json!({"x-kubernetes-int-or-string": true}),
        json!([]),
        &["a: Invalid value: \"array\": a in body must be of type integer,string: \"array\""],
    );
    // Formats of numbers say nothing.
    for (schema, value) in [
        (
            json!({"type": "integer", "format": "int32"}),
            json!(3_000_000_000_i64),
        ),
        (json!({"type": "number", "format": "float"}), json!(1e300)),
    ] {
        check(schema, value, &[]);
    }
    check(
        json!({"type": "integer", "format": "int32"}),
        json!(true),
        &["a: Invalid value: \"boolean\": a in body must be of type integer: \"boolean\""],
    );
}

#[test]
fn numbers_and_texts() {
    check(
        json!({"type": "integer", "minimum": 1}),
        json!(0),
        &["a: Invalid value: 0: a in body should be greater than or equal to 1"],
    );
    check(
        json!({"type": "integer", "maximum": 1, "exclusiveMaximum": true}),
        json!(1),
        &["a: Invalid value: 1: a in body should be less than 1"],
    );
    check(
        json!({"type": "number", "multipleOf": 0.5}),
        json!(1.25),
        &["a: Invalid value: 1.25: a in body should be a multiple of 0.5"],
    );
    check(
        json!({"type": "string", "maxLength": 2}),
        json!("äöü"),
        &["a: Too long: may not be more than 2 bytes"],
    );
    check(
        json!({"type": "string", "minLength": 2}),
        json!("x"),
        &["a: Invalid value: \"x\": a in body should be at least 2 chars long"],
    );
    check(
        json!({"type": "string", "pattern": "^b+$"}),
        json!("c"),
        &["a: Invalid value: \"c\": a in body should match '^b+$'"],
    );
    check(
        json!({"type": "string", "format": "date"}),
        json!("x"),
        &["a: Invalid value: \"x\": a in body must be of type date: \"x\""],
    );
    check(json!({"type": "string", "format": "nonsense"}), json!("x"), &[]);
    check(
        json!({"type": "string", "enum": ["a", "b"]}),
        json!("c"),
        &["a: Unsupported value: \"c\": supported values: \"a\", \"b\""],
    );
    check(
        json!({"type": "integer", "enum": [1, 2]}),
        json!(3),
        &["a: Unsupported value: 3: supported values: \"1\", \"2\""],
    );
}

#[test]
fn containers() {
    let list = |extra: Value| {
        let mut out = json!({"type": "array", "items": {"type": "integer"}});
        out.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        out
    };
    check(
        list(json!({"maxItems": 1})),
        json!([1, 2]),
        &["a: Too many: 2: must have at most 1 item"],
    );
    check(
        list(json!({"minItems": 1})),
        json!([]),
        &["a: Invalid value: 0: a in body should have at least 1 items"],
    );
    check(
        list(json!({})),
        json!([1, "x"]),
        &["a[1]: Invalid value: \"string\": a[1] in body must be of type integer: \"string\""],
    );
    check(
        json!({"type": "object", "required": ["b"]}),
        json!({}),
        &["a.b: Required value"],
    );
    check(
        json!({"type": "object", "maxProperties": 1}),
        json!({"x": 1, "y": 2}),
        &["a: Too many: 2: must have at most 1 item"],
    );
    check(
        json!({"type": "object", "additionalProperties": {"type": "string"}}),
        json!({"k": 1}),
        &["a.k: Invalid value: \"integer\": a.k in body must be of type string: \"integer\""],
    );
}

#[test]
fn junctors() {
    let one = json!({"type": "object", "properties": {"b": {"type": "integer"}, "c": {"type": "integer"}}, "oneOf": [{"required": ["b"]}, {"required": ["c"]}]});
    check(
        one.clone(),
        json!({}),
        &[
            "<nil>: Invalid value: \"\": \"a\" must validate one and only one schema (oneOf). Found none valid",
            "a.b: Required value",
        ],
    );
    check(
        one,
        json!({"b": 1, "c": 1}),
        &[
            "<nil>: Invalid value: \"\": \"a\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
        ],
    );
    check(
        json!({"type": "integer", "anyOf": [{"maximum": 1}, {"minimum": 5}]}),
        json!(3),
        &[
            "<nil>: Invalid value: \"\": \"a\" must validate at least one schema (anyOf)",
            "a: Invalid value: 3: a in body should be less than or equal to 1",
        ],
    );
    check(
        json!({"type": "integer", "allOf": [{"maximum": 1}]}),
        json!(3),
        &[
            "a: Invalid value: 3: a in body should be less than or equal to 1",
            "<nil>: Invalid value: \"\": \"a\" must validate all the schemas (allOf). None validated",
        ],
    );
    check(
        json!({"type": "integer", "not": {"minimum": 2}}),
        json!(3),
        &["<nil>: Invalid value: \"\": \"a\" must not validate the schema (not)"],
    );
}

#[test]
fn ratcheting() {
    let schema = schema(json!({"type": "object", "properties": {
        "a": {"type": "integer", "maximum": 1},
        "b": {"type": "string"},
        "l": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
              "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer", "maximum": 1}}}},
        "s": {"type": "array", "items": {"type": "integer", "maximum": 1}},
    }}));
    let old = json!({"a": 5, "b": "x", "l": [{"k": "1", "v": 5}, {"k": "2", "v": 0}], "s": [5]});
    let fields = |new: Value| {
        let found = validate::change(&new, &old, &schema, &Path::root());
        found.iter().map(|e| e.field.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        fields(json!({"a": 5, "b": "y", "l": [{"k": "2", "v": 0}, {"k": "1", "v": 5}], "s": [5]})),
        [""; 0]
    );
    assert_eq!(
        fields(json!({"a": 6, "l": [{"k": "1", "v": 6}], "s": [5, 5]})),
        ["a", "l[0].v", "s[0]", "s[1]"]
    );
}

#[test]
fn sets_and_maps_hold_nothing_twice() {
    let schema = schema(json!({"type": "object", "properties": {
        "s": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "j"],
              "items": {"type": "object", "properties": {"k": {"type": "string"}, "j": {"type": "integer"}}}},
    }}));
    let object =
        json!({"s": ["a", "b", "a", "a"], "m": [{"k": "x", "j": 1}, {"k": "x"}, {"k": "x", "j": 1, "v": 2}]});
    let found: Vec<String> = validate::lists(&object, &schema)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        found,
        [
            "m[2]: Duplicate value: {\"j\":1,\"k\":\"x\"}",
            "s[2]: Duplicate value: \"a\""
        ]
    );
}

#[test]
fn pruning_reports_what_goes() {
    let schema = schema(json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "known": {"type": "string"},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"strict": {"type": "object", "properties": {"x": {"type": "string"}}}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {"type": "string"}}}},
            "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
        }},
    }}));
    let mut object = json!({
        "apiVersion": "v", "kind": "k", "metadata": {"name": "n"}, "extra": 1,
        "spec": {"known": "a", "unknown": {"deep": 1}, "free": {"any": 1, "strict": {"x": "a", "y": 1}},
                 "list": [{"x": "a", "y": 1}], "map": {"k": {"x": "a", "y": 1}}, "metadata": {},
                 "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "other": 1}},
    });
    let unknown = object::prune(&mut object, &schema, true, true);
    assert_eq!(
        unknown,
        [
            "extra",
            "spec.free.strict.y",
            "spec.list[0].y",
            "spec.map.k.y",
            "spec.metadata",
            "spec.pod.other",
            "spec.unknown"
        ]
    );
    assert_eq!(
        object,
        json!({
            "apiVersion": "v", "kind": "k", "metadata": {"name": "n"},
            "spec": {"known": "a", "free": {"any": 1, "strict": {"x": "a"}}, "list": [{"x": "a"}], "map": {"k": {"x": "a"}},
                     "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}},
        })
    );
}

#[test]
fn defaults_and_nulls() {
    let schema = schema(json!({"type": "object", "properties": {
        "a": {"type": "integer", "default": 1},
        "b": {"type": "integer"},
        "c": {"type": "integer", "nullable": true, "default": 3},
        "o": {"type": "object", "default": {}, "properties": {"x": {"type": "string", "default": "y"}}},
        "m": {"type": "object", "additionalProperties": {"type": "integer", "default": 7}},
        "l": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string", "default": "z"}}}},
    }}));
    let mut object = json!({"a": null, "b": null, "c": null, "m": {"k": null}, "l": [{}, {"x": "q"}]});
    object::drop_nulls(&mut object, &schema);
    object::default(&mut object, &schema);
    assert_eq!(
        object,
        json!({"a": 1, "c": null, "o": {"x": "y"}, "m": {"k": 7}, "l": [{"x": "z"}, {"x": "q"}]})
    );
}

#[test]
fn embedded_resources_are_objects() {
    let schema = schema(json!({"type": "object", "properties": {
        "e": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
    }}));
    let object = json!({"e": {"apiVersion": "a/b/c", "kind": "", "metadata": {"labels": {"-": "x"}}}});
    let found: Vec<String> = object::validate_embedded(&object, &schema, false)
        .iter()
        .map(|e| e.field.clone())
        .collect();
    assert_eq!(found, ["e.apiVersion", "e.kind", "e.metadata.labels"]);
    let missing = json!({"e": {}});
    let found: Vec<String> = object::validate_embedded(&missing, &schema, false)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found, ["e.apiVersion: Required value", "e.kind: Required value"]);
}

/// Cases whose answers were compared with upstream's validator.
#[test]
fn odd_numbers_and_formats() {
    check(
        json!({"type": "number", "multipleOf": 0.3}),
        json!(1),
        &["a: Invalid value: 0: factor MultipleOf declared for a must be positive: 0"],
    );
    check(
        json!({"type": "integer", "maximum": 1.5}),
        json!(3_000_000_000_i64),
        &[
            "<nil>: Invalid value: \"\": Maximum boundary value must be of type integer (default format) in a",
            "a: Invalid value: 3e+09: a in body should be less than or equal to 1.5",
        ],
    );
    check(
        json!({"x-kubernetes-int-or-string": true, "format": "ipv4"}),
        json!("x"),
        &["a: Invalid value: \"x\": a in body must be of type ipv4: \"x\""],
    );
    check(
        json!({"type": "string", "pattern": "^a{2}{3}$"}),
        json!("a"),
        &[
            "a: Invalid value: \"a\": a in body should match '^a{2}{3}$, but pattern is invalid: error parsing regexp: invalid nested repetition operator: `{2}{3}`'",
        ],
    );
}
