//! Turning results into HTTP: the one place where a [`Status`] becomes an answer.

use bytes::Bytes;
use corten_meta::Status;
use corten_meta::status::InOrder;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde_json::Value;

use crate::body::Body;
use crate::negotiate::{self, Accepted, Format, Transforms};

/// The answer type of every handler.
pub type Answer = Response<Body>;

/// A whole answer with a content type.
pub fn bytes(code: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Answer {
    let mut r = Response::new(body.into());
    *r.status_mut() = code;
    r.headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    r
}

/// A code, and nothing to read.
pub fn empty(code: StatusCode) -> Answer {
    let mut answer = Response::new(Body::Empty);
    *answer.status_mut() = code;
    answer
}

/// Plain text, as Go's `http.Error` and health checks send it.
pub fn text(code: StatusCode, body: impl Into<String>) -> Answer {
    let mut r = bytes(code, "text/plain; charset=utf-8", body.into());
    r.headers_mut()
        .insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    r
}

/// Go's `http.NotFound`.
pub fn not_found_text() -> Answer {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// A JSON value as JSON, whatever was asked for.
pub fn json(code: StatusCode, value: &Value) -> Answer {
    let mut out = json_bytes(value, false).unwrap_or_default();
    out.push(b'\n');
    bytes(code, Format::Json.content_type(), Bytes::from(out))
}

fn json_bytes(value: &Value, pretty: bool) -> serde_json::Result<Vec<u8>> {
    match (InOrder::of(value), pretty) {
        (Some(status), false) => serde_json::to_vec(&status),
        (Some(status), true) => serde_json::to_vec_pretty(&status),
        (None, false) => serde_json::to_vec(value),
        (None, true) => serde_json::to_vec_pretty(value),
    }
}

/// Encodes an API object held as a value.
pub fn encode(value: &Value, accepted: Accepted) -> Result<Bytes, Status> {
    match accepted.format {
        Format::Json => {
            let mut out = json_bytes(value, accepted.pretty).map_err(Status::internal)?;
            if !accepted.pretty {
                out.push(b'\n');
            }
            Ok(Bytes::from(out))
        }
        Format::Yaml => Ok(Bytes::from(corten_schema::encode::yaml(value))),
        Format::Protobuf => crate::protobuf::from_value(value).map(Bytes::from),
    }
}

/// An API object held as a value, in the encoding that was negotiated.
///
/// # Errors
/// Where the encoding cannot express it.
pub fn object(code: StatusCode, value: &Value, accepted: Accepted) -> Result<Answer, Status> {
    Ok(bytes(
        code,
        accepted.format.content_type(),
        encode(value, accepted)?,
    ))
}

/// A failure, in the encoding the client asked for where that works for a Status, else JSON for people to read. `pretty` is
/// what the rest of the request says of indenting.
pub fn failure(status: &Status, accept: Option<&str>, pretty: bool) -> Answer {
    let value = status.to_json();
    let unasked = Accepted {
        pretty: true,
        ..Accepted::JSON
    };
    let asked = negotiate::accept(accept, Transforms::None).map(|accepted| accepted.indented(pretty));
    let accepted = asked.unwrap_or(unasked);
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut r = object(code, &value, accepted).unwrap_or_else(|_| json(code, &value));
    let retry = status.details.as_ref().map_or(0, |d| d.retry_after_seconds);
    if retry > 0 {
        r.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry));
    }
    r
}
