//! GET of one object, and the answer every verb gives an object in.

use std::sync::Arc;

use corten_meta::Status;
use corten_registry::Object;
use http::StatusCode;

use crate::call::Call;
use crate::catalog::Served;
use crate::convert;
use crate::negotiate::{Accepted, Format, Shape};
use crate::respond::{self, Answer};
use crate::shape;

/// `GET .../NAME`.
///
/// # Errors
/// 404, or 504 for a resourceVersion that does not come.
pub async fn get(call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    let accepted = call.answer_of(&served)?;
    let resource = served.stored()?;
    let version = call.query.text("resourceVersion");
    let object = call
        .server
        .registry
        .get(resource, &call.info.namespace, &call.info.name, version)
        .await?;
    answer_object(&call, &served, StatusCode::OK, &object, accepted)
}

/// An object in the negotiated encoding and shape. JSON of the stored version is the cache's own bytes.
///
/// # Errors
/// Where stored bytes cannot be read or the encoding cannot express them.
pub fn answer_object(
    call: &Call,
    served: &Served,
    code: StatusCode,
    object: &Object,
    accepted: Accepted,
) -> Result<Answer, Status> {
    let content_type = accepted.format.content_type();
    let as_stored = accepted.shape == Shape::Plain && !served.converts();
    match accepted.format {
        Format::Json if as_stored && !accepted.pretty => {
            return Ok(respond::bytes(code, content_type, object.line()));
        }
        Format::Protobuf if as_stored => {
            return Ok(respond::bytes(
                code,
                content_type,
                crate::protobuf::of_object(object)?,
            ));
        }
        _ => {}
    }
    let mut value = object.value()?;
    convert::to_served(served, &mut value);
    let value = shape::of_one(call, served, value, accepted)?;
    respond::object(code, &value, accepted)
}
