//! From objects to bytes: protobuf in upstream's envelope, and YAML.

use corten_meta::{GroupVersionKind, Status};
use serde_json::Value;

use crate::wire;

/// An object in upstream's protobuf envelope (`k8s\0` and `Unknown`). Kinds without a protobuf form are not acceptable.
pub fn protobuf(gvk: &GroupVersionKind, value: &Value) -> corten_meta::Result<Vec<u8>> {
    let raw = wire::encode(gvk, value).map_err(|e| Status::internal(e.to_string()))?;
    Ok(wire::Envelope {
        api_version: gvk.api_version(),
        kind: gvk.kind.to_string(),
        raw: &raw,
    }
    .write())
}

/// An object's protobuf message without the envelope, as lists embed it.
pub fn protobuf_raw(gvk: &GroupVersionKind, value: &Value) -> corten_meta::Result<Vec<u8>> {
    wire::encode(gvk, value).map_err(|e| Status::internal(e.to_string()))
}

/// What a list in the envelope begins with, up to its first item: `items` is how many bytes those take with their heads
/// (`protobuf_item_head`). `meta` is the ListMeta as JSON. [`PROTOBUF_LIST_END`] follows the last item.
pub fn protobuf_list_head(
    list_gvk: &GroupVersionKind,
    meta: &Value,
    items: usize,
) -> corten_meta::Result<Vec<u8>> {
    let list = wire::list_head(meta).map_err(|e| Status::internal(e.to_string()))?;
    let envelope = wire::Envelope {
        api_version: list_gvk.api_version(),
        kind: list_gvk.kind.to_string(),
        raw: &list,
    };
    Ok(envelope.write_head(list.len() + items))
}

/// What an envelope has after its message.
pub use wire::ENVELOPE_END as PROTOBUF_LIST_END;

/// What an item of a list has before its message (`protobuf_raw`) of this length.
pub fn protobuf_item_head(length: usize) -> Vec<u8> {
    wire::item_head(length)
}

/// The message inside an envelope that `protobuf` wrote.
pub fn protobuf_inner(envelope: &[u8]) -> corten_meta::Result<&[u8]> {
    wire::Envelope::read(envelope)
        .map(|e| e.raw)
        .map_err(|e| Status::internal(e.to_string()))
}

/// A watch event around an object's envelope bytes. Streams carry it without an envelope of its own, each event after its
/// length as four big-endian bytes.
pub fn protobuf_watch_event(event_type: &str, object_envelope: &[u8]) -> Vec<u8> {
    wire::encode_watch_event(event_type, object_envelope)
}

/// A value as an item of a list that is a member of the document, members in name order.
pub fn yaml_item(value: &Value) -> String {
    crate::decode::yaml_item_text(value)
}

/// YAML text, members in name order, as upstream writes it.
pub fn yaml(value: &Value) -> String {
    crate::decode::yaml_text(value)
}
