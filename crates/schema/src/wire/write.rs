//! Writing, back to front: a message is complete before its length is, and nothing is copied twice.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use corten_meta::time;
use serde_json::{Map, Value};

use super::{STRING, WireError, schema_props};
use crate::typed::duration_nanos;
use crate::types::{Element, Field, Kind, Shape, Special, TypeId};

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;

/// Collects bytes in reverse.
pub(crate) struct Writer(Vec<u8>);

pub(super) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.reverse();
        self.0
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        let start = self.0.len();
        self.0.extend_from_slice(bytes);
        self.0[start..].reverse();
    }

    fn varint(&mut self, value: u64) {
        let start = self.0.len();
        push_varint(&mut self.0, value);
        self.0[start..].reverse();
    }

    fn tag(&mut self, number: u32, wire: u8) {
        self.varint(u64::from(number) << 3 | u64::from(wire));
    }

    pub(crate) fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.raw(bytes);
        self.length(number, bytes.len());
    }

    /// What stands before so many bytes of a field.
    pub(super) fn length(&mut self, number: u32, bytes: usize) {
        self.varint(bytes as u64);
        self.tag(number, LENGTH);
    }

    /// A nested message; `body` writes its fields last to first.
    pub(crate) fn message(&mut self, number: u32, body: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        body(self);
        self.varint((self.0.len() - start) as u64);
        self.tag(number, LENGTH);
    }

    fn try_message(
        &mut self,
        number: u32,
        body: impl FnOnce(&mut Self) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        let mut outcome = Ok(());
        self.message(number, |w| outcome = body(w));
        outcome
    }

    pub(crate) fn int(&mut self, number: u32, value: i64) {
        self.varint(value as u64);
        self.tag(number, VARINT);
    }

    pub(crate) fn double(&mut self, number: u32, value: f64) {
        self.raw(&value.to_le_bytes());
        self.tag(number, FIXED64);
    }
}

type Done = Result<(), WireError>;

static NO_MEMBERS: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

pub(super) fn structure(w: &mut Writer, id: TypeId, members: &Map<String, Value>) -> Done {
    for field in id.get().wire.iter().rev() {
        match (field.inline, field.shape.kind) {
            (true, Kind::Struct(inner)) => w.try_message(field.number, |w| structure(w, inner, members))?,
            _ => member(w, field, members.get(field.name).unwrap_or(&Value::Null))?,
        }
    }
    Ok(())
}

fn member(w: &mut Writer, field: &Field, value: &Value) -> Done {
    match field.shape.kind {
        Kind::List(element) if !field.repeated => match value {
            Value::Null => Ok(()),
            value => w.try_message(field.number, |w| list(w, 1, element, value)),
        },
        Kind::List(element) => list(w, field.number, element, value),
        Kind::Map(element) => map(w, field.number, element, value),
        Kind::Bytes if value.is_null() => Ok(()),
        _ if field.shape.pointer && value.is_null() => Ok(()),
        _ => one(w, field.number, &field.shape, value),
    }
}

fn list(w: &mut Writer, number: u32, element: &Element, value: &Value) -> Done {
    for item in value.as_array().into_iter().flatten().rev() {
        one(w, number, &element.shape, item)?;
    }
    Ok(())
}

fn map(w: &mut Writer, number: u32, element: &Element, value: &Value) -> Done {
    for (key, value) in value.as_object().into_iter().flatten().rev() {
        w.try_message(number, |w| {
            one(w, 2, &element.shape, value)?;
            w.bytes(1, key.as_bytes());
            Ok(())
        })?;
    }
    Ok(())
}

/// One value under a number; null writes the zero value.
fn one(w: &mut Writer, number: u32, shape: &Shape, value: &Value) -> Done {
    match shape.kind {
        Kind::String => w.bytes(number, value.as_str().unwrap_or_default().as_bytes()),
        Kind::Bool => w.int(number, i64::from(value.as_bool().unwrap_or(false))),
        Kind::Int32 | Kind::Int64 => w.int(number, value.as_i64().unwrap_or(0)),
        Kind::Float64 => w.double(number, value.as_f64().unwrap_or(0.0)),
        Kind::Bytes => {
            let bytes = STANDARD.decode(value.as_str().unwrap_or_default());
            w.bytes(number, &bytes.map_err(|e| WireError::Value(e.to_string()))?);
        }
        Kind::Struct(id) => {
            return w.try_message(number, |w| {
                structure(w, id, value.as_object().unwrap_or(&NO_MEMBERS))
            });
        }
        // A list inside a map or list has a name, and so is a message.
        Kind::List(element) => return w.try_message(number, |w| list(w, 1, element, value)),
        Kind::Map(element) => return w.try_message(number, |w| map(w, 1, element, value)),
        Kind::Special(kind) => return w.try_message(number, |w| special(w, kind, value)),
    }
    Ok(())
}

fn special(w: &mut Writer, kind: Special, value: &Value) -> Done {
    let text = value.as_str().unwrap_or_default();
    match kind {
        Special::Time | Special::MicroTime => {
            if let Some(at) = time::parse(text) {
                w.int(2, i64::from(at.subsec_nanosecond()));
                w.int(1, at.as_second());
            }
        }
        Special::Duration => w.int(1, duration_nanos(text).unwrap_or(0)),
        Special::Quantity => w.bytes(1, if text.is_empty() { b"0" } else { text.as_bytes() }),
        Special::IntOrString => {
            w.bytes(3, text.as_bytes());
            w.int(2, value.as_i64().unwrap_or(0));
            w.int(1, i64::from(value.is_string()));
        }
        Special::Raw | Special::FieldsV1 | Special::Json => {
            if !value.is_null() {
                w.bytes(1, value.to_string().as_bytes());
            }
        }
        Special::SchemaOrArray | Special::SchemaOrBool | Special::SchemaOrStrings => {
            return schema(w, kind, value);
        }
    }
    Ok(())
}

fn schema(w: &mut Writer, kind: Special, value: &Value) -> Done {
    let id = schema_props().ok_or(WireError::NoProtobuf)?;
    match (kind, value) {
        (Special::SchemaOrBool, Value::Object(members)) => {
            w.try_message(2, |w| structure(w, id, members))?;
            w.int(1, 1);
        }
        (Special::SchemaOrBool, value) => w.int(1, i64::from(value.as_bool().unwrap_or(false))),
        (_, Value::Object(members)) => w.try_message(1, |w| structure(w, id, members))?,
        (Special::SchemaOrArray, value) => {
            let shape = Shape {
                kind: Kind::Struct(id),
                pointer: false,
                expr: "",
            };
            list(w, 2, &Element { shape, named: false }, value)?;
        }
        (_, value) => list(
            w,
            2,
            &Element {
                shape: STRING,
                named: false,
            },
            value,
        )?,
    }
    Ok(())
}
