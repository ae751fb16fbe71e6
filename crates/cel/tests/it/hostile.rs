//! Nothing an expression says may end the process.

use corten_cel::{Activation, Budget, Env, EvalError, NoHints, Type, Value};
use proptest::prelude::*;

fn env() -> Env {
    Env::builder().bindings().mutation().var("x", Type::Dyn).build()
}

/// Compiles, estimates and runs whatever it is.
fn survive(source: &str) {
    let Ok(program) = env().compile(source) else {
        return;
    };
    program.estimate(&NoHints);
    let input = serde_json::json!({"a": [1, "b", null, {"c": 1.5}]});
    let activation = Activation::new().bind("x", Value::json(&input));
    let _ = program.eval(&activation, &mut Budget::default());
}

const PIECES: [&str; 40] = [
    "x",
    "x.a",
    "1",
    "-1",
    "2u",
    "1.5",
    "'s'",
    "b'b'",
    "true",
    "null",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "?",
    ".",
    "+",
    "-",
    "*",
    "/",
    "%",
    "==",
    "<",
    "&&",
    "||",
    "!",
    " in ",
    ".map(v, v)",
    ".all(v, v > 0)",
    ".size()",
    "has(x.a)",
    "[0]",
    "'%s'.format(",
    "optional.of(",
    "timestamp(",
    "\\",
];

/// Expressions as policies and definitions have them.
const EXPRESSIONS: [&str; 9] = [
    "x.a.all(v, v > 0 || has(v.b) && v.b.startsWith('registry/'))",
    "x.spec.containers.map(c, c.name).exists_one(n, n.matches('^[a-z]+$'))",
    "[1, 2u, 3.5, b'\\x00', r'\\d'].size() in {1: 'a', 2: \"b\"}",
    "quantity('1.5Gi').isGreaterThan(quantity('1k')) ? ip('10.1.2.3').family() : -9223372036854775808",
    "'%s-%d-%x'.format(['a', 7, 255]).lowerAscii().split('-').join('.')",
    "optional.of(x).optMap(v, v.a).orValue([])[?0].hasValue()",
    "timestamp('2026-01-01T00:00:00Z') + duration('1h30m') > timestamp(0)",
    "Object{spec: Object.spec{replicas: cel.bind(n, int(x.n), n * n)}}",
    "[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('a/b'), value: {'c': null}}]",
];

#[test]
fn spoiled_expressions_are_refused_or_end() {
    let corpus: Vec<Vec<u8>> = EXPRESSIONS.iter().map(|text| text.as_bytes().to_vec()).collect();
    let mut compiled = 0;
    corten_fuzz::spoil("cel", &corpus, |input| {
        let source = String::from_utf8_lossy(input);
        compiled += u32::from(env().compile(&source).is_ok());
        survive(&source);
    });
    assert!(compiled > 100, "only {compiled} were compiled");
}

proptest! {
    #[test]
    fn any_text_is_survived(source in "\\PC{0,60}") {
        survive(&source);
    }

    #[test]
    fn any_sequence_of_pieces_is_survived(pieces in prop::collection::vec(0..PIECES.len(), 0..14)) {
        let source: String = pieces.into_iter().map(|i| PIECES[i]).collect();
        survive(&source);
    }
}

#[test]
fn nesting_is_bounded() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{1:", "}"),
        ("-(", ")"),
        ("!(", ")"),
        ("x.map(v, ", ")"),
        ("size(", ")"),
    ] {
        for depth in [10, 120, 240, 300, 5000] {
            survive(&format!("{}1{}", open.repeat(depth), close.repeat(depth)));
        }
    }
    for chain in ["1+", "1==", "x.", "x&&", "x||", "x?1:", "!", "-"] {
        for length in [10, 240, 300, 5000] {
            survive(&format!("{}x", chain.repeat(length)));
        }
    }
    let deep = format!("{}1{}", "(".repeat(300), ")".repeat(300));
    let error = env().compile(&deep).err().unwrap();
    assert_eq!(
        error.errors()[0].message,
        "expression recursion limit exceeded: 250"
    );
}

