//! LIST: the watch cache's own buffers, strung together.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use corten_meta::Status;
use corten_registry::{ListPage, Object};
use http::StatusCode;
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::Call;
use crate::catalog::Served;
use crate::listing::Listing;
use crate::negotiate::{Accepted, Format, Shape};
use crate::respond::{self, Answer};
use crate::{convert, items, shape};

/// `GET` of a collection.
///
/// # Errors
/// 400 for bad parameters, 410 for an expired continue token.
pub async fn list(call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    let accepted = call.answer_of(&served)?;
    let options = Listing::read(&call.query, &call.info, false)?.into_list();
    let namespace = Some(served.namespace_of(&call)).filter(|ns| !ns.is_empty());
    let page = call
        .server
        .registry
        .list(served.stored()?, namespace, &options)
        .await?;
    answer_list(&call, &served, &page, accepted)
}

/// A list in the negotiated encoding and shape.
///
/// # Errors
/// Where stored bytes cannot be read or the encoding cannot express them.
pub fn answer_list(
    call: &Call,
    served: &Served,
    page: &ListPage,
    accepted: Accepted,
) -> Result<Answer, Status> {
    let content_type = accepted.format.content_type();
    let as_stored = accepted.shape == Shape::Plain && !served.converts();
    match accepted.format {
        Format::Json if as_stored && !accepted.pretty => {
            return Ok(respond::bytes(
                StatusCode::OK,
                content_type,
                json_body(served, page),
            ));
        }
        Format::Protobuf if as_stored => {
            let body = crate::protobuf::list_body(served, page)?;
            return Ok(respond::bytes(StatusCode::OK, content_type, body));
        }
        _ => {}
    }
    let values = page
        .items
        .iter()
        .map(|o| served_value(served, o))
        .collect::<Result<Vec<_>, _>>()?;
    let mut metadata = list_meta(page);
    if served.custom.is_some() && accepted.shape == Shape::Plain {
        metadata["continue"] = json!(page.continue_token);
    }
    let value = match accepted.shape {
        Shape::Plain => shape::plain_list(served, values, metadata),
        Shape::PartialList => shape::partial_list(&values, metadata, accepted.meta_version),
        Shape::Partial => return Err(shape::not_an_object(served)),
        Shape::Table => shape::whole_table(call, served, values, metadata, accepted)?,
    };
    respond::object(StatusCode::OK, &value, accepted)
}

/// An object parsed, in the version that is served.
pub fn served_value(served: &Served, object: &Object) -> Result<Value, Status> {
    let mut value = object.value()?;
    convert::to_served(served, &mut value);
    Ok(value)
}

/// `ListMeta`.
pub fn list_meta(page: &ListPage) -> Value {
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if !page.continue_token.is_empty() {
        metadata["continue"] = json!(page.continue_token);
    }
    if let Some(n) = page.remaining.filter(|n| *n > 0) {
        metadata["remainingItemCount"] = json!(n);
    }
    metadata
}

fn json_body(served: &Served, page: &ListPage) -> Body {
    let mut head = served.list_head.clone();
    head.push_str(&page.revision.to_string());
    head.push('"');
    if !page.continue_token.is_empty() || served.custom.is_some() {
        head.push_str(",\"continue\":\"");
        head.push_str(&page.continue_token);
        head.push('"');
    }
    if let Some(n) = page.remaining.filter(|n| *n > 0) {
        head.push_str(&format!(",\"remainingItemCount\":{n}"));
    }
    head.push_str("},\"items\":[");
    let mut parts = VecDeque::with_capacity(2 + page.items.len() * 2);
    parts.push_back(Bytes::from(head));
    for (i, object) in page.items.iter().enumerate() {
        if i > 0 {
            parts.push_back(Bytes::from_static(b","));
        }
        if served.custom.is_some() {
            parts.push_back(object.bytes.clone());
        } else {
            items::push(&mut parts, served, &object.bytes);
        }
    }
    parts.push_back(Bytes::from_static(b"]}\n"));
    Body::chunks(parts)
}
