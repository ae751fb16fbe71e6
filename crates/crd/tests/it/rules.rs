//! `x-kubernetes-validations`: what rules may say, what they may cost, and what they say of objects.

use corten_crd::cel::Cel;
use corten_crd::{Version, definition};
use serde_json::{Value, json};

use crate::definitions::definition as with_schema;

fn spec(properties: Value, rules: Value) -> Value {
    with_schema(json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": properties, "x-kubernetes-validations": rules},
    }}))
}

fn faults(crd: &Value) -> Vec<String> {
    definition::validate(crd, Some(&Cel))
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "a"}, "spec": spec})
}

fn version(crd: &Value) -> Version {
    assert_eq!(faults(crd), [""; 0]);
    Version::new(crd, "v1", Some(&Cel)).unwrap()
}

fn created(crd: &Value, spec: Value) -> Vec<String> {
    version(crd)
        .validate(&object(spec))
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn updated(crd: &Value, new: Value, old: Value) -> Vec<String> {
    let errors = version(crd).validate_update(&object(new), &object(old));
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn rules_hold_or_are_broken() {
    let crd = spec(
        json!({"min": {"type": "integer"}, "max": {"type": "integer"}, "a-b": {"type": "string"}, "port": {"x-kubernetes-int-or-string": true}}),
        json!([
            {"rule": "self.min <= self.max"},
            {"rule": "!has(self.a__dash__b) || self.a__dash__b.startsWith('x')", "message": "must start with x", "fieldPath": ".a-b", "reason": "FieldValueForbidden"},
            {"rule": "self.max < 100", "messageExpression": "self.max > 150 ? 'far too much' : 'too much'"},
        ]),
    );
    assert_eq!(created(&crd, json!({"min": 1, "max": 2, "a-b": "xy"})), [""; 0]);
    assert_eq!(
        created(&crd, json!({"min": 300, "max": 200, "a-b": "y"})),
        [
            "spec: Invalid value: failed rule: self.min <= self.max",
            "spec.a-b: Forbidden: must start with x",
            "spec: Invalid value: far too much",
        ]
    );
    assert_eq!(
        created(&crd, json!({"max": 2})),
        ["spec: Invalid value: \"object\": no such key: min evaluating rule: self.min <= self.max"]
    );
}

#[test]
fn rules_wait_for_the_shape() {
    let crd = spec(json!({"n": {"type": "integer"}}), json!([{"rule": "self.n > 0"}]));
    assert_eq!(
        created(&crd, json!({"n": "x"})),
        [
            "spec.n: Invalid value: \"string\": spec.n in body must be of type integer: \"string\"",
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        ]
    );
}

#[test]
fn transitions() {
    let crd = with_schema(
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is fixed"}]},
            "once": {"type": "string", "x-kubernetes-validations": [{"rule": "oldSelf.hasValue() || self == 'first'", "optionalOldSelf": true}]},
            "l": {"type": "array", "maxItems": 5, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {
                "type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v", "message": "only grows"}]}},
        }}}}),
    );
    assert_eq!(created(&crd, json!({"fixed": "a", "once": "first"})), [""; 0]);
    assert_eq!(
        created(&crd, json!({"once": "other"})),
        ["spec.once: Invalid value: \"other\": failed rule: oldSelf.hasValue() || self == 'first'"]
    );
    assert_eq!(
        updated(
            &crd,
            json!({"fixed": "b", "l": [{"k": "new", "v": 0}, {"k": "x", "v": 1}]}),
            json!({"fixed": "a", "l": [{"k": "x", "v": 2}]})
        ),
        [
            "spec.fixed: Invalid value: \"b\": is fixed",
            "spec.l[1]: Invalid value: only grows"
        ]
    );
}

#[test]
fn what_has_not_changed_is_forgiven() {
    let crd = with_schema(
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self < 5"}]},
            "b": {"type": "integer"},
        }}}}),
    );
    assert_eq!(updated(&crd, json!({"a": 7, "b": 1}), json!({"a": 7})), [""; 0]);
    assert_eq!(
        updated(&crd, json!({"a": 8}), json!({"a": 7})),
        ["spec.a: Invalid value: 8: failed rule: self < 5"]
    );
}

#[test]
fn the_root_knows_its_name() {
    let crd = with_schema(
        json!({"type": "object", "properties": {"spec": {"type": "object"}},
        "x-kubernetes-validations": [{"rule": "self.metadata.name.startsWith('b')", "message": "name"}]}),
    );
    assert_eq!(created(&crd, json!({})), ["<nil>: Invalid value: name"]);
}

#[test]
fn expressions_are_checked_with_the_definition() {
    let path = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]";
    let one = |rule: Value| {
        faults(&spec(
            json!({"n": {"type": "integer"}, "s": {"type": "string"}}),
            json!([rule]),
        ))
    };
    let found = one(json!({"rule": "self.nope > 1 && self.n < 2"}));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with(&format!(
            "{path}.rule: Invalid value: {{\"Rule\":\"self.nope \\u003e 1 \\u0026\\u0026 self.n \\u003c 2\",\"Message\":\"\",\"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}}: compilation failed: ERROR: <input>:1:5: undefined field 'nope'"
        )),
        "{}",
        found[0]
    );
    let found = one(json!({"rule": "self.n + 1"}));
    assert!(
        found[0].ends_with("cel expression must evaluate to a bool"),
        "{}",
        found[0]
    );
    let found = one(json!({"rule": "self.n > 1", "optionalOldSelf": true}));
    assert_eq!(
        found,
        [format!(
            "{path}.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"
        )]
    );
    let found = one(json!({"rule": "self.n > 1", "messageExpression": "1"}));
    assert!(
        found[0].ends_with("messageExpression must evaluate to a string"),
        "{}",
        found[0]
    );
}

#[test]
fn what_cannot_be_correlated_has_no_past() {
    let crd = spec(
        json!({"l": {"type": "array", "maxItems": 5, "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}),
        json!([]),
    );
    let list = "spec.validation.openAPIV3Schema.properties[spec].properties[l]";
    assert_eq!(
        faults(&crd),
        [format!(
            "{list}.items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within {list}"
        )]
    );
}

#[test]
fn rules_that_cost_too_much_are_refused_once() {
    let costly = |limit: Value| {
        let mut list = json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": [{"rule": "self.all(x, self.exists(y, x == y))"}]});
        list["maxItems"] = limit;
        spec(json!({ "l": list }), json!([]))
    };
    let unbounded = costly(Value::Null);
    let found = faults(&unbounded);
    let rule =
        "spec.validation.openAPIV3Schema.properties[spec].properties[l].x-kubernetes-validations[0].rule";
    let hint = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
    assert_eq!(
        found,
        [
            format!(
                "{rule}: Forbidden: estimated rule cost exceeds budget by factor of more than 100x {hint}"
            ),
            format!(
                "{rule}: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            ),
            format!(
                "spec.validation.openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x {hint}"
            ),
        ]
    );
    let again = definition::validate_update(&unbounded, &unbounded, Some(&Cel));
    assert!(
        again
            .iter()
            .all(|e| !e.detail.starts_with("estimated rule cost exceeds"))
    );
    let bounded = with_schema(json!({"type": "object", "properties": {"l": {
        "type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 10},
        "x-kubernetes-validations": [{"rule": "self.all(x, self.exists(y, x == y))"}]}}}));
    assert_eq!(faults(&bounded), [""; 0]);
}
