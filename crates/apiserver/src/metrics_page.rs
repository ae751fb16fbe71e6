//! `/metrics`.

use http::StatusCode;

use crate::call::Call;
use crate::respond::{self, Answer};

/// The page, in the classic text format.
pub fn answer(call: &Call) -> Answer {
    respond::bytes(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
        call.server.metrics_text(),
    )
}
