//! Types, texts, numbers and enumerations.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::fault::{Fault, Outcome};
use crate::number::{Num, is_whole, print_float};
use crate::structural::{Check, Structural};

/// A value's type and format in the validator's words.
fn type_of(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::Number(number) => match Num::of(number) {
            Num::Int(_) => ("integer", "int64"),
            Num::Float(_) => ("number", "float64"),
        },
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    }
}

pub(super) fn kind(value: &Value, schema: &Structural, types: &[&str], path: &str) -> Outcome {
    let mut out = Outcome::default();
    let (found, found_format) = type_of(value);
    let wanted = || types.join(",");
    if value.is_null() {
        if types.is_empty() || schema.nullable {
            out.applied();
        } else {
            out.push(Fault::wrong_type(path, &wanted(), found));
        }
        return out;
    }
    let has = |name: &str| types.contains(&name);
    let format = schema.format();
    let whole_float = matches!(value, Value::Number(n) if found == "number" && is_whole(Num::of(n).float()));
    let numeric = (whole_float && has("integer")) || (found == "integer" && has("number"));
    let sequence = matches!(value, Value::String(_) | Value::Array(_));
    let fits = has(found) || numeric;
    if format.is_empty() || (sequence && (has("number") || has("integer"))) {
        // The type alone decides.
    } else if sequence {
        out.applied();
        return out;
    } else if !fits && found_format != format {
        out.push(Fault::wrong_type(path, format, found_format));
        return out;
    }
    if fits {
        out.applied();
    } else {
        out.push(Fault::wrong_type(path, &wanted(), found));
    }
    out
}

/// The first of a text's checks that fails.
pub(super) fn text(text: &str, schema: &Structural, path: &str) -> Option<Fault> {
    let length = || text.chars().count() as i64;
    for check in &schema.checks {
        match check {
            Check::MaxLength(limit) if length() > *limit => return Some(Fault::too_long(path, *limit, text)),
            Check::MinLength(limit) if length() < *limit => {
                let message = format!("{path} in body should be at least {limit} chars long");
                return Some(Fault::other(path, Some(text.into()), message));
            }
            Check::Pattern(pattern) => {
                let source = pattern.source();
                let wanted = match pattern.is_match(text) {
                    Some(true) => continue,
                    Some(false) => source.to_owned(),
                    None => {
                        let error = pattern.error().map(|e| e.to_string()).unwrap_or_default();
                        format!("{source}, but pattern is invalid: {error}")
                    }
                };
                let message = format!("{path} in body should match '{wanted}'");
                return Some(Fault::other(path, Some(text.into()), message));
            }
            _ => {}
        }
    }
    None
}

/// A value that is none of an enumeration's.
pub(super) fn one_of(value: &Value, schema: &Structural, path: &str) -> Option<Fault> {
    let values = schema.find(|check| match check {
        Check::Enum(values) => Some(values),
        _ => None,
    })?;
    let found = values.iter().any(|allowed| is_same(value, allowed));
    (!found).then(|| Fault::not_one_of(path, value, values))
}

/// Upstream converts a number to the type that the enumeration has, and never finds null.
fn is_same(value: &Value, allowed: &Value) -> bool {
    match (value, allowed) {
        (Value::Null, _) => false,
        (Value::Number(value), Value::Number(allowed)) => match (Num::of(value), Num::of(allowed)) {
            (Num::Int(a), Num::Int(b)) => a == b,
            (Num::Float(a), Num::Int(b)) => a as i64 == b,
            (a, Num::Float(b)) => a.float() == b,
        },
        (value, allowed) => value == allowed,
    }
}

/// How a number's type limits it.
struct Range<'s> {
    /// `integer`, `number`, or empty where the schema is not clear.
    kind: &'static str,
    /// Empty for the type's own.
    format: &'s str,
}

impl Range<'_> {
    fn check(&self, value: Num, what: &str, path: &str) -> Option<Fault> {
        let fits = match (self.kind, self.format, value) {
            ("integer", "int32", Num::Int(int)) => i32::try_from(int).is_ok(),
            ("integer", "int32", Num::Float(float)) => float.fract() == 0.0 && float.abs() < 2_147_483_648.0,
            ("integer", _, Num::Float(float)) => {
                float.fract() == 0.0 && float.abs() < 9_223_372_036_854_775_808.0
            }
            ("number", "float", value) => value.float().abs() <= f64::from(f32::MAX),
            _ => true,
        };
        let kind = self.kind;
        let format = match self.format {
            "" => "(default format)".to_owned(),
            format => format!("with format {format}"),
        };
        (!fits).then(|| Fault::loose(format!("{what} value must be of type {kind} {format} in {path}")))
    }
}

