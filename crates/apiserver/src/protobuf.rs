//! Protobuf answers: an object is encoded once and shared by all who read it while it is among those read last.

use bytes::{BufMut, Bytes, BytesMut};
use corten_meta::Status;
use corten_registry::Object;
use corten_schema::encode;
use serde_json::Value;

/// A value that names its kind, in the envelope.
///
/// # Errors
/// Kinds without a protobuf form.
pub fn from_value(value: &Value) -> Result<Vec<u8>, Status> {
    let gvk = corten_meta::object::gvk(value).map_err(Status::internal)?;
    encode::protobuf(&gvk, value)
}

/// A stored object, in the envelope.
///
/// # Errors
/// Kinds without a protobuf form.
pub fn of_object(object: &Object) -> Result<Bytes, Status> {
    object.protobuf(|json| {
        let value: Value = serde_json::from_slice(json).map_err(Status::internal)?;
        from_value(&value).map(Bytes::from)
    })
}

/// One frame of a watch: four bytes of length, then `WatchEvent{type = 1, object = 2 {raw = 1}}` without an envelope.
pub fn put_watch_event(out: &mut BytesMut, kind: &str, object: &[u8]) {
    let raw_len = 1 + varint_len(object.len()) + object.len();
    let len = 1 + varint_len(kind.len()) + kind.len() + 1 + varint_len(raw_len) + raw_len;
    out.reserve(4 + len);
    out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    put_field(out, kind.as_bytes());
    out.put_u8(0x12);
    put_varint(out, raw_len);
    put_field(out, object);
}

/// Field 1, length-delimited.
fn put_field(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u8(0x0a);
    put_varint(out, bytes.len());
    out.put_slice(bytes);
}

fn put_varint(out: &mut BytesMut, mut n: usize) {
    while n >= 0x80 {
        out.put_u8((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.put_u8(n as u8);
}

fn varint_len(n: usize) -> usize {
    (usize::BITS - n.leading_zeros()).max(1).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        let mut out = BytesMut::new();
        put_watch_event(&mut out, "ADDED", &[7; 200]);
        let len = u32::from_be_bytes([out[0], out[1], out[2], out[3]]) as usize;
        assert_eq!(len, out.len() - 4);
        assert_eq!(&out[4..11], b"\x0a\x05ADDED");
        assert_eq!(&out[11..17], [0x12, 0xcb, 0x01, 0x0a, 0xc8, 0x01]);
    }
}
