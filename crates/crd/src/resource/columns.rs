//! Printer columns.

use corten_meta::time::{self, Timestamp};
use corten_schema::table::human_duration;
use serde_json::Value;

use crate::jsonpath::{JsonPath, print};
use crate::number::Num;

/// What the column of creation times is described as where a definition names no columns.
const AGE: &str = "When the object was created.";

/// A column beside the name's.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    /// `integer`, `number`, `string`, `boolean` or `date`.
    pub kind: String,
    pub format: String,
    pub description: String,
    pub priority: i64,
    path: Option<JsonPath>,
}

impl Column {
    /// The columns of a version; the age where it names none.
    pub fn of_version(version: &Value) -> Vec<Self> {
        let listed = version["additionalPrinterColumns"].as_array();
        match listed.filter(|list| !list.is_empty()) {
            Some(list) => list.iter().map(Self::read).collect(),
            None => vec![Self {
                name: "Age".to_owned(),
                kind: "date".to_owned(),
                format: String::new(),
                description: AGE.to_owned(),
                priority: 0,
                path: JsonPath::parse(".metadata.creationTimestamp"),
            }],
        }
    }

    fn read(column: &Value) -> Self {
        let text = |key: &str| column[key].as_str().unwrap_or_default().to_owned();
        let path = text("jsonPath");
        let description = match text("description") {
            given if !given.is_empty() => given,
            _ => format!("Custom resource definition column (in JSONPath format): {path}"),
        };
        Self {
            name: text("name"),
            kind: text("type"),
            format: text("format"),
            description,
            priority: column["priority"].as_i64().unwrap_or(0),
            path: JsonPath::parse(&path),
        }
    }

    /// The cell of an object: null where the path leads nowhere or the value is of another type. `now` gives ages.
    pub fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let found = self.path.as_ref().and_then(|path| path.first(object));
        let Some(value) = found else { return Value::Null };
        if self.kind == "string" {
            return Value::from(print(value));
        }
        match (self.kind.as_str(), value) {
            ("integer", Value::Number(number)) => match Num::of(number) {
                Num::Int(int) => Value::from(int),
                Num::Float(float) => Value::from(float as i64),
            },
            ("number", Value::Number(number)) => whole_or_float(Num::of(number).float()),
            ("boolean", Value::Bool(flag)) => Value::Bool(*flag),
            ("date", Value::String(text)) => Value::from(age(text, now)),
            _ => Value::Null,
        }
    }
}

/// Go writes a float without a fraction as an integer.
fn whole_or_float(float: f64) -> Value {
    if float.fract() == 0.0 && float.abs() < 1e15 {
        Value::from(float as i64)
    } else {
        Value::from(float)
    }
}

fn age(text: &str, now: Timestamp) -> String {
    match time::parse(text) {
        _ if text.is_empty() => "<unknown>".to_owned(),
        Some(at) => human_duration(now.as_millisecond() - at.as_millisecond()),
        None => "<invalid>".to_owned(),
    }
}
