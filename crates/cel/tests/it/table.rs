//! Expressions with what upstream v1.36 makes of them: type, cost, estimate, and value or error.
//!
//! `data/expressions.tsv` has a line per expression: the expression, then either `!` and its errors with their places,
//! or its type, its cost (`-` where it fails), its estimate and its value.

use corten_cel::{Activation, Budget, Env, NoHints, Type, Value};
use serde_json::{Value as Json, json};

const TABLE: &str = include_str!("data/expressions.tsv");

fn variables() -> [(&'static str, Type, Json); 8] {
    let x = json!({
        "a": {"b": [1, 2, 3], "c": "foo", "e": {}}, "n": 5, "f": 1.5, "nl": null, "list": ["a", "b"],
        "objs": [{"name": "x", "v": 1}, {"name": "y", "v": 2}],
    });
    [
        ("x", Type::Dyn, x),
        ("s", Type::String, json!("hello")),
        ("i", Type::Int, json!(7)),
        ("l", Type::list(Type::String), json!(["a", "b", "c"])),
        ("li", Type::list(Type::Int), json!([3, 1, 2])),
        (
            "m",
            Type::map(Type::String, Type::String),
            json!({"k": "v", "z": "w"}),
        ),
        ("d", Type::Double, json!(2.5)),
        ("b", Type::Bool, json!(true)),
    ]
}

/// A value as the table writes it.
fn shown(value: &Value<'_>) -> String {
    let join = |items: Vec<String>| items.join(",");
    if let Some(items) = value.list_items() {
        return format!("[{}]", join(items.iter().map(shown).collect()));
    }
    match value {
        Value::Optional(None) => "none".to_owned(),
        Value::Optional(Some(inner)) => format!("some({})", shown(inner)),
        Value::Map(entries) => {
            let mut pairs: Vec<String> = entries
                .iter()
                .map(|(k, v)| format!("{}:{}", shown(k), shown(v)))
                .collect();
            pairs.sort();
            format!("{{{}}}", join(pairs))
        }
        Value::Json(Json::Object(fields), _) => {
            let mut pairs: Vec<String> = fields
                .iter()
                .map(|(k, v)| format!("{k:?}:{}", shown(&Value::json(v))))
                .collect();
            pairs.sort();
            format!("{{{}}}", join(pairs))
        }
        Value::String(s) => format!("{:?}", &**s),
        Value::Bytes(b) => format!("b{:?}", String::from_utf8_lossy(b)),
        Value::Type(ty) => ty.name().to_owned(),
        Value::Double(d) => double(*d),
        other => match other.to_json() {
            Ok(Json::String(s)) => s,
            Ok(json) => json.to_string(),
            Err(_) => other.type_of().name().to_owned(),
        },
    }
}

fn double(d: f64) -> String {
    let env = Env::builder().var("d", Type::Double).build();
    let program = env.compile("string(d)").unwrap();
    let activation = Activation::new().bind("d", Value::Double(d));
    let text = program.eval(&activation, &mut Budget::default()).unwrap();
    text.as_str().unwrap().to_owned()
}

/// The row that the engine makes of an expression.
fn row(env: &Env, variables: &[(&str, Type, Json)], expression: &str) -> String {
    let program = match env.compile(expression) {
        Ok(program) => program,
        Err(errors) => {
            let errors: Vec<String> = errors
                .errors()
                .iter()
                .map(|e| format!("{}:{}: {}", e.line, e.column + 1, e.message))
                .collect();
            return format!("{expression}\t!\t{}", errors.join(" ;; "));
        }
    };
    let estimate = program.estimate(&NoHints);
    let mut budget = Budget::default();
    let mut activation = Activation::new();
    for (name, ty, value) in variables {
        activation = activation.bind(name, Value::typed(value, ty));
    }
    let (cost, value) = match program.eval(&activation, &mut budget) {
        Ok(value) => (
            budget.spent.to_string(),
            format!("{}|{}", value.type_of().name(), shown(&value)),
        ),
        Err(error) => ("-".to_owned(), format!("error: {error}")),
    };
    let (ty, min, max) = (program.result_type(), estimate.min, estimate.max);
    format!("{expression}\t{ty}\t{cost}\t{min}..{max}\t{value}")
}

#[test]
fn expressions_are_what_upstream_makes_of_them() {
    let variables = variables();
    let mut builder = Env::builder().mutation();
    for (name, ty, _) in &variables {
        builder = builder.var(name, ty.clone());
    }
    let env = builder.build();
    let mut rows = 0;
    let mut wrong = Vec::new();
    for line in TABLE.lines() {
        let expression = line.split('\t').next().unwrap();
        let row = row(&env, &variables, expression);
        if row != line {
            wrong.push(format!("upstream: {line}\n    here: {row}"));
        }
        rows += 1;
    }
    assert!(rows > 600, "the table has {rows} rows");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn errors_point_at_their_place() {
    let env = Env::builder().var("object", Type::Dyn).build();
    let error = env.compile("object.x in [1, 2,").err().unwrap();
    let expected = "ERROR: <input>:1:19: Syntax error: missing ']' at '<EOF>'\n | object.x in [1, 2,\n | ..................^";
    assert_eq!(error.to_string(), expected);
    let error = env.compile("object.x ==\n 'ä' + 1").err().unwrap();
    let expected = "ERROR: <input>:2:6: found no matching overload for '_+_' applied to '(string, int)'\n |  'ä' + 1\n | ..．..^";
    assert_eq!(error.to_string(), expected);
}
