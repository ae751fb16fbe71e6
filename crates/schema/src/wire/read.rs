//! Reading messages into Go's JSON form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use corten_meta::time::{self, Timestamp};
use serde_json::{Map, Value};

use super::{Envelope, STRING, WireError, schema_props};
use crate::typed::{duration_text, fill, is_empty, number, zero};
use crate::types::{Element, Field, Kind, Shape, Special, Type, TypeId};

/// Most nested messages that are read; objects nest far less, and CRD schemas somewhat.
const DEPTH_MAX: usize = 200;

/// A field's value before its type is looked at.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

impl<'a> Raw<'a> {
    fn wire(self) -> u8 {
        match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32 => 5,
        }
    }

    pub(super) fn bytes(self, name: &'static str) -> Result<&'a [u8], WireError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(WireError::Field(name, other.wire())),
        }
    }

    pub(super) fn text(self, name: &'static str) -> Result<String, WireError> {
        Ok(String::from_utf8_lossy(self.bytes(name)?).into_owned())
    }

    fn int(self, name: &'static str) -> Result<i64, WireError> {
        match self {
            Self::Varint(value) => Ok(value as i64),
            other => Err(WireError::Field(name, other.wire())),
        }
    }
}

/// The fields of a message in the order they stand.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(WireError::Truncated)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Overflow)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn field(&mut self) -> Result<(u32, Raw<'a>), WireError> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| WireError::Overflow)?;
        let value = match tag & 7 {
            0 => Raw::Varint(self.varint()?),
            1 => {
                let bytes = self.take(8)?;
                Raw::Fixed64(bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                Raw::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Raw::Fixed32
            }
            other => return Err(WireError::WireType(other as u8)),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Raw<'a>), WireError>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

pub(super) fn structure(id: TypeId, message: &[u8], depth: usize) -> Result<Value, WireError> {
    let ty = id.get();
    let mut out = Map::new();
    members(ty, message, &mut out, depth)?;
    fill(ty, &mut out);
    Ok(Value::Object(out))
}

fn members(ty: &Type, message: &[u8], out: &mut Map<String, Value>, depth: usize) -> Result<(), WireError> {
    if depth > DEPTH_MAX {
        return Err(WireError::Depth);
    }
    for field in Fields::new(message) {
        let (number, raw) = field?;
        let Ok(at) = ty.wire.binary_search_by_key(&number, |f| f.number) else {
            continue;
        };
        let field = &ty.wire[at];
        match (field.inline, field.shape.kind) {
            (true, Kind::Struct(inner)) => members(inner.get(), raw.bytes(ty.name)?, out, depth + 1)?,
            _ => member(field, raw, out, depth)?,
        }
    }
    Ok(())
}

fn member(field: &Field, raw: Raw<'_>, out: &mut Map<String, Value>, depth: usize) -> Result<(), WireError> {
    match field.shape.kind {
        Kind::List(element) if field.repeated => {
            let list = out.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(items) = list {
                item(field.name, element, raw, items, depth)?;
            }
        }
        Kind::Map(element) => {
            let map = out.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(entries) = map {
                entry(field.name, element, raw, entries, depth)?;
            }
        }
        _ => {
            let value = one(field.name, &field.shape, raw, depth)?;
            let left_out = field.omitempty && is_empty(&field.shape, &value);
            if !value.is_null() && !left_out {
                out.insert(field.name.to_owned(), value);
            }
        }
    }
    Ok(())
}

/// One element of a repeated field; numbers may also come packed.
fn item(
    name: &'static str,
    element: &Element,
    raw: Raw<'_>,
    items: &mut Vec<Value>,
    depth: usize,
) -> Result<(), WireError> {
    let numeric = matches!(element.shape.kind, Kind::Bool | Kind::Int32 | Kind::Int64);
    match raw {
        Raw::Bytes(packed) if numeric => {
            let mut fields = Fields::new(packed);
            while !fields.rest.is_empty() {
                let value = Raw::Varint(fields.varint()?);
                items.push(one(name, &element.shape, value, depth)?);
            }
        }
        raw => items.push(one(name, &element.shape, raw, depth)?),
    }
    Ok(())
}

fn entry(
    name: &'static str,
    element: &Element,
    raw: Raw<'_>,
    entries: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), WireError> {
    let (mut key, mut value) = (String::new(), None);
    for field in Fields::new(raw.bytes(name)?) {
        match field? {
            (1, raw) => key = raw.text(name)?,
            (2, raw) => value = Some(one(name, &element.shape, raw, depth)?),
            _ => {}
        }
    }
    let missing = || match element.shape.kind {
        Kind::Bytes => Value::from(""),
        _ => zero(&element.shape),
    };
    entries.insert(key, value.unwrap_or_else(missing));
    Ok(())
}

fn one(name: &'static str, shape: &Shape, raw: Raw<'_>, depth: usize) -> Result<Value, WireError> {
    Ok(match shape.kind {
        Kind::String => Value::String(raw.text(name)?),
        Kind::Bool => Value::Bool(raw.int(name)? != 0),
        Kind::Int32 => Value::from(raw.int(name)? as i32),
        Kind::Int64 => Value::from(raw.int(name)?),
        Kind::Float64 => match raw {
            Raw::Fixed64(bits) => number(f64::from_bits(bits)),
            other => return Err(WireError::Field(name, other.wire())),
        },
        Kind::Bytes => Value::String(STANDARD.encode(raw.bytes(name)?)),
        Kind::Struct(id) => structure(id, raw.bytes(name)?, depth + 1)?,
        Kind::List(element) => {
            let mut items = Vec::new();
            for field in Fields::new(raw.bytes(name)?) {
                item(name, element, field?.1, &mut items, depth + 1)?;
            }
            Value::Array(items)
        }
        Kind::Map(_) => return Err(WireError::Field(name, raw.wire())),
        Kind::Special(kind) => special(kind, raw.bytes(name)?, depth + 1)?,
    })
}

fn special(kind: Special, message: &[u8], depth: usize) -> Result<Value, WireError> {
    Ok(match kind {
        Special::Time | Special::MicroTime => moment(kind, message)?,
        Special::Duration => Value::from(duration_text(field_int(message, 1)?)),
        Special::Quantity => {
            let text = String::from_utf8_lossy(field_bytes(message, 1)?.unwrap_or(b"0")).into_owned();
            let quantity =
                corten_meta::Quantity::parse(&text).map_err(|e| WireError::Value(e.to_string()))?;
            Value::from(quantity.to_string())
        }
        Special::IntOrString if field_int(message, 1)? == 1 => {
            Value::from(String::from_utf8_lossy(field_bytes(message, 3)?.unwrap_or_default()).into_owned())
        }
        Special::IntOrString => Value::from(field_int(message, 2)? as i32),
        Special::Raw | Special::FieldsV1 | Special::Json => match field_bytes(message, 1)? {
            None | Some(b"") => zero(&Shape {
                kind: Kind::Special(kind),
                pointer: false,
                expr: "",
            }),
            Some(raw) => embedded(raw)?,
        },
        Special::SchemaOrArray | Special::SchemaOrBool | Special::SchemaOrStrings => {
            schema(kind, message, depth)?
        }
    })
}

/// An embedded object: JSON, or protobuf in an envelope of its own.
fn embedded(raw: &[u8]) -> Result<Value, WireError> {
    if raw.starts_with(super::PREFIX) {
        let envelope = Envelope::read(raw)?;
        let gvk = corten_meta::GroupVersionKind::from_api_version(&envelope.api_version, &envelope.kind)
            .map_err(WireError::Value)?;
        let mut value = super::decode(&gvk, envelope.raw)?;
        corten_meta::object::set_gvk(&mut value, &gvk);
        return Ok(value);
    }
    crate::decode::json_value(raw).map_err(WireError::Value)
}

fn field_bytes(message: &[u8], wanted: u32) -> Result<Option<&[u8]>, WireError> {
    let mut found = None;
    for field in Fields::new(message) {
        match field? {
            (number, raw) if number == wanted => found = Some(raw.bytes("value")?),
            _ => {}
        }
    }
    Ok(found)
}

fn field_int(message: &[u8], wanted: u32) -> Result<i64, WireError> {
    let mut found = 0;
    for field in Fields::new(message) {
        match field? {
            (number, raw) if number == wanted => found = raw.int("value")?,
            _ => {}
        }
    }
    Ok(found)
}

/// A time; an empty message is the zero time, which JSON writes as null.
fn moment(kind: Special, message: &[u8]) -> Result<Value, WireError> {
    if message.is_empty() {
        return Ok(Value::Null);
    }
    let (seconds, nanos) = (field_int(message, 1)?, field_int(message, 2)?);
    let nanos = i32::try_from(nanos).map_err(|_| WireError::Overflow)?;
    let at = Timestamp::new(seconds, nanos).map_err(|e| WireError::Value(e.to_string()))?;
    Ok(Value::from(if kind == Special::Time {
        time::format(at)
    } else {
        time::format_micro(at)
    }))
}

fn schema(kind: Special, message: &[u8], depth: usize) -> Result<Value, WireError> {
    let id = schema_props().ok_or(WireError::NoProtobuf)?;
    let (mut whole, mut items, mut allows) = (None, Vec::new(), false);
    for field in Fields::new(message) {
        match (kind, field?) {
            (Special::SchemaOrBool, (1, raw)) => allows = raw.int("allows")? != 0,
            (Special::SchemaOrBool, (2, raw)) | (_, (1, raw)) => {
                whole = Some(structure(id, raw.bytes("schema")?, depth + 1)?);
            }
            (Special::SchemaOrArray, (2, raw)) => {
                items.push(structure(id, raw.bytes("schemas")?, depth + 1)?)
            }
            (_, (2, raw)) => items.push(one("property", &STRING, raw, depth)?),
            _ => {}
        }
    }
    Ok(match (kind, whole) {
        (_, Some(schema)) => schema,
        (Special::SchemaOrBool, None) => Value::Bool(allows),
        _ if items.is_empty() => Value::Null,
        _ => Value::Array(items),
    })
}
