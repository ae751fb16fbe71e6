//! Numbers of replicas, and numbers or percentages of them.

use corten_meta::names;
use serde_json::Value;

use super::{At, ErrorList};

/// A whole number not below zero, or a percentage.
pub(in crate::strategy) fn int_or_percent(at: &At<'_, '_>, errors: &mut ErrorList) {
    match at.value.as_str() {
        Some(text) => at.invalid_each(errors, names::is_percent(text)),
        None => at.nonnegative(errors),
    }
}

/// The number itself, or of a percentage its digits.
pub(in crate::strategy) fn amount(value: &Value) -> i64 {
    match value.as_str() {
        Some(text) => percent(text).or_else(|| text.parse().ok()).unwrap_or(0),
        None => value.as_i64().unwrap_or(0),
    }
}

fn percent(text: &str) -> Option<i64> {
    text.strip_suffix('%')
        .filter(|_| names::is_percent(text).is_empty())?
        .parse()
        .ok()
}

pub(in crate::strategy) fn at_most_100_percent(at: &At<'_, '_>, errors: &mut ErrorList) {
    if at.str().ends_with('%') && percent(at.str()).is_some_and(|number| number > 100) {
        at.invalid(errors, "must not be greater than 100%");
    }
}

/// Each of `fields` not below zero.
pub(in crate::strategy) fn nonnegative_fields(at: &At<'_, '_>, fields: &[&str], errors: &mut ErrorList) {
    for field in fields {
        at.get(field).nonnegative(errors);
    }
}

/// Each of `fields` not above `most`, with upstream's word for it.
pub(in crate::strategy) fn not_above(
    at: &At<'_, '_>,
    fields: &[&str],
    most: &str,
    detail: &str,
    errors: &mut ErrorList,
) {
    let limit = at.get(most).int().unwrap_or(0);
    for field in fields {
        let count = at.get(field).int().unwrap_or(0);
        if count > limit {
            at.get(field).invalid_as(errors, count, detail);
        }
    }
}

/// A counter that only grows, and does not go once it is there.
pub(in crate::strategy) fn not_decremented(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    if old
        .as_i64()
        .is_some_and(|old| at.int().is_none_or(|new| new < old))
    {
        at.invalid_as(errors, at.int().unwrap_or(0), "cannot be decremented");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_count_of_collisions_stays() {
        let said = |new: Value, old: Value| {
            let mut errors = ErrorList::new();
            not_decremented(&At::top("collisionCount", &new), &old, &mut errors);
            errors.to_string()
        };
        let text = |shown: i64| format!("collisionCount: Invalid value: {shown}: cannot be decremented");
        assert_eq!(said(Value::Null, json!(0)), text(0));
        assert_eq!(said(json!(1), json!(2)), text(1));
        for (new, old) in [
            (json!(2), json!(2)),
            (json!(0), Value::Null),
            (Value::Null, Value::Null),
        ] {
            assert_eq!(said(new, old), "[]");
        }
    }
}
