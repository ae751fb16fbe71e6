//! What printers read of an object, with the placeholders they print for what is missing.

use corten_meta::labels::Selector;
use corten_meta::time::{self, Timestamp};
use serde_json::{Value, json};

use super::Cells;

/// An object and the moment it is looked at.
pub(super) struct View<'a> {
    pub object: &'a Value,
    now: Timestamp,
}

impl<'a> View<'a> {
    pub fn new(object: &'a Value, now: Timestamp) -> Self {
        Self { object, now }
    }

    /// The value at a JSON pointer; null when absent.
    pub fn at(&self, path: &str) -> &'a Value {
        self.object.pointer(path).unwrap_or(&Value::Null)
    }

    pub fn text(&self, path: &str) -> &'a str {
        self.at(path).as_str().unwrap_or_default()
    }

    /// The text, or `other` where it is empty.
    pub fn text_or(&self, path: &str, other: &'a str) -> Value {
        Value::from(or(self.text(path), other))
    }

    pub fn number(&self, path: &str) -> i64 {
        self.at(path).as_i64().unwrap_or(0)
    }

    pub fn int(&self, path: &str) -> Value {
        Value::from(self.number(path))
    }

    pub fn list(&self, path: &str) -> &'a [Value] {
        self.at(path).as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// How many entries a list or map has.
    pub fn count(&self, path: &str) -> i64 {
        let value = self.at(path);
        let map = value.as_object().map_or(0, |m| m.len());
        value.as_array().map_or(map, Vec::len) as i64
    }

    pub fn name(&self) -> Value {
        Value::from(self.text("/metadata/name"))
    }

    pub fn is_deleted(&self) -> bool {
        !self.at("/metadata/deletionTimestamp").is_null()
    }

    /// `5m`, or `<unknown>` where there is no time.
    pub fn since(&self, time: &Value) -> String {
        match time.as_str().and_then(time::parse) {
            Some(at) => human_duration(millis(self.now) - millis(at)),
            None => "<unknown>".to_owned(),
        }
    }

    pub fn age(&self) -> Value {
        Value::from(self.since(self.at("/metadata/creationTimestamp")))
    }

    pub fn name_and_creation(&self) -> Cells {
        vec![self.name(), Value::from(self.text("/metadata/creationTimestamp"))]
    }

    /// Names and images of the containers at a path, each joined by commas.
    pub fn containers(&self, path: &str) -> [Value; 2] {
        let containers = self.list(path);
        ["name", "image"].map(|member| {
            let all = containers.iter().map(|c| c[member].as_str().unwrap_or_default());
            Value::from(all.collect::<Vec<_>>().join(","))
        })
    }

    /// A label selector in its query form.
    pub fn selector(&self, path: &str) -> Value {
        Value::from(match Selector::from_label_selector(self.at(path)) {
            Err(_) => "<error>".to_owned(),
            Ok(selector) => or(&selector.to_string(), "<none>").to_owned(),
        })
    }

    /// A map of labels as `a=b,c=d`.
    pub fn labels(&self, path: &str) -> Value {
        let entries = self.at(path).as_object().into_iter().flatten();
        let pairs: Vec<String> = entries
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
            .collect();
        Value::from(or(&pairs.join(","), "<none>"))
    }

    /// Strings of a list joined by commas.
    pub fn joined(&self, path: &str) -> String {
        strings(self.list(path)).join(",")
    }

    /// The condition of a type, where the object has it.
    pub fn condition(&self, kind: &str) -> Option<&'a Value> {
        self.list("/status/conditions").iter().find(|c| c["type"] == kind)
    }

    pub fn has_condition(&self, kind: &str) -> bool {
        self.condition(kind).is_some_and(|c| c["status"] == "True")
    }
}

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

pub(super) fn strings(items: &[Value]) -> Vec<&str> {
    items.iter().filter_map(Value::as_str).collect()
}

/// The text, or another where it is empty.
pub(super) fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

/// A number or string as it is, as IntOrString prints.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// At most `max` of the items joined, and how many more there are.
pub(super) fn some_of(items: &[String], max: usize, none: &str) -> String {
    if items.len() > max {
        return format!("{} + {} more...", items[..max].join(","), items.len() - max);
    }
    or(&items.join(","), none).to_owned()
}

pub(super) fn flag(value: &Value) -> Value {
    json!(value.as_bool().unwrap_or(false))
}

/// How long, in the one or two units that matter (apimachinery `duration.HumanDuration`).
pub fn human_duration(millis: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    let seconds = millis / 1000;
    let two = |whole: i64, unit: &str, rest: i64, small: &str| match rest {
        0 => format!("{whole}{unit}"),
        rest => format!("{whole}{unit}{rest}{small}"),
    };
    let (minutes, hours) = (seconds / MINUTE, seconds / HOUR);
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 2 * MINUTE => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => two(hours / 24, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        () if hours < 24 * 365 * 8 => two(hours / 24 / 365, "y", hours / 24 % 365, "d"),
        () => format!("{}y", hours / 24 / 365),
    }
}
