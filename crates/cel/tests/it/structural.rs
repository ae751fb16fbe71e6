//! Typed objects, as schemas declare them.

use corten_cel::{
    Activation, Budget, Env, ListSemantics, SizeEstimate, SizeHints, Type, TypeProvider, Value,
};
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// The type of `self` of a small schema.
struct Schema;

impl TypeProvider for Schema {
    fn has_type(&self, name: &str) -> bool {
        matches!(name, "Self" | "Self.items")
    }

    fn field(&self, type_name: &str, field: &str) -> Option<Type> {
        Some(match (type_name, field) {
            ("Self", "replicas" | "namespace") => Type::Int,
            ("Self", "a.b" | "name") => Type::String,
            ("Self", "at") => Type::Timestamp,
            ("Self", "wait") => Type::Duration,
            ("Self", "blob") => Type::Bytes,
            ("Self", "ratio") => Type::Double,
            ("Self", "port") => Type::Dyn,
            ("Self", "tags") => Type::list_of(Type::String, ListSemantics::Set),
            ("Self", "items") => Type::list_of(
                Type::object("Self.items"),
                ListSemantics::Map(vec!["name".into()]),
            ),
            ("Self.items", "name") => Type::String,
            ("Self.items", "v") => Type::Int,
            _ => return None,
        })
    }
}

fn env() -> Env {
    let ty = Type::object("Self");
    Env::builder()
        .provider(Arc::new(Schema))
        .var("self", ty.clone())
        .var("oldSelf", ty)
        .build()
}

fn input() -> Json {
    json!({
        "replicas": 3, "namespace": 1, "a.b": "dotted", "at": "2024-05-06T07:08:09Z", "wait": "90s", "blob": "aGk=",
        "ratio": 2, "port": "http", "tags": ["a", "b"], "items": [{"name": "x", "v": 1}, {"name": "y", "v": 2}],
    })
}

fn check(source: &str) -> Result<bool, String> {
    let program = env().compile(source).map_err(|e| e.errors()[0].message.clone())?;
    let new = input();
    let old = json!({"tags": ["b", "a"], "items": [{"name": "y", "v": 2}, {"name": "x", "v": 1}]});
    let ty = Type::object("Self");
    let activation = Activation::new()
        .bind("self", Value::typed(&new, &ty))
        .bind("oldSelf", Value::typed(&old, &ty));
    let value = program
        .eval(&activation, &mut Budget::default())
        .map_err(|e| e.to_string())?;
    value.as_bool().ok_or_else(|| "not a bool".to_owned())
}

#[test]
fn values_have_the_types_that_the_schema_declares() {
    for source in [
        "self.replicas == 3",
        "self.__namespace__ == 1",
        "self.a__dot__b == 'dotted'",
        "self.at.getHours() == 7",
        "self.at > timestamp('2024-01-01T00:00:00Z')",
        "self.wait == duration('1m30s')",
        "self.blob == b'hi'",
        "self.ratio == 2.0 && type(self.ratio) == double",
        "self.port == 'http' && type(self.port) == string",
        "self.items.all(i, i.v > 0 && has(i.name))",
        "!has(oldSelf.replicas)",
        "self.?ratio.orValue(1.0) == 2.0 && !oldSelf.?ratio.hasValue()",
        // Order does not matter in sets and keyed lists.
        "self.tags == oldSelf.tags && oldSelf.items == self.items",
        "(self.tags + ['b', 'c']).size() == 3",
        "dyn(self).items[0].name == 'x'",
    ] {
        assert_eq!(check(source), Ok(true), "{source}");
    }
}

#[test]
fn what_the_schema_does_not_have_does_not_compile() {
    assert_eq!(check("self.nope == 1"), Err("undefined field 'nope'".to_owned()));
    assert_eq!(
        check("self.namespaces"),
        Err("undefined field 'namespaces'".to_owned())
    );
    let message = "found no matching overload for '_==_' applied to '(string, int)'";
    assert_eq!(check("self.name == 1"), Err(message.to_owned()));
    assert_eq!(
        check("oldSelf.replicas == 1"),
        Err("no such key: replicas".to_owned())
    );
}

/// Bounds of the schema: at most 5 items, names of at most 10 characters.
struct Bounds;

impl SizeHints for Bounds {
    fn size(&self, path: &[&str], _: &Type) -> Option<SizeEstimate> {
        let max = match path {
            ["self", "items"] => 5,
            ["self", "items", "@items", "name"] => 10,
            _ => return None,
        };
        Some(SizeEstimate { min: 0, max })
    }
}

#[test]
fn bounds_of_the_schema_bound_the_estimate() {
    let program = env()
        .compile("self.items.all(i, i.name.startsWith('x') && i.name == i.name)")
        .unwrap();
    let unbounded = program.estimate(&corten_cel::NoHints);
    assert_eq!(unbounded.max, u64::MAX);
    // Per item: two for the condition; the accumulator, a name and startsWith; two names and their comparison.
    let bounded = program.estimate(&Bounds);
    assert_eq!(
        (bounded.min, bounded.max),
        (2 + 1, 3 + 5 * (2 + 1 + 2 + 1 + 4 + 1))
    );
}
