//! One requirement on labels.

use std::fmt;

use serde_json::json;

use crate::field::{Error, ErrorList, Path};
use crate::names;

/// How a requirement relates a key to its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equals,
    DoubleEquals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// A key, an operator and its values (sorted, without repeats).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    pub values: Vec<String>,
}

pub(super) fn check_key(key: &str, path: &str) -> Option<Error> {
    let messages = names::is_qualified_name(key);
    (!messages.is_empty()).then(|| Error::invalid(&Path::from(path), key, messages.join("; ")))
}

fn check_value(key: &str, value: &str, index: usize) -> Option<Error> {
    let messages = names::is_label_value(value);
    let path = Path::new("values").index(index).key(key);
    (!messages.is_empty()).then(|| Error::invalid(&path, value, messages.join("; ")))
}

impl Requirement {
    /// Checks key, operator and values together; the error is upstream's text.
    pub fn new(key: &str, operator: Operator, mut values: Vec<String>) -> Result<Self, String> {
        let mut errors = ErrorList::new();
        errors.extend(check_key(key, "key"));
        errors.extend(check_count(operator, &values));
        if matches!(operator, Operator::GreaterThan | Operator::LessThan) {
            let wrong = values
                .iter()
                .enumerate()
                .filter(|(_, v)| v.parse::<i64>().is_err());
            errors.extend(wrong.map(|(i, v)| {
                let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                Error::invalid(&Path::new("values").index(i), v.as_str(), detail)
            }));
        }
        errors.extend(
            values
                .iter()
                .enumerate()
                .filter_map(|(i, v)| check_value(key, v, i)),
        );
        if !errors.is_empty() {
            return Err(errors.to_string());
        }
        values.sort_unstable();
        values.dedup();
        Ok(Self {
            key: key.to_owned(),
            operator,
            values,
        })
    }

    /// `value` is the label's, `None` when the label is absent.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let has = |value: &str| self.values.iter().any(|v| v == value);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => value.is_some_and(has),
            Operator::NotIn | Operator::NotEquals => !value.is_some_and(has),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compare(value, |label, bound| label > bound),
            Operator::LessThan => self.compare(value, |label, bound| label < bound),
        }
    }

    fn compare(&self, value: Option<&str>, holds: fn(i64, i64) -> bool) -> bool {
        let bound = self.values.first().and_then(|v| v.parse().ok());
        let label = value.and_then(|v| v.parse().ok());
        matches!((label, bound), (Some(label), Some(bound)) if holds(label, bound))
    }
}

fn check_count(operator: Operator, values: &[String]) -> Option<Error> {
    use Operator::{DoesNotExist, DoubleEquals, Equals, Exists, GreaterThan, In, LessThan, NotEquals, NotIn};
    let (good, detail) = match operator {
        In | NotIn => (
            !values.is_empty(),
            "for 'in', 'notin' operators, values set can't be empty",
        ),
        Equals | DoubleEquals | NotEquals => (
            values.len() == 1,
            "exact-match compatibility requires one single value",
        ),
        Exists | DoesNotExist => (
            values.is_empty(),
            "values set must be empty for exists and does not exist",
        ),
        GreaterThan | LessThan => (
            values.len() == 1,
            "for 'Gt', 'Lt' operators, exactly one value is required",
        ),
    };
    (!good).then(|| Error::invalid(&Path::new("values"), json!(values), detail))
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = match self.operator {
            Operator::DoesNotExist => return write!(f, "!{}", self.key),
            Operator::Exists => return f.write_str(&self.key),
            Operator::Equals => ("=", ""),
            Operator::DoubleEquals => ("==", ""),
            Operator::NotEquals => ("!=", ""),
            Operator::In => (" in (", ")"),
            Operator::NotIn => (" notin (", ")"),
            Operator::GreaterThan => (">", ""),
            Operator::LessThan => ("<", ""),
        };
        write!(f, "{}{before}{}{after}", self.key, self.values.join(","))
    }
}
