//! Subresources. Those of the object's own kind (`status`, `resize`, `finalize` ...) are updates that the registry's
//! strategy confines; the others have handlers here.

mod binding;
mod eviction;
pub(crate) mod scale;
mod token;

use std::sync::Arc;

use corten_meta::Status;
use corten_meta::status::Details;
use http::{Method, StatusCode};

use crate::call::Call;
use crate::catalog::Served;
use crate::negotiate::Accepted;
use crate::respond::{self, Answer};
use crate::{connect, verbs};

pub use binding::bind;

/// What is passed on.
const PROXY_METHODS: [Method; 7] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::HEAD,
    Method::OPTIONS,
];

/// Finds the handler of a subresource.
///
/// # Errors
/// 404 and 405, or what the handler gives.
pub async fn dispatch(call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    let Some(sub) = served.schema.subresource(&call.info.subresource) else {
        return Err(Status::unknown_path());
    };
    let plural = served.schema.plural;
    if sub.name == "proxy" {
        if !PROXY_METHODS.contains(&call.method) {
            return Err(Status::method_not_allowed());
        }
        connect::never_dry(&call)?;
        return connect::proxy(call).await;
    }
    if call.info.depth > 3 {
        return Err(Status::unknown_path());
    }
    if !sub.verbs.contains(&verb_of(&call.method)) {
        return Err(Status::method_not_allowed());
    }
    match (plural, sub.name) {
        ("pods", "log") => connect::log(call).await,
        ("pods", "exec" | "attach" | "portforward") => {
            connect::never_dry(&call)?;
            connect::stream(call).await
        }
        ("pods", "binding") => binding::bind(call).await,
        ("pods", "eviction") => eviction::evict(call).await,
        ("serviceaccounts", "token") => token::request(call).await,
        (_, "scale") => scale::dispatch(call, served).await,
        _ => own_kind(call, served).await,
    }
}

async fn own_kind(call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    match call.method {
        Method::GET => verbs::get(call, served).await,
        Method::PUT => verbs::update(call, served).await,
        Method::PATCH => verbs::patch(call, served).await,
        _ => Err(Status::method_not_allowed()),
    }
}

fn verb_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// `Status` of success, as creates that leave no object answer.
pub(crate) fn created(accepted: Accepted) -> Result<Answer, Status> {
    let mut value = Status::success_json(&Details::default());
    if let Some(members) = value.as_object_mut() {
        members.remove("details");
        members.insert("code".into(), 201.into());
    }
    respond::object(StatusCode::CREATED, &value, accepted)
}
