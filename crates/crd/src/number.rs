//! Numbers as Go prints and converts them.

use serde_json::{Number, Value};

/// A JSON number as Go's decoder leaves it: what fits an int64 is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Num {
    Int(i64),
    Float(f64),
}

impl Num {
    pub fn of(number: &Number) -> Self {
        match number.as_i64() {
            Some(int) => Self::Int(int),
            None => Self::Float(number.as_f64().unwrap_or_default()),
        }
    }

    pub fn float(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }
}

/// A float as `%v` prints it: the shortest digits, with an exponent from 1e21 and under 1e-4.
pub(crate) fn print_float(float: f64) -> String {
    if float == 0.0 {
        return if float.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..21).contains(&exponent) {
        return format!("{float}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A whole number that JSON carries without loss, give or take rounding.
pub(crate) fn is_whole(float: f64) -> bool {
    const MOST: f64 = 9_007_199_254_740_991.0;
    const EPSILON: f64 = 1e-9;
    if !float.is_finite() || !(-MOST..=MOST).contains(&float) {
        return false;
    }
    let near = float.trunc();
    if float == near {
        return true;
    }
    let (a, b) = (float.abs(), near.abs());
    let difference = (float - near).abs();
    a != 0.0 && b != 0.0 && difference / (a + b).min(f64::MAX) < EPSILON
}

/// A value as a message shows it: numbers as Go does.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => match Num::of(number) {
            Num::Int(int) => int.to_string(),
            Num::Float(float) => print_float(float),
        },
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_whole, print_float};

    #[test]
    fn floats_print_as_in_go() {
        let cases = [
            (1.5, "1.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
        ];
        for (float, text) in cases {
            assert_eq!(print_float(float), text);
        }
        assert!(is_whole(3.0) && !is_whole(3.5) && !is_whole(0.5));
    }
}
