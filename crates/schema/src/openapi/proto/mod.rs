//! OpenAPI documents in gnostic's protobuf forms, out of their JSON forms. `v2.rs` and `v3.rs` say which member of an object
//! has which number in its message (facts of gnostic's `OpenAPIv2.proto` and `OpenAPIv3.proto`); this writes by them.
//! Members that are in neither table and no extension are left out, as Kubernetes' documents have none.

mod v2;
mod v3;

use serde_json::{Map, Value};

use crate::wire::Writer;

/// OpenAPI v2.
pub(super) fn v2(json: &Value) -> Vec<u8> {
    whole(&v2::DOCUMENT, json)
}

/// OpenAPI v3.
pub(super) fn v3(json: &Value) -> Vec<u8> {
    whole(&v3::DOCUMENT, json)
}

fn whole(message: &'static Message, json: &Value) -> Vec<u8> {
    let mut w = Writer::with_capacity(1 << 20);
    members(&mut w, message, json);
    w.finish()
}

/// How an object is written.
pub(super) struct Message {
    /// By number, ascending.
    fields: &'static [Field],
    /// The number of `NamedAny`s for members whose names begin with `x-`.
    extensions: Option<u32>,
}

/// A member of an object.
pub(super) struct Field {
    number: u32,
    name: &'static str,
    shape: Shape,
}

const fn field(number: u32, name: &'static str, shape: Shape) -> Field {
    Field { number, name, shape }
}

/// What a member's value is, and how it is written.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Text,
    Truth,
    Integer,
    Number,
    Texts,
    /// Any value, as YAML.
    Any,
    Anys,
    One(Link),
    Many(Link),
    /// An object of objects: a message of named ones, which have this number in it.
    Named(u32, Link),
    /// One text in a message of texts, or several.
    TextsIn,
    /// A message with the value as the only one of a list.
    Single(Link),
    /// Objects of lists of strings.
    Requirements,
    /// A number, a truth value or a text, each with a number of its own; nothing else can be said.
    Scalar,
    /// A schema or a truth value.
    SchemaOrTruth(Link),
    /// `responses` of version 3: that for all others has a member of its own.
    Responses(Link),
}

/// An object of a certain form, between this and its message.
pub(super) type Link = fn(&mut Writer, u32, &Value);

/// A message as it is.
fn message(w: &mut Writer, number: u32, of: &'static Message, json: &Value) {
    w.message(number, |w| members(w, of, json));
}

fn members(w: &mut Writer, of: &'static Message, json: &Value) {
    let extensions = |w: &mut Writer, number| {
        for (name, value) in entries(json).filter(|(name, _)| name.starts_with("x-")) {
            named(w, number, name, |w| any_text(w, value));
        }
    };
    let mut later = of.extensions;
    for field in of.fields.iter().rev() {
        if let Some(number) = later.filter(|number| *number > field.number) {
            extensions(w, number);
            later = None;
        }
        let value = &json[field.name];
        if !value.is_null() {
            member(w, field.number, field.shape, value);
        }
    }
    if let Some(number) = later {
        extensions(w, number);
    }
}

fn member(w: &mut Writer, number: u32, shape: Shape, value: &Value) {
    match shape {
        Shape::Text => text(w, number, value),
        Shape::Truth => truth(w, number, value),
        Shape::Integer => whole_number(w, number, value),
        Shape::Number => double(w, number, value),
        Shape::Texts => items(value).for_each(|v| text(w, number, v)),
        Shape::Any => any(w, number, value),
        Shape::Anys => items(value).for_each(|v| any(w, number, v)),
        Shape::One(link) => link(w, number, value),
        Shape::Many(link) => items(value).for_each(|v| link(w, number, v)),
        Shape::Named(inner, link) => w.message(number, |w| {
            // A property may begin with x- as well: those of JSONSchemaProps do.
            for (name, value) in entries(value) {
                w.message(inner, |w| {
                    link(w, 2, value);
                    w.bytes(1, name.as_bytes());
                });
            }
        }),
        Shape::TextsIn => w.message(number, |w| {
            text(w, 1, value);
            items(value).for_each(|v| text(w, 1, v));
        }),
        Shape::Single(link) => w.message(number, |w| link(w, 1, value)),
        Shape::Requirements => items(value).for_each(|v| w.message(number, |w| requirement(w, v))),
        Shape::Scalar => w.message(number, |w| scalar(w, value)),
        Shape::SchemaOrTruth(link) => w.message(number, |w| match value {
            Value::Bool(said) => w.int(2, i64::from(*said)),
            schema => link(w, 1, schema),
        }),
        Shape::Responses(link) => w.message(number, |w| {
            for (code, value) in entries(value).filter(|(code, _)| *code != "default") {
                w.message(2, |w| {
                    link(w, 2, value);
                    w.bytes(1, code.as_bytes());
                });
            }
            if let Some(default) = value.get("default") {
                link(w, 1, default);
            }
        }),
    }
}

/// The members of an object, last to first: messages are written back to front.
fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value
        .as_object()
        .into_iter()
        .flat_map(Map::iter)
        .rev()
        .map(|(k, v)| (k.as_str(), v))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten().rev()
}

fn text(w: &mut Writer, number: u32, value: &Value) {
    if let Some(text) = value.as_str().filter(|t| !t.is_empty()) {
        w.bytes(number, text.as_bytes());
    }
}

fn truth(w: &mut Writer, number: u32, value: &Value) {
    if value == &Value::Bool(true) {
        w.int(number, 1);
    }
}

fn whole_number(w: &mut Writer, number: u32, value: &Value) {
    if let Some(value) = value.as_i64().filter(|v| *v != 0) {
        w.int(number, value);
    }
}

fn double(w: &mut Writer, number: u32, value: &Value) {
    if let Some(value) = value.as_f64().filter(|v| *v != 0.0) {
        w.double(number, value);
    }
}

/// `Any {yaml = 2}`: any value as YAML, of which JSON is a part.
fn any(w: &mut Writer, number: u32, value: &Value) {
    w.message(number, |w| any_text(w, value));
}

fn any_text(w: &mut Writer, value: &Value) {
    w.bytes(2, crate::encode::yaml(value).as_bytes());
}

/// `{name = 1, value = 2}`.
fn named(w: &mut Writer, number: u32, name: &str, value: impl FnOnce(&mut Writer)) {
    w.message(number, |w| {
        w.message(2, value);
        w.bytes(1, name.as_bytes());
    });
}

/// A `SecurityRequirement`.
fn requirement(w: &mut Writer, value: &Value) {
    for (name, value) in entries(value) {
        named(w, 1, name, |w| items(value).for_each(|v| text(w, 1, v)));
    }
}

/// A `DefaultType`; objects and lists make an empty one.
fn scalar(w: &mut Writer, value: &Value) {
    match value {
        Value::Number(n) => w.double(1, n.as_f64().unwrap_or_default()),
        Value::Bool(said) => w.int(2, i64::from(*said)),
        Value::String(text) => w.bytes(3, text.as_bytes()),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
