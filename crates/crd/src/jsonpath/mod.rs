//! JSONPath in kubectl's dialect (client-go's `jsonpath`), as printer columns and selectable fields use it.

mod parse;

use std::cmp::Ordering;

use serde_json::Value;

use crate::number::{Num, shown};

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Node>);

/// One step.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Field(Box<str>),
    Wildcard,
    Recursive,
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: Option<i64>,
    },
    Union(Vec<JsonPath>),
    Filter(Box<Filter>),
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Operand,
    /// `None` asks whether there is anything.
    compare: Option<(Comparison, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(JsonPath),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Parses `.spec.x`, without braces; `None` for what is no path.
    pub fn parse(text: &str) -> Option<Self> {
        parse::path(text)
    }

    /// What the path leads to, in order. Missing keys lead to nothing; `None` is an error, such as an index beyond the
    /// end.
    pub fn find<'v>(&self, value: &'v Value) -> Option<Vec<&'v Value>> {
        let mut at = vec![value];
        for node in &self.0 {
            at = node.step(&at)?;
        }
        Some(at)
    }

    /// The first of what it leads to.
    pub fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.find(value)?.first().copied()
    }
}

/// A value as it is printed: text as it is, objects and lists as JSON.
pub fn print(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        other => shown(other),
    }
}

impl Node {
    fn step<'v>(&self, at: &[&'v Value]) -> Option<Vec<&'v Value>> {
        let mut out = Vec::new();
        for value in at {
            match self {
                Self::Field(name) => out.extend(value.get(&**name)),
                Self::Wildcard => children(value, &mut out),
                Self::Recursive => descend(value, &mut out),
                Self::Slice { start, end, step } => slice(value, *start, *end, *step, &mut out)?,
                Self::Union(paths) => {
                    for path in paths {
                        out.extend(path.find(value)?);
                    }
                }
                Self::Filter(filter) => {
                    for item in value.as_array().into_iter().flatten() {
                        if filter.accepts(item)? {
                            out.push(item);
                        }
                    }
                }
            }
        }
        Some(out)
    }
}

fn children<'v>(value: &'v Value, out: &mut Vec<&'v Value>) {
    match value {
        Value::Object(map) => out.extend(map.values()),
        Value::Array(items) => out.extend(items),
        _ => {}
    }
}

/// The value and all below it.
fn descend<'v>(value: &'v Value, out: &mut Vec<&'v Value>) {
    out.push(value);
    let mut below = Vec::new();
    children(value, &mut below);
    for child in below {
        descend(child, out);
    }
}

fn slice<'v>(
    value: &'v Value,
    start: Option<i64>,
    end: Option<i64>,
    step: Option<i64>,
    out: &mut Vec<&'v Value>,
) -> Option<()> {
    let items = match value {
        Value::Array(items) => items,
        Value::Null => return Some(()),
        _ => return None,
    };
    let length = items.len() as i64;
    let from_end = |at: i64| if at < 0 { at + length } else { at };
    let start = from_end(start.unwrap_or(0));
    let end = end.map_or(length, from_end).min(length);
    let step = step.unwrap_or(1);
    if step < 1 || start < 0 || start >= length {
        // Nothing is to be had of an empty list; of another it is an error.
        return (step >= 1 && length == 0).then_some(());
    }
    let mut at = start;
    while at < end {
        out.extend(usize::try_from(at).ok().and_then(|at| items.get(at)));
        at += step;
    }
    Some(())
}

impl Filter {
    fn accepts(&self, item: &Value) -> Option<bool> {
        let left = self.left.values(item)?;
        let Some((comparison, right)) = &self.compare else {
            return Some(!left.is_empty());
        };
        let right = right.values(item)?;
        let (Some(left), Some(right)) = (left.first(), right.first()) else {
            return Some(false);
        };
        let order = order(left, right);
        Some(match comparison {
            Comparison::Equal => left == right || order == Some(Ordering::Equal),
            Comparison::NotEqual => !(left == right || order == Some(Ordering::Equal)),
            Comparison::Less => order? == Ordering::Less,
            Comparison::LessOrEqual => order? != Ordering::Greater,
            Comparison::Greater => order? == Ordering::Greater,
            Comparison::GreaterOrEqual => order? != Ordering::Less,
        })
    }
}

impl Operand {
    fn values<'v>(&'v self, item: &'v Value) -> Option<Vec<&'v Value>> {
        match self {
            Self::Path(path) => path.find(item),
            Self::Literal(value) => Some(vec![value]),
        }
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => Num::of(a).float().partial_cmp(&Num::of(b).float()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{JsonPath, print};
    use serde_json::json;

    #[test]
    fn paths_lead_where_kubectls_do() {
        let object = json!({
            "spec": {"n": 3, "a.b": "dotted", "list": [{"t": "Ready", "s": "True", "n": 1}, {"t": "X", "s": "False", "n": 5}]},
            "names": ["a", "b", "c"],
        });
        let cases = [
            (".spec.n", "3"),
            (".spec.a\\.b", "dotted"),
            (".spec['a.b']", "dotted"),
            (".spec[\"n\"]", "3"),
            (".spec.list[?(@.t==\"Ready\")].s", "True"),
            (".spec.list[?(@.t=='X')].s", "False"),
            (".spec.list[?(@.n > 2)].t", "X"),
            (".spec.list[?(@.t != 'Ready')].t", "X"),
            (".spec.list[?(@.s)].t", "Ready X"),
            (".spec.list[0].t", "Ready"),
            (".spec.list[-1].t", "X"),
            (".names[0:2]", "a b"),
            (".names[*]", "a b c"),
            (".names[0,2]", "a c"),
            ("..t", "Ready X"),
            (".missing.deeper", ""),
            (".names", "[\"a\",\"b\",\"c\"]"),
        ];
        for (path, expected) in cases {
            let found = JsonPath::parse(path).unwrap().find(&object).unwrap();
            let text: Vec<String> = found.iter().map(|v| print(v)).collect();
            assert_eq!(text.join(" "), expected, "{path}");
        }
        assert_eq!(JsonPath::parse(".names[7]").unwrap().find(&object), None);
        for wrong in ["spec", ".a[", ".a[?(@.b==]", ".a['b", ".a[x]"] {
            assert_eq!(JsonPath::parse(wrong), None, "{wrong}");
        }
    }
}
