//! ConfigMaps.

use corten_meta::field::{Error, Path};
use corten_meta::names;
use serde_json::Value;

use super::super::rules::{At, ErrorList};
use super::{PLAIN, Rules};

pub(super) const RULES: Rules = Rules {
    body,
    change,
    ..PLAIN
};

/// Bytes of all values of a ConfigMap or Secret together.
pub(super) const SIZE_MAX: usize = 1 << 20;
const FROZEN: &str = "field is immutable when `immutable` is set";

fn body(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (data, binary) = (at.get("data"), at.get("binaryData"));
    keys(&data, errors);
    for (key, _) in data.entries().filter(|(key, _)| binary.value.get(key).is_some()) {
        let detail = "duplicate of key present in binaryData";
        data.key(key).invalid_as(errors, key, detail);
    }
    keys(&binary, errors);
    let text: usize = data
        .entries()
        .map(|(_, value)| value.as_str().map_or(0, str::len))
        .sum();
    if text + decoded_size(&binary) > SIZE_MAX {
        errors.push(Error::too_long(&Path::new(""), SIZE_MAX as i64));
    }
}

/// Each key may be a file's name.
pub(super) fn keys(at: &At<'_, '_>, errors: &mut ErrorList) {
    for (key, _) in at.entries() {
        for message in names::is_config_map_key(key) {
            at.key(key).invalid_as(errors, key, &message);
        }
    }
}

/// Bytes that the base64 values of a map stand for.
pub(super) fn decoded_size(at: &At<'_, '_>) -> usize {
    let size = |text: &str| text.trim_end_matches('=').len() * 3 / 4;
    at.entries()
        .map(|(_, value)| value.as_str().map_or(0, size))
        .sum()
}

fn change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    frozen(at, old, &["data", "binaryData"], errors);
}

/// Once `immutable` is set, it and the data stay.
pub(super) fn frozen(at: &At<'_, '_>, old: &Value, fields: &[&str], errors: &mut ErrorList) {
    if old["immutable"] != true {
        return;
    }
    if !at.get("immutable").bool() {
        at.get("immutable").forbidden(errors, FROZEN);
    }
    for field in fields {
        if *at.get(field).value != old[*field] {
            at.get(field).forbidden(errors, FROZEN);
        }
    }
}
