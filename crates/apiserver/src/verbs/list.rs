//! LIST: from the watch cache's own bytes where they are what is asked for, else from objects parsed.

use std::sync::Arc;

use corten_meta::Status;
use corten_registry::{ListPage, Object};
use http::StatusCode;
use serde_json::{Value, json};

use crate::call::Call;
use crate::catalog::Served;
use crate::list_body::{self, Item, Source};
use crate::listing::Listing;
use crate::negotiate::{Accepted, Format, Shape};
use crate::respond::{self, Answer};
use crate::{convert, shape};

/// `GET` of a collection.
///
/// # Errors
/// 400 for bad parameters, 410 for an expired continue token.
pub async fn list(call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    let accepted = call.answer_of(&served)?;
    let options = Listing::read(&call.query, &call.info, false)?.into_list();
    let namespace = Some(served.namespace_of(&call)).filter(|ns| !ns.is_empty());
    let (stored, registry) = (served.stored()?, &call.server.registry);
    if let Some(item) = item(&served, accepted)
        && stored.versions.is_none()
    {
        let page = registry.open_list(stored, namespace, &options).await?;
        let head = head(&served, item, page.revision, &page.continue_token, page.remaining);
        let source = Source::Cursor(Box::new(page.items));
        return Ok(in_frames(&served, head, source, item));
    }
    let page = registry.list(stored, namespace, &options).await?;
    answer_list(&call, &served, page, accepted)
}

/// What the items of an answer are, where they can be cut out of the cache's bytes.
fn item(served: &Served, accepted: Accepted) -> Option<Item> {
    if accepted.format != Format::Json || accepted.pretty || served.converts() {
        return None;
    }
    match accepted.shape {
        Shape::Plain => Some(Item::Object),
        Shape::PartialList => Some(Item::Metadata(shape::partial_head(accepted.meta_version))),
        Shape::Partial | Shape::Table => None,
    }
}

fn in_frames(served: &Arc<Served>, head: String, source: Source, item: Item) -> Answer {
    let body = list_body::body(Arc::clone(served), head, source, item);
    respond::bytes(StatusCode::OK, Format::Json.content_type(), body)
}

/// A list in the negotiated encoding and shape.
///
/// # Errors
/// Where stored bytes cannot be read or the encoding cannot express them.
pub fn answer_list(
    call: &Call,
    served: &Arc<Served>,
    page: ListPage,
    accepted: Accepted,
) -> Result<Answer, Status> {
    if let Some(item @ Item::Object) = item(served, accepted) {
        let head = head(served, item, page.revision, &page.continue_token, page.remaining);
        return Ok(in_frames(served, head, Source::Objects(page.items.into()), item));
    }
    let content_type = accepted.format.content_type();
    let is_plain = accepted.shape == Shape::Plain && !served.converts();
    if accepted.format == Format::Protobuf && is_plain {
        let body = crate::protobuf::list_body(served, &page)?;
        return Ok(respond::bytes(StatusCode::OK, content_type, body));
    }
    let values = page
        .items
        .iter()
        .map(|o| served_value(served, o))
        .collect::<Result<Vec<_>, _>>()?;
    let mut metadata = list_meta(&page);
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

/// What a list begins with.
fn head(served: &Served, item: Item, revision: u64, continue_token: &str, remaining: Option<u64>) -> String {
    let mut head = match item {
        Item::Object => format!("{}{revision}\"", served.list_head),
        Item::Metadata(item) => format!("{}{revision}\"", shape::partial_list_head(item)),
    };
    let always = served.custom.is_some() && item == Item::Object;
    if !continue_token.is_empty() || always {
        head.push_str(",\"continue\":\"");
        head.push_str(continue_token);
        head.push('"');
    }
    if let Some(n) = remaining.filter(|n| *n > 0) {
        head.push_str(&format!(",\"remainingItemCount\":{n}"));
    }
    head.push_str("},\"items\":[");
    head
}
