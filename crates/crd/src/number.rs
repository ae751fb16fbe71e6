//! Numbers as Go prints and converts them.

pub(crate) use corten_meta::print_float;
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
    use super::is_whole;

    #[test]
    fn whole_numbers() {
        assert!(is_whole(3.0) && !is_whole(3.5) && !is_whole(0.5));
    }
}
