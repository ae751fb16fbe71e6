//! LIST: in frames made while they are sent, from the watch cache's own bytes where they are what is asked for, else from
//! objects parsed one by one.

use std::sync::Arc;

use corten_meta::{GroupVersionKind, Status, object};
use corten_registry::{Items, Object, OpenPage};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::catalog::Served;
use crate::list_body::{self, Encode, Form, Layout, Metadata, Protobuf, Row, Stored, Text};
use crate::listing::Listing;
use crate::negotiate::{Accepted, Format, Shape};
use crate::respond::{self, Answer};
use crate::{convert, shape};

/// The kind whose Table has an order of its own.
const FLOW_SCHEMA: &str = "FlowSchema";

/// `GET` of a collection.
///
/// # Errors
/// 400 for bad parameters, 410 for an expired continue token.
pub async fn list(call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    let accepted = call.answer_of(&served)?;
    let options = Listing::read(&call.query, &call.info, false)?.into_list();
    let namespace = Some(served.namespace_of(&call)).filter(|ns| !ns.is_empty());
    let (stored, registry) = (served.stored()?, &call.server.registry);
    let page = registry.open_list(stored, namespace, &options).await?;
    answer(&call, &served, page, accepted).await
}

/// A page in the negotiated encoding and shape.
///
/// # Errors
/// Where the first objects cannot be read or the encoding cannot express them, and for options no Table has.
pub async fn answer(
    call: &Call,
    served: &Arc<Served>,
    mut page: OpenPage,
    accepted: Accepted,
) -> Result<Answer, Status> {
    let options = shape::TableOptions::read(call);
    if accepted.shape == Shape::Table && served.schema.kind == FLOW_SCHEMA {
        page.items = by_precedence(served, page.items)?;
    }
    let form = form(served, &page, accepted, options).await?;
    let body = list_body::body(form, page.items)?;
    let content_type = accepted.format.content_type();
    Ok(respond::bytes(StatusCode::OK, content_type, body))
}

/// FlowSchemas in the order in which requests try them, as upstream's printer sorts them for a Table.
fn by_precedence(served: &Served, mut items: Items) -> Result<Items, Status> {
    let mut found = Vec::new();
    while !items.is_done() {
        items.read(|object| {
            found.push(object.clone());
            true
        })?;
    }
    let mut keyed = Vec::with_capacity(found.len());
    for object in found {
        let value = object.value()?;
        let precedence = value["spec"]["matchingPrecedence"].as_i64().unwrap_or(0);
        keyed.push(((precedence, object::name(&value).to_owned()), object));
    }
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    let sorted = keyed.into_iter().map(|(_, object)| object).collect();
    Ok(Items::of_objects(served.stored()?, sorted))
}

/// How a page is written.
pub(crate) async fn form(
    served: &Arc<Served>,
    page: &OpenPage,
    accepted: Accepted,
    options: shape::TableOptions,
) -> Result<Box<dyn Form>, Status> {
    let as_stored = accepted.format == Format::Json && !accepted.pretty && !served.converts();
    Ok(match (accepted.format, accepted.shape) {
        (_, Shape::Partial) => return Err(shape::not_an_object(served)),
        (_, Shape::Plain) if as_stored => {
            let always = served.custom.is_some();
            let head = head(format!("{}{}\"", served.list_head, page.revision), page, always);
            let served = served.clone();
            Box::new(Stored { served, head })
        }
        (_, Shape::PartialList) if as_stored => {
            let item = shape::partial_head(accepted.meta_version);
            let begin = format!("{}{}\"", shape::partial_list_head(item), page.revision);
            let head = head(begin, page, false);
            Box::new(Metadata { head, item })
        }
        (Format::Protobuf, _) => {
            let (list, encode) = messages(served, accepted)?;
            let meta = list_meta(page);
            Box::new(Protobuf::measure(&list, &meta, encode, &page.items).await?)
        }
        _ => Box::new(text(served, page, accepted, options)?),
    })
}

/// What a list in protobuf and its items are.
fn messages(served: &Arc<Served>, accepted: Accepted) -> Result<(GroupVersionKind, Encode), Status> {
    let converted = Some(served.clone()).filter(|served| served.converts());
    let of_meta = |kind: &'static str| GroupVersionKind::new("meta.k8s.io", accepted.meta_version, kind);
    match (accepted.shape, converted) {
        (Shape::PartialList, converted) => Ok((
            of_meta("PartialObjectMetadataList"),
            Encode::Partial(of_meta("PartialObjectMetadata"), converted),
        )),
        (Shape::Plain, Some(served)) => Ok((served.schema.list_gvk(), Encode::Converted(served))),
        (Shape::Plain, None) => Ok((served.schema.list_gvk(), Encode::Stored)),
        // Negotiation gives neither.
        (Shape::Table | Shape::Partial, _) => Err(Status::internal("Tables have no protobuf form")),
    }
}

fn text(
    served: &Arc<Served>,
    page: &OpenPage,
    accepted: Accepted,
    options: shape::TableOptions,
) -> Result<Text, Status> {
    let mut metadata = list_meta(page);
    if served.custom.is_some() && accepted.shape == Shape::Plain {
        metadata["continue"] = json!(page.continue_token);
    }
    let version = accepted.meta_version;
    let (row, whole) = match accepted.shape {
        Shape::Table => {
            let rows = shape::Rows::new(options, version)?;
            (
                Row::Table(rows),
                shape::empty_table(served, metadata, version, true),
            )
        }
        Shape::Partial | Shape::PartialList => {
            (Row::Partial(version), shape::partial_list(&[], metadata, version))
        }
        Shape::Plain => (Row::Plain, shape::plain_list(served, Vec::new(), metadata)),
    };
    Ok(Text {
        served: served.clone(),
        layout: Layout::of(accepted).ok_or_else(|| Status::internal("protobuf is no text"))?,
        row,
        whole: match whole {
            Value::Object(whole) => whole,
            _ => Map::new(),
        },
    })
}

/// An object parsed, in the version that is served.
pub fn served_value(served: &Served, object: &Object) -> Result<Value, Status> {
    let mut value = object.value()?;
    convert::to_served(served, &mut value);
    Ok(value)
}

/// `ListMeta`.
fn list_meta(page: &OpenPage) -> Value {
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if !page.continue_token.is_empty() {
        metadata["continue"] = json!(page.continue_token);
    }
    if let Some(n) = page.remaining.filter(|n| *n > 0) {
        metadata["remainingItemCount"] = json!(n);
    }
    metadata
}

/// What a list begins with, up to the bracket that opens its items; `begin` is up to its resourceVersion. `always` writes
/// an empty continue token too.
fn head(begin: String, page: &OpenPage, always: bool) -> String {
    let mut head = begin;
    if !page.continue_token.is_empty() || always {
        head.push_str(",\"continue\":\"");
        head.push_str(&page.continue_token);
        head.push('"');
    }
    if let Some(n) = page.remaining.filter(|n| *n > 0) {
        head.push_str(&format!(",\"remainingItemCount\":{n}"));
    }
    head.push_str("},\"items\":[");
    head
}
