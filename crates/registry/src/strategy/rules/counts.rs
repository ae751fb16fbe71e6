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

/// A counter that only grows.
pub(in crate::strategy) fn not_decremented(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    if let (Some(new), Some(old)) = (at.int(), old.as_i64())
        && new < old
    {
        at.invalid(errors, "cannot be decremented");
    }
}
