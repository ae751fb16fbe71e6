//! Objects of requests and answers as an event holds them: JSON, whatever was spoken.

use bytes::Bytes;
use corten_schema::decode;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::body::Body;
use crate::respond::Answer;

/// A body as JSON; `None` where it is of no type that can be shown.
pub fn parse(body: &[u8], content_type: &str) -> Option<Value> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if media.ends_with("protobuf") {
        let (gvk, mut value) = decode::protobuf(body).ok()?;
        value["kind"] = gvk.kind.as_ref().into();
        value["apiVersion"] = gvk.api_version().into();
        return Some(value);
    }
    if media.ends_with("yaml") {
        return decode::yaml(body).ok();
    }
    serde_json::from_slice(body).ok()
}

/// The object of an answer whose body is at hand.
pub fn of_answer(answer: &Answer) -> Option<Value> {
    let content_type = answer.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let whole = whole(answer.body())?;
    parse(&whole, content_type)
}

fn whole(body: &Body) -> Option<Bytes> {
    match body {
        Body::Full(bytes) => Some(bytes.clone()),
        Body::Held(body, _) => whole(body),
        Body::Empty | Body::Frames(_) | Body::Awaited(_) | Body::Stream(_) => None,
    }
}

/// What a failure's Status says.
pub fn status_of(answer: &Answer) -> Option<Value> {
    let object = of_answer(answer).filter(|o| o["kind"] == "Status")?;
    let mut out = json!({"metadata": {}});
    for key in ["status", "message", "reason", "details"] {
        if !object[key].is_null() {
            out[key] = object[key].clone();
        }
    }
    Some(out)
}

/// Takes `managedFields` out of an object, of a list's items and of a Table's rows.
pub fn without_managed_fields(object: &mut Value) {
    let strip = |object: &mut Value| {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    };
    if object["metadata"].is_object() {
        strip(object);
    }
    for item in object
        .get_mut("items")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        strip(item);
    }
    for row in object
        .get_mut("rows")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        strip(&mut row["object"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_fields_are_left_out_everywhere() {
        let object = || json!({"metadata": {"name": "a", "managedFields": []}});
        let mut list = json!({"metadata": {}, "items": [object()], "rows": [{"object": object()}]});
        without_managed_fields(&mut list);
        assert!(!list.to_string().contains("managedFields"));
    }
}
