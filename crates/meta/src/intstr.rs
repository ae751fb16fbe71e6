//! `IntOrString`: a 32-bit number or a string, and percentages of a total.

use std::fmt;

use serde_json::Value;

use crate::quote::quote;

/// A port name or number, a count or a percentage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IntOrString {
    Int(i32),
    String(String),
}

impl IntOrString {
    /// Reads a JSON value; `None` when it is neither a 32-bit integer nor a string.
    pub fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::String(s) => Some(Self::String(s.clone())),
            other => other.as_i64().and_then(|n| i32::try_from(n).ok()).map(Self::Int),
        }
    }

    pub fn to_json(&self) -> Value {
        match self {
            Self::Int(n) => Value::from(*n),
            Self::String(s) => Value::from(s.as_str()),
        }
    }

    /// A number where the text is one, as command lines give it.
    pub fn parse(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::String(text.to_owned()), Self::Int)
    }

    /// The number, or the percentage of `total`, rounded up or down. The error text is upstream's.
    pub fn scaled(&self, total: i32, round_up: bool) -> Result<i32, String> {
        let text = match self {
            Self::Int(n) => return Ok(*n),
            Self::String(text) => text,
        };
        let Some(digits) = text.strip_suffix('%') else {
            return Err("invalid value for IntOrString: invalid type: string is not a percentage".to_owned());
        };
        let percent: i64 = digits.parse().map_err(|_| {
            let (whole, digits) = (quote(text), quote(digits));
            format!("invalid value for IntOrString: invalid value {whole}: strconv.Atoi: parsing {digits}: invalid syntax")
        })?;
        let product = percent.saturating_mul(i64::from(total));
        let rounded = if round_up {
            -(-product).div_euclid(100)
        } else {
            product.div_euclid(100)
        };
        Ok(rounded.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(n) => n.fmt(f),
            Self::String(s) => f.write_str(s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::IntOrString;

    #[test]
    fn percentages_round_as_asked() {
        let quarter = IntOrString::String("25%".into());
        assert_eq!(quarter.scaled(10, true), Ok(3));
        assert_eq!(quarter.scaled(10, false), Ok(2));
        assert_eq!(IntOrString::Int(7).scaled(10, true), Ok(7));
        assert!(IntOrString::String("25".into()).scaled(10, true).is_err());
    }
}
