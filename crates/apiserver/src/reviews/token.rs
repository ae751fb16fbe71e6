//! TokenReview: is this bearer token good, and whose is it?

use corten_meta::Status;
use serde_json::{Value, json};

use crate::apply::Ownership;
use crate::call::Call;

/// Fills in `status`.
///
/// # Errors
/// 400 without a token.
pub async fn review(call: &Call, mut review: Value, ownership: &Ownership) -> Result<Value, Status> {
    let token = review["spec"]["token"].as_str().unwrap_or_default().to_owned();
    if token.is_empty() {
        return Err(Status::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let audiences: Vec<String> = review["spec"]["audiences"]
        .as_array()
        .map(|a| a.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    let judged = call.server.authenticator.token(&token, &audiences, &call.notes);
    ownership.record("", &Value::Null, &mut review);
    review["status"] = match judged.await {
        Some(Ok(a)) => json!({"authenticated": true, "user": a.user, "audiences": a.audiences}),
        Some(Err(error)) => json!({"user": {}, "error": format!("[invalid bearer token, {error}]")}),
        None => json!({"user": {}, "error": "invalid bearer token"}),
    };
    Ok(review)
}
