//! Scalars: which JSON each shape takes, and the text of what it does not.

use std::borrow::Cow;

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use corten_meta::Quantity;
use serde_json::{Number, Value};

use super::{base64, text};
use crate::types::{Kind, Shape, Special};

/// A scalar as the document has it.
pub(super) enum Scalar<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
}

/// Why a scalar was not taken.
pub(super) enum Wrong {
    /// Wrong JSON type, named as Go does (`number 1.5`).
    Type(String),
    /// Another error after which reading goes on.
    Noted(String),
    /// The type's own reader found a wrong JSON type: what it found and Go's name of what it wanted.
    Inner(String, &'static str),
    /// The type's own reader refused.
    Hard(String),
}

impl Scalar<'_> {
    /// The JSON type; `exact` adds a number's text, as for one that does not fit.
    fn named(&self, exact: bool) -> String {
        match self {
            Self::Bool(_) => "bool".to_owned(),
            Self::Text(_) => "string".to_owned(),
            Self::Int(n) if exact => format!("number {n}"),
            Self::Float(n) if exact => format!("number {n:?}"),
            Self::Int(_) | Self::Float(_) => "number".to_owned(),
        }
    }
}

pub(super) fn read(shape: &Shape, given: Scalar<'_>) -> Result<Value, Wrong> {
    match (shape.kind, given) {
        (Kind::String, Scalar::Text(text)) => Ok(Value::String(text.into_owned())),
        (Kind::Bool, Scalar::Bool(b)) => Ok(Value::Bool(b)),
        (Kind::Int64, Scalar::Int(n)) => Ok(n.into()),
        (Kind::Int32, Scalar::Int(n)) if i32::try_from(n).is_ok() => Ok(n.into()),
        (Kind::Float64, Scalar::Int(n)) => Ok(n.into()),
        (Kind::Float64, Scalar::Float(n)) => Ok(number(n)),
        (Kind::Bytes, Scalar::Text(text)) => bytes(text),
        (Kind::Special(special), given) => read_special(special, given),
        (Kind::Int32 | Kind::Int64, given) => Err(Wrong::Type(given.named(true))),
        (_, given) => Err(Wrong::Type(given.named(false))),
    }
}

/// A float as Go prints it: whole ones without a fraction.
pub(crate) fn number(n: f64) -> Value {
    if n.fract() == 0.0 && n.abs() < 1e15 {
        Value::from(n as i64)
    } else {
        Number::from_f64(n).map_or(Value::Null, Value::Number)
    }
}

fn bytes(text: Cow<'_, str>) -> Result<Value, Wrong> {
    if STANDARD.decode(text.as_bytes()).is_ok() {
        return Ok(Value::String(text.into_owned()));
    }
    match base64::decode(text.as_bytes()) {
        Ok(bytes) => Ok(Value::String(STANDARD.encode(bytes))),
        Err(at) => Err(Wrong::Noted(format!("illegal base64 data at input byte {at}"))),
    }
}

fn read_special(special: Special, given: Scalar<'_>) -> Result<Value, Wrong> {
    match (special, given) {
        (Special::Quantity, given) => quantity(given),
        (Special::IntOrString, Scalar::Text(text)) => Ok(Value::String(text.into_owned())),
        (Special::IntOrString, Scalar::Int(n)) if i32::try_from(n).is_ok() => Ok(n.into()),
        (Special::IntOrString, given @ (Scalar::Int(_) | Scalar::Float(_))) => {
            Err(Wrong::Inner(given.named(true), "int32"))
        }
        (Special::Time, Scalar::Text(text)) => text::time(&text).map_err(Wrong::Hard),
        (Special::MicroTime, Scalar::Text(text)) => text::micro_time(&text).map_err(Wrong::Hard),
        (Special::Duration, Scalar::Text(text)) => match text::duration_nanos(&text) {
            Ok(nanos) => Ok(Value::from(text::duration_text(nanos))),
            Err(error) => Err(Wrong::Hard(error)),
        },
        (Special::SchemaOrBool, Scalar::Bool(b)) => Ok(Value::Bool(b)),
        // These read only what looks like a schema or a list: of anything else nothing comes.
        (Special::SchemaOrArray | Special::SchemaOrStrings, _) => Ok(Value::Array(Vec::new())),
        (special, given) => Err(wrong_container(special, &given.named(false))),
    }
}

fn quantity(given: Scalar<'_>) -> Result<Value, Wrong> {
    let text = match given {
        Scalar::Text(text) => text,
        Scalar::Int(n) => n.to_string().into(),
        Scalar::Float(n) => n.to_string().into(),
        Scalar::Bool(b) => b.to_string().into(),
    };
    match Quantity::parse(text.trim()) {
        Ok(quantity) => Ok(Value::String(quantity.to_string())),
        Err(error) => Err(Wrong::Hard(error.to_string())),
    }
}

/// The error of a special type's own reader that was handed `found`.
pub(super) fn wrong_container(special: Special, found: &str) -> Wrong {
    let text = match special {
        Special::Quantity => corten_meta::quantity::ParseError::Format.to_string(),
        Special::IntOrString => return Wrong::Inner(found.to_owned(), "int32"),
        Special::SchemaOrBool => "boolean or JSON schema expected".to_owned(),
        _ => return Wrong::Inner(found.to_owned(), "string"),
    };
    Wrong::Hard(text)
}
