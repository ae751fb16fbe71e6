//! Quantities as validation compares and shows them.

use corten_meta::Quantity;
use serde_json::Value;

/// A quantity that has been checked when it was decoded; anything else counts as zero.
pub(in crate::strategy) fn quantity_of(value: &Value) -> Quantity {
    match value {
        Value::String(text) => Quantity::parse(text).unwrap_or_else(|_| Quantity::zero()),
        Value::Number(number) => Quantity::parse(&number.to_string()).unwrap_or_else(|_| Quantity::zero()),
        _ => Quantity::zero(),
    }
}

/// For comparing.
pub(in crate::strategy) fn nanos(value: &Value) -> i128 {
    quantity_of(value).nanos()
}

/// In canonical form, as messages show it.
pub(in crate::strategy) fn show(value: &Value) -> String {
    quantity_of(value).canonical()
}