#[test]
fn long_chains_of_logic_are_no_nesting() {
    let source = format!("{}true", "true && ".repeat(5000));
    let program = env().compile(&source).unwrap();
    let value = program.eval(&Activation::new(), &mut Budget::default()).unwrap();
    assert_eq!(value.as_bool(), Some(true));
}

#[test]
fn an_evaluation_ends_at_its_limit() {
    let source = "[1,2,3,4,5,6,7,8,9,10].map(a, [1,2,3,4,5,6,7,8,9,10].map(b, [1,2,3,4,5,6,7,8,9,10].map(c, \
                  [1,2,3,4,5,6,7,8,9,10].map(d, [1,2,3,4,5,6,7,8,9,10].map(e, a + b + c + d + e)))))";
    let program = env().compile(source).unwrap();
    let mut budget = Budget::default();
    let error = program.eval(&Activation::new(), &mut budget).err().unwrap();
    assert_eq!(error, EvalError::CostLimit);
    assert_eq!(
        error.to_string(),
        "operation cancelled: actual cost limit exceeded"
    );
    assert!(budget.spent > budget.per_call);
    // The limit is not something that `||` forgives.
    let program = env().compile(&format!("{source} == [] || true")).unwrap();
    assert_eq!(
        program.eval(&Activation::new(), &mut budget).err().unwrap(),
        EvalError::CostLimit
    );
}

#[test]
fn a_lazy_variable_is_computed_once_and_only_if_read() {
    let env = Env::builder().var("v", Type::Int).build();
    let unread = env.compile("true || v == 1").unwrap();
    let read = env.compile("v + v").unwrap();
    let calls = std::cell::Cell::new(0);
    let compute = || {
        calls.set(calls.get() + 1);
        Ok(Value::Int(2))
    };
    let activation = Activation::new().lazy("v", &compute);
    unread.eval(&activation, &mut Budget::default()).unwrap();
    assert_eq!(calls.get(), 0);
    let sum = read.eval(&activation, &mut Budget::default()).unwrap();
    assert_eq!((sum.as_int(), calls.get()), (Some(4), 1));
}

#[test]
fn variables_are_programs_over_the_same_activation() {
    let base = Env::builder().var("x", Type::Dyn).build();
    let first = base.compile("x.a.map(v, v * 2)").unwrap();
    let one = [("doubled".to_owned(), first.result_type().clone())];
    let second = base
        .extend()
        .variables(one.clone())
        .build()
        .compile("variables.doubled.size()")
        .unwrap();
    let both = one.into_iter().chain([("count".to_owned(), Type::Int)]);
    let env = base.extend().variables(both).build();
    let program = env
        .compile("variables.count == 2 && variables.doubled[1] == 4")
        .unwrap();
    let missing = env.compile("variables.none").err().unwrap();
    assert_eq!(missing.errors()[0].message, "undefined field 'none'");

    let input = serde_json::json!({"a": [1, 2]});
    let programs = [("doubled", &first), ("count", &second)];
    let activation = Activation::new()
        .bind("x", Value::json(&input))
        .variables(programs);
    let mut budget = Budget::default();
    let value = program.eval(&activation, &mut budget).unwrap();
    assert_eq!(value.as_bool(), Some(true));
    let all = budget.spent;
    // Computed variables cost only their being read.
    program.eval(&activation, &mut budget).unwrap();
    assert!(budget.spent - all < all, "{budget:?} after {all}");
}

#[test]
fn copies_made_by_macros_are_bounded() {
    // Each step needs its operand twice.
    let source = format!("optional.of(1){}", ".optMap(v, v)".repeat(40));
    let error = env().compile(&source).err().unwrap();
    assert!(
        error.errors()[0]
            .message
            .starts_with("expression recursion limit exceeded"),
        "{error}"
    );
    survive(&format!("optional.of(1){}", ".optMap(v, v)".repeat(8)));
}
