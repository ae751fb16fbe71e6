//! What holds for any schema and object: pruning and defaulting a second time changes nothing.

use corten_crd::{Structural, object};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-d]", inner), 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A schema, with defaults that are pruned by it and free of nulls where none may be, as definitions demand.
fn schema() -> impl Strategy<Value = Value> {
    let scalar = (
        prop_oneof![Just("string"), Just("integer"), Just("boolean")],
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(kind, nullable, with_default)| {
            let mut out = json!({"type": kind, "nullable": nullable});
            if with_default {
                out["default"] = match kind {
                    "string" => json!("d"),
                    "integer" => json!(1),
                    _ => json!(true),
                };
            }
            out
        });
    scalar.prop_recursive(3, 24, 4, |inner| {
        let properties = prop::collection::vec(("[a-d]", inner.clone()), 0..4)
            .prop_map(|m| Value::Object(m.into_iter().collect::<Map<_, _>>()));
        prop_oneof![
            (properties, any::<bool>(), any::<bool>()).prop_map(|(properties, free, with_default)| {
                let mut out = json!({"type": "object", "properties": properties});
                if free {
                    out["x-kubernetes-preserve-unknown-fields"] = json!(true);
                }
                if with_default {
                    out["default"] = json!({});
                }
                out
            }),
            inner
                .clone()
                .prop_map(|items| json!({"type": "array", "items": items})),
            inner.prop_map(|values| json!({"type": "object", "additionalProperties": values})),
        ]
    })
}

fn shape(value: &Value, schema: &Structural) -> Value {
    let mut out = value.clone();
    object::prune(&mut out, schema, false, false);
    object::drop_nulls(&mut out, schema);
    object::default(&mut out, schema);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn a_second_time_changes_nothing(schema in schema(), value in value()) {
        let schema = Structural::parse(&schema).unwrap();
        let once = shape(&value, &schema);
        prop_assert_eq!(shape(&once, &schema), once);
    }

    #[test]
    fn nothing_known_is_reported_unknown(schema in schema(), value in value()) {
        let schema = Structural::parse(&schema).unwrap();
        let mut pruned = value;
        object::prune(&mut pruned, &schema, false, false);
        prop_assert!(object::prune(&mut pruned, &schema, false, true).is_empty());
    }
}
