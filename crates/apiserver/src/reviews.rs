//! Kinds that are questions, not objects: token and access reviews, ComponentStatus, and the old `bindings` collection.

mod access;
mod components;
mod rules;
mod token;

use std::sync::Arc;

use corten_meta::{GroupVersionKind, Status};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::apply::Ownership;
use crate::call::Call;
use crate::catalog::Served;
use crate::options::{For, WriteOptions};
use crate::respond::{self, Answer};
use crate::{codec, shape, subresources};

/// Answers a virtual kind.
///
/// # Errors
/// 405 for other methods than the kind takes, 422 for what does not validate.
pub async fn dispatch(mut call: Call, served: &Arc<Served>) -> Result<Answer, Status> {
    let plural = served.schema.plural;
    if plural == "componentstatuses" {
        return components::answer(&call, served);
    }
    if call.info.named_by_path {
        return Err(Status::unknown_path());
    }
    if call.method != Method::POST {
        return Err(Status::method_not_allowed());
    }
    if plural == "bindings" {
        return subresources::bind(call).await;
    }
    let accepted = call.plain_answer()?;
    let format = call.body_format()?;
    let body = call.read_body().await?;
    let options = WriteOptions::read(&call.query, For::Create)?;
    let review = codec::decode(&call, &served.schema.gvk(), &body, format, options.validation)?;
    let ownership = Ownership::new(&call, served, &options);
    let review = match plural {
        "tokenreviews" => token::review(&call, review, &ownership).await?,
        "selfsubjectreviews" => self_review(&call, &served.schema.gvk()),
        "subjectaccessreviews" | "localsubjectaccessreviews" | "selfsubjectaccessreviews" => {
            access::review(&call, review, access::Form::of(plural), &ownership)?
        }
        "selfsubjectrulesreviews" => rules::review(&call, &review)?,
        _ => return Err(Status::unknown_path()),
    };
    let review = shape::of_one(&call, served, review, accepted)?;
    respond::object(StatusCode::CREATED, &review, accepted)
}

/// Who am I?
fn self_review(call: &Call, gvk: &GroupVersionKind) -> Value {
    let now = corten_meta::time::format(jiff::Timestamp::now());
    json!({
        "kind": gvk.kind, "apiVersion": gvk.api_version(),
        "metadata": {"creationTimestamp": now},
        "status": {"userInfo": &*call.user},
    })
}
