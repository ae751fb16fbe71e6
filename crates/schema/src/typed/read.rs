//! The reader: a serde visitor that walks document and type together.

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

use super::scalar::{self, Scalar};
use super::zero::{fill, is_empty, zero};
use super::{Findings, MAX_FIELD_WARNINGS, Place, Step};
use crate::types::{Element, Field, Kind, Shape, Special, Type, TypeId, go_name, named};

/// Reads one value. A null reads as `Value::Null`: what that means is the container's to say.
pub(super) struct Reader<'r, 'p> {
    pub shape: Shape,
    pub place: &'p Place<'p>,
    pub findings: &'r mut Findings,
}

impl<'de> DeserializeSeed<'de> for Reader<'_, '_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.shape.kind {
            Kind::Special(Special::Raw | Special::Json | Special::FieldsV1) => {
                serde::Deserialize::deserialize(deserializer)
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

const SCHEMAS: &str = "apiextensions-apiserver/pkg/apis/apiextensions/v1";

fn schema_shape() -> Shape {
    let kind = named(SCHEMAS, "JSONSchemaProps").map_or(Kind::Special(Special::Json), Kind::Struct);
    Shape {
        kind,
        pointer: true,
        expr: "",
    }
}

const STRING: Shape = Shape {
    kind: Kind::String,
    pointer: false,
    expr: "string",
};

impl<'p> Reader<'_, 'p> {
    /// Reads a type that decodes itself with a decoder of its own: its first type error ends the reading, and its unknown
    /// and repeated fields are nobody's.
    fn by_itself<E: serde::de::Error>(
        self,
        read: impl FnOnce(Reader<'_, 'p>) -> Result<Value, E>,
    ) -> Result<Value, E> {
        let before = self.findings.type_error.take();
        let unwatched = std::mem::replace(&mut self.findings.unwatched, true);
        let value = read(Reader {
            shape: self.shape,
            place: self.place,
            findings: &mut *self.findings,
        })?;
        self.findings.unwatched = unwatched;
        match std::mem::replace(&mut self.findings.type_error, before) {
            Some(error) => Err(self.hard(error)),
            None => Ok(value),
        }
    }

    fn scalar<E: serde::de::Error>(self, given: Scalar<'_>) -> Result<Value, E> {
        match scalar::read(&self.shape, given) {
            Ok(value) => Ok(value),
            Err(wrong) => self.refused(wrong),
        }
    }

    fn refused<E: serde::de::Error>(mut self, wrong: scalar::Wrong) -> Result<Value, E> {
        match wrong {
            scalar::Wrong::Type(found) => {
                self.wrong_type(&found);
                Ok(Value::Null)
            }
            scalar::Wrong::Noted(text) => {
                self.findings.type_error.get_or_insert(text);
                Ok(Value::Null)
            }
            scalar::Wrong::Inner(found, wanted) => {
                let text = self.cannot_unmarshal(&found, wanted);
                Err(self.hard(text))
            }
            scalar::Wrong::Hard(text) => Err(self.hard(text)),
        }
    }

    fn hard<E: serde::de::Error>(self, text: String) -> E {
        self.findings.hard_error.get_or_insert(text);
        E::custom("")
    }

    /// Notes the first value of a wrong JSON type.
    fn wrong_type(&mut self, found: &str) {
        if self.findings.type_error.is_some() {
            return;
        }
        self.findings.type_error = Some(self.cannot_unmarshal(found, &go_name(self.shape.expr)));
    }

    fn cannot_unmarshal(&self, found: &str, wanted: &str) -> String {
        let mut path = String::new();
        self.place.field_path(&mut path);
        if path.is_empty() {
            return format!("json: cannot unmarshal {found} into Go value of type {wanted}");
        }
        let owner = self.place.owner;
        format!("json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {wanted}")
    }

    /// A special type's reader fails outright where Go decodes it from one kind of JSON only.
    fn wrong_container<E: serde::de::Error>(mut self, found: &str) -> Result<(), E> {
        match self.shape.kind {
            Kind::Special(special) => {
                let wrong = scalar::wrong_container(special, found);
                self.refused(wrong).map(drop)
            }
            _ => {
                self.wrong_type(found);
                Ok(())
            }
        }
    }

    fn structure<'de, A: MapAccess<'de>>(self, id: TypeId, mut access: A) -> Result<Value, A::Error> {
        let ty = id.get();
        let (mut out, mut seen) = (Map::new(), 0_u128);
        while let Some(key) = access.next_key_seed(FieldName(ty))? {
            match key {
                Key::Known(at) => {
                    let field = &ty.fields[at];
                    let mut place = self.place.child(Step::Field(field));
                    place.owner = ty.name;
                    let reader = Reader {
                        shape: field.shape,
                        place: &place,
                        findings: &mut *self.findings,
                    };
                    let repeated = seen & (1 << at) != 0;
                    if repeated {
                        reader.findings.warn("duplicate", &place, "");
                    }
                    seen |= 1 << at;
                    let value = access.next_value_seed(reader)?;
                    put_field(&mut out, ty, field, value, repeated);
                }
                Key::Unknown(name) => {
                    self.findings.warn("unknown", self.place, &name);
                    access.next_value::<IgnoredAny>()?;
                }
            }
        }
        fill(ty, &mut out);
        Ok(Value::Object(out))
    }

    fn map<'de, A: MapAccess<'de>>(
        self,
        element: &'static Element,
        mut access: A,
    ) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let place = self.place.child(Step::Key(&key));
            if out.contains_key(&key) {
                self.findings.warn("duplicate", &place, "");
            }
            let reader = Reader {
                shape: element.shape,
                place: &place,
                findings: &mut *self.findings,
            };
            let value = access.next_value_seed(reader)?;
            out.insert(key, present_in_map(value, &element.shape));
        }
        Ok(Value::Object(out))
    }

    fn list<'de, A: SeqAccess<'de>>(self, shape: Shape, mut access: A) -> Result<Value, A::Error> {
        let mut out = Vec::with_capacity(access.size_hint().unwrap_or(0).min(LIST_HINT_MAX));
        loop {
            let place = self.place.child(Step::Index(out.len()));
            let reader = Reader {
                shape,
                place: &place,
                findings: &mut *self.findings,
            };
            let Some(value) = access.next_element_seed(reader)? else {
                break;
            };
            out.push(if value.is_null() { zero(&shape) } else { value });
        }
        Ok(Value::Array(out))
    }
}