pub(super) fn number(number: &Number, schema: &Structural, types: &[&'static str], path: &str) -> Outcome {
    let value = Num::of(number);
    let range = match types {
        ["integer"] => Range {
            kind: "integer",
            format: schema.format(),
        },
        ["number"] => Range {
            kind: "number",
            format: schema.format(),
        },
        _ => Range { kind: "", format: "" },
    };
    let mut out = Outcome::default();
    out.extend(range.check(value, "Checked", path));
    // Where the schema's number is none of its type, both are taken as floats, and shown so.
    let fault = |native: bool, words: String| {
        let given = if native {
            Value::Number(number.clone())
        } else {
            Value::from(value.float())
        };
        Fault::other(path, Some(given), format!("{path} in body should be {words}"))
    };
    for check in &schema.checks {
        if let Check::MultipleOf(factor) = *check {
            let unfit = range.check(Num::Float(factor), "MultipleOf", path);
            let exact = unfit.is_none();
            out.extend(unfit);
            out.extend(multiple(value, factor, exact, path, &|words| fault(exact, words)));
        }
    }
    // The minimum comes first.
    let mut bounds: Vec<Bound> = schema.checks.iter().filter_map(Bound::of).collect();
    bounds.sort_by_key(|bound| bound.beyond);
    for bound in bounds {
        let unfit = range.check(Num::Float(bound.limit), bound.name(), path);
        let native = unfit.is_none();
        out.extend(unfit);
        out.extend(bound.violated(value, native).map(|words| fault(native, words)));
    }
    out.applied();
    out
}

/// A least or greatest value.
struct Bound {
    limit: f64,
    /// The limit itself is out.
    exclusive: bool,
    /// How values that are out compare to it.
    beyond: Ordering,
}

impl Bound {
    fn of(check: &Check) -> Option<Self> {
        let (limit, exclusive, beyond) = match *check {
            Check::Minimum { limit, exclusive } => (limit, exclusive, Ordering::Less),
            Check::Maximum { limit, exclusive } => (limit, exclusive, Ordering::Greater),
            _ => return None,
        };
        Some(Self {
            limit,
            exclusive,
            beyond,
        })
    }

    fn name(&self) -> &'static str {
        match self.beyond {
            Ordering::Less => "Minimum boundary",
            _ => "Maximum boundary",
        }
    }

    /// What a value that is out should be. Integers are compared as such where the limit fits their type.
    fn violated(&self, value: Num, native: bool) -> Option<String> {
        let (order, shown) = match value {
            Num::Int(int) if native => {
                let limit = self.limit as i64;
                (int.cmp(&limit), limit.to_string())
            }
            value => (value.float().partial_cmp(&self.limit)?, print_float(self.limit)),
        };
        let out = order == self.beyond || (self.exclusive && order == Ordering::Equal);
        let words = match (self.beyond, self.exclusive) {
            (Ordering::Less, true) => "greater than",
            (Ordering::Less, false) => "greater than or equal to",
            (_, true) => "less than",
            (_, false) => "less than or equal to",
        };
        out.then(|| format!("{words} {shown}"))
    }
}

fn multiple(
    value: Num,
    factor: f64,
    native: bool,
    path: &str,
    fault: &dyn Fn(String) -> Fault,
) -> Option<Fault> {
    let positive = |shown: String, factor: Value| {
        let message = format!("factor MultipleOf declared for {path} must be positive: {shown}");
        Fault::other(path, Some(factor), message)
    };
    match value {
        Num::Int(int) if native => {
            let factor = factor as i64;
            if factor <= 0 {
                return Some(positive(factor.to_string(), factor.into()));
            }
            (int % factor != 0).then(|| fault(format!("a multiple of {factor}")))
        }
        value => {
            if factor <= 0.0 {
                return Some(positive(print_float(factor), factor.into()));
            }
            let times = if factor < 1.0 {
                1.0 / factor * value.float()
            } else {
                value.float() / factor
            };
            (!is_whole(times)).then(|| fault(format!("a multiple of {}", print_float(factor))))
        }
    }
}
