//! JSON that is cut out of the watch cache's bytes: objects as they are stored, and their metadata.

use std::sync::Arc;

use bytes::Bytes;
use corten_meta::Status;
use corten_registry::Object;

use super::{Form, SMALL_BYTES};
use crate::catalog::Served;
use crate::items;

const END: &[u8] = b"]}\n";

/// A list of objects as they are stored; those of built-in kinds without kind and version.
pub struct Stored {
    pub served: Arc<Served>,
    /// The list up to and with the bracket that opens its items.
    pub head: String,
}

impl Form for Stored {
    fn begin(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head).into_bytes()
    }

    fn item(&mut self, out: &mut Vec<u8>, object: &Object, first: bool) -> Result<Option<Bytes>, Status> {
        comma(out, first);
        let (json, head) = (object.json(), self.served.item_head.as_bytes());
        let skipped = match self.served.custom {
            Some(_) => 0,
            None if json.starts_with(head) => {
                out.push(b'{');
                head.len()
            }
            None => {
                items::write(out, json);
                return Ok(None);
            }
        };
        if json.len() >= SMALL_BYTES {
            return Ok(Some(object.bytes().slice(skipped..)));
        }
        out.extend_from_slice(&json[skipped..]);
        Ok(None)
    }

    fn end(&mut self, out: &mut Vec<u8>, _empty: bool) -> Result<(), Status> {
        out.extend_from_slice(END);
        Ok(())
    }
}

/// A list of `PartialObjectMetadata`.
pub struct Metadata {
    /// The list up to and with the bracket that opens its items. It is taken back where there are none: then they are null.
    pub head: String,
    /// What each item begins with.
    pub item: &'static str,
}

impl Form for Metadata {
    fn begin(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head).into_bytes()
    }

    fn item(&mut self, out: &mut Vec<u8>, object: &Object, first: bool) -> Result<Option<Bytes>, Status> {
        comma(out, first);
        out.extend_from_slice(self.item.as_bytes());
        // An object that was stored has metadata.
        let metadata = object.metadata();
        out.extend_from_slice(metadata.unwrap_or(b"{}"));
        out.push(b'}');
        Ok(None)
    }

    fn end(&mut self, out: &mut Vec<u8>, empty: bool) -> Result<(), Status> {
        if empty {
            out.pop();
        }
        out.extend_from_slice(if empty { b"null}\n" } else { END });
        Ok(())
    }
}

fn comma(out: &mut Vec<u8>, first: bool) {
    if !first {
        out.push(b',');
    }
}
