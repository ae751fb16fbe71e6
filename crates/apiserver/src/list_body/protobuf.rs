//! Protobuf lists. The envelope says how long the list is before it begins, so the items are gone through twice: to be
//! measured, and to be sent. What a webhook converts is asked for again the second time as far as it was too much to be kept.

use std::sync::Arc;

use bytes::Bytes;
use corten_meta::{GroupVersionKind, Status};
use corten_registry::{Items, Object};
use corten_schema::encode;
use serde_json::{Map, Value};

use super::{Form, SMALL_BYTES};
use crate::catalog::Served;
use crate::protobuf::of_object;
use crate::verbs::served_value;

/// Objects are measured for so many bytes before other tasks of the thread have a turn.
const MEASURED_BYTES: usize = 1 << 20;

/// What the items are.
pub enum Encode {
    /// Objects as they are stored: encoded once for all who read them, where they are read again soon.
    Stored,
    /// Objects of another version than the stored one.
    Converted(Arc<Served>),
    /// `PartialObjectMetadata`, of objects of another version than the stored one where that is given.
    Partial(GroupVersionKind, Option<Arc<Served>>),
}

impl Encode {
    /// The item's message.
    fn item(&self, object: &Object) -> Result<Bytes, Status> {
        match self {
            Self::Stored => {
                let envelope = of_object(object)?;
                Ok(envelope.slice_ref(encode::protobuf_inner(&envelope)?))
            }
            Self::Converted(served) => {
                let gvk = served.schema.gvk();
                encode::protobuf_raw(&gvk, &served_value(served, object)?).map(Bytes::from)
            }
            Self::Partial(gvk, converted) => {
                let metadata = match converted {
                    Some(served) => served_value(served, object)?["metadata"].take(),
                    // An object that was stored has metadata.
                    None => serde_json::from_slice(object.metadata().unwrap_or(b"{}"))
                        .map_err(Status::internal)?,
                };
                let partial = Map::from_iter([("metadata".to_owned(), metadata)]);
                encode::protobuf_raw(gvk, &Value::Object(partial)).map(Bytes::from)
            }
        }
    }

    fn length(&self, object: &Object) -> Result<usize, Status> {
        match self {
            Self::Stored => object.protobuf_length(|| Ok(self.item(object)?.len())),
            _ => Ok(self.item(object)?.len()),
        }
    }
}

/// See the module.
pub struct Protobuf {
    encode: Encode,
    head: Vec<u8>,
    /// Of items that were announced and are still to come.
    left: usize,
}

impl Protobuf {
    /// Of exactly these items. `meta` is the ListMeta as JSON.
    ///
    /// # Errors
    /// Kinds without a protobuf form, and what conversion refuses.
    pub async fn measure(
        list_gvk: &GroupVersionKind,
        meta: &Value,
        encode: Encode,
        items: &Items,
    ) -> Result<Self, Status> {
        let (mut items, mut total) = (items.clone(), 0);
        while !items.is_done() {
            items.prepare().await?;
            let (mut outcome, mut measured) = (Ok(()), 0);
            items.read(|object| match encode.length(object) {
                Ok(length) => {
                    total += length + encode::protobuf_item_head(length).len();
                    measured += length;
                    measured < MEASURED_BYTES
                }
                Err(status) => {
                    outcome = Err(status);
                    false
                }
            })?;
            outcome?;
            tokio::task::yield_now().await;
        }
        Ok(Self {
            head: encode::protobuf_list_head(list_gvk, meta, total)?,
            encode,
            left: total,
        })
    }
}

impl Form for Protobuf {
    fn begin(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head)
    }

    fn item(&mut self, out: &mut Vec<u8>, object: &Object, _first: bool) -> Result<Option<Bytes>, Status> {
        let item = self.encode.item(object)?;
        let head = encode::protobuf_item_head(item.len());
        self.left = self
            .left
            .checked_sub(head.len() + item.len())
            .ok_or_else(|| Status::internal("a list is longer than was announced"))?;
        out.extend_from_slice(&head);
        if item.len() >= SMALL_BYTES {
            return Ok(Some(item));
        }
        out.extend_from_slice(&item);
        Ok(None)
    }

    fn end(&mut self, out: &mut Vec<u8>, _empty: bool) -> Result<(), Status> {
        if self.left > 0 {
            return Err(Status::internal("a list is shorter than was announced"));
        }
        out.extend_from_slice(encode::PROTOBUF_LIST_END);
        Ok(())
    }
}
