//! Protobuf: objects to upstream's wire form and back, driven by the field numbers of the type table.

mod read;
mod write;

use corten_meta::GroupVersionKind;
use serde_json::{Map, Value};

use crate::types::{Kind, Shape, Type, TypeId, named, type_of};
use read::Fields;
pub(crate) use write::Writer;

/// What upstream's protobuf documents begin with.
const PREFIX: &[u8] = b"k8s\0";

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("empty data")]
    Empty,
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoPrefix,
    #[error("unexpected EOF")]
    Truncated,
    #[error("proto: illegal wireType {0}")]
    WireType(u8),
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: wrong wireType = {1} for field {0}")]
    Field(&'static str, u8),
    #[error(
        "object does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message"
    )]
    NoProtobuf,
    #[error("{0}")]
    Value(String),
    #[error("proto: the message nests too deeply")]
    Depth,
}

/// Empty `contentEncoding` and `contentType`: what upstream's documents end with.
pub const ENVELOPE_END: &[u8] = &[3 << 3 | 2, 0, 4 << 3 | 2, 0];

/// `runtime.Unknown`: what an object travels in.
pub struct Envelope<'a> {
    pub api_version: String,
    pub kind: String,
    pub raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        if bytes.is_empty() {
            return Err(WireError::Empty);
        }
        let body = bytes.strip_prefix(PREFIX).ok_or(WireError::NoPrefix)?;
        let mut out = Self {
            api_version: String::new(),
            kind: String::new(),
            raw: &[],
        };
        for field in Fields::new(body) {
            match field? {
                (1, value) => {
                    for field in Fields::new(value.bytes("typeMeta")?) {
                        match field? {
                            (1, value) => out.api_version = value.text("apiVersion")?,
                            (2, value) => out.kind = value.text("kind")?,
                            _ => {}
                        }
                    }
                }
                (2, value) => out.raw = value.bytes("raw")?,
                _ => {}
            }
        }
        Ok(out)
    }

    pub fn write(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(self.raw.len() + 64);
        w.raw(ENVELOPE_END);
        self.begin(&mut w, self.raw.len());
        w.finish()
    }

    /// All but the end of an envelope of `length` bytes, of which `raw` are the first.
    pub fn write_head(&self, length: usize) -> Vec<u8> {
        let mut w = Writer::with_capacity(self.raw.len() + 64);
        self.begin(&mut w, length);
        w.finish()
    }

    fn begin(&self, w: &mut Writer, length: usize) {
        w.raw(self.raw);
        w.length(2, length);
        w.message(1, |w| {
            w.bytes(2, self.kind.as_bytes());
            w.bytes(1, self.api_version.as_bytes());
        });
        w.raw(PREFIX);
    }
}

/// The message of an object of a kind.
pub fn encode(gvk: &GroupVersionKind, value: &Value) -> Result<Vec<u8>, WireError> {
    let id = type_of(gvk)
        .filter(|id| has_protobuf(id.get()))
        .ok_or(WireError::NoProtobuf)?;
    let mut w = Writer::with_capacity(256);
    write::structure(&mut w, id, value.as_object().unwrap_or(&Map::new()))?;
    Ok(w.finish())
}

/// The object in a message of a kind, in Go's JSON form, without `apiVersion` and `kind`.
pub fn decode(gvk: &GroupVersionKind, message: &[u8]) -> Result<Value, WireError> {
    let id = type_of(gvk)
        .filter(|id| has_protobuf(id.get()))
        .ok_or(WireError::NoProtobuf)?;
    read::structure(id, message, 0)
}

fn has_protobuf(ty: &Type) -> bool {
    !ty.wire.is_empty() || ty.fields.iter().all(|f| ["apiVersion", "kind"].contains(&f.name))
}

/// A list message without items.
pub fn list_head(meta: &Value) -> Result<Vec<u8>, WireError> {
    let id = named("apimachinery/pkg/apis/meta/v1", "ListMeta").ok_or(WireError::NoProtobuf)?;
    let mut head = Writer::with_capacity(64);
    let empty = Map::new();
    let mut failed = Ok(());
    head.message(1, |w| {
        failed = write::structure(w, id, meta.as_object().unwrap_or(&empty))
    });
    failed?;
    Ok(head.finish())
}

/// What stands before an item of a list message.
pub fn item_head(length: usize) -> Vec<u8> {
    let mut out = vec![2 << 3 | 2];
    write::push_varint(&mut out, length as u64);
    out
}

/// A WatchEvent message around an object's envelope.
pub fn encode_watch_event(event_type: &str, object: &[u8]) -> Vec<u8> {
    let mut w = Writer::with_capacity(object.len() + 32);
    w.message(2, |w| w.bytes(1, object));
    w.bytes(1, event_type.as_bytes());
    w.finish()
}

/// The type of JSON schemas, which CRDs hold.
fn schema_props() -> Option<TypeId> {
    named(
        "apiextensions-apiserver/pkg/apis/apiextensions/v1",
        "JSONSchemaProps",
    )
}

const STRING: Shape = Shape {
    kind: Kind::String,
    pointer: false,
    expr: "string",
};