/// How much a list's own claim of its length may reserve.
const LIST_HINT_MAX: usize = 1024;

/// A null value in a map is the element's zero; for bytes, what storage makes of it: empty.
fn present_in_map(value: Value, shape: &Shape) -> Value {
    match (value, shape.kind) {
        (Value::Null, Kind::Bytes) => Value::from(""),
        (Value::Null, _) => zero(shape),
        (value, _) => value,
    }
}

/// Upstream stores these two groups as JSON, where an empty list stays one.
fn is_stored_as_protobuf(ty: &Type) -> bool {
    !matches!(
        ty.package.group,
        "apiextensions.k8s.io" | "apiregistration.k8s.io"
    )
}

/// Puts a member where Go would have it; a repeated object adds to the first.
fn put_field(out: &mut Map<String, Value>, ty: &Type, field: &Field, value: Value, repeated: bool) {
    if value.is_null() {
        // Null leaves a value as it was and clears what a pointer, list or map held.
        if field.shape.pointer || matches!(field.shape.kind, Kind::List(_) | Kind::Map(_) | Kind::Bytes) {
            out.remove(field.name);
        }
        return;
    }
    // What is written even when it is empty is put back as Go's zero: a list that storage has had is nil, which is null.
    let container = matches!(field.shape.kind, Kind::List(_) | Kind::Map(_)) && is_stored_as_protobuf(ty);
    if (field.omitempty || container) && is_empty(&field.shape, &value) && !field.keeps_empty {
        out.remove(field.name);
        return;
    }
    match (repeated, out.get_mut(field.name), value) {
        (true, Some(Value::Object(before)), Value::Object(after)) => before.extend(after),
        (_, _, value) => drop(out.insert(field.name.to_owned(), value)),
    }
}

impl Findings {
    fn warn(&mut self, what: &str, place: &Place<'_>, last: &str) {
        if !self.unwatched && self.warnings.len() < MAX_FIELD_WARNINGS {
            self.warnings
                .push(format!("{what} field {}", corten_meta::quote(&place.path(last))));
        }
    }
}

enum Key<'de> {
    Known(usize),
    Unknown(Cow<'de, str>),
}

/// Reads a member's name straight to its index, without allocating for known ones.
struct FieldName(&'static Type);

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Key<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key<'de>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for FieldName {
    type Value = Key<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }
    fn visit_borrowed_str<E: serde::de::Error>(self, name: &'de str) -> Result<Key<'de>, E> {
        Ok(self
            .0
            .field_index(name)
            .map_or(Key::Unknown(Cow::Borrowed(name)), Key::Known))
    }
    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Key<'de>, E> {
        Ok(self
            .0
            .field_index(name)
            .map_or_else(|| Key::Unknown(Cow::Owned(name.to_owned())), Key::Known))
    }
}

impl<'de> Visitor<'de> for Reader<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: serde::de::Error>(self, given: bool) -> Result<Value, E> {
        self.scalar(Scalar::Bool(given))
    }
    fn visit_i64<E: serde::de::Error>(self, given: i64) -> Result<Value, E> {
        self.scalar(Scalar::Int(given))
    }
    fn visit_u64<E: serde::de::Error>(self, given: u64) -> Result<Value, E> {
        match i64::try_from(given) {
            Ok(given) => self.scalar(Scalar::Int(given)),
            Err(_) => self.scalar(Scalar::Float(given as f64)),
        }
    }
    fn visit_f64<E: serde::de::Error>(self, given: f64) -> Result<Value, E> {
        self.scalar(Scalar::Float(given))
    }
    fn visit_str<E: serde::de::Error>(self, given: &str) -> Result<Value, E> {
        self.scalar(Scalar::Text(Cow::Borrowed(given)))
    }
    fn visit_string<E: serde::de::Error>(self, given: String) -> Result<Value, E> {
        self.scalar(Scalar::Text(Cow::Owned(given)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        match self.shape.kind {
            Kind::List(element) => self.list(element.shape, access),
            Kind::Special(Special::SchemaOrArray) => {
                self.by_itself(|reader| reader.list(schema_shape(), access))
            }
            Kind::Special(Special::SchemaOrStrings) => self.by_itself(|reader| reader.list(STRING, access)),
            _ => {
                self.wrong_container::<A::Error>("array")?;
                while access.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value::Null)
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        match self.shape.kind {
            Kind::Struct(id) => self.structure(id, access),
            Kind::Map(element) => self.map(element, access),
            Kind::Special(Special::SchemaOrArray | Special::SchemaOrBool | Special::SchemaOrStrings) => {
                match schema_shape().kind {
                    Kind::Struct(id) => self.by_itself(|reader| reader.structure(id, access)),
                    _ => Err(A::Error::custom("no schema type")),
                }
            }
            _ => {
                self.wrong_container::<A::Error>("object")?;
                while access.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value::Null)
            }
        }
    }
}
