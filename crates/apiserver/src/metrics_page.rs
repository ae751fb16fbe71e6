//! `/metrics` and `/metrics/slis`.

use http::StatusCode;

use crate::call::Call;
use crate::respond::{self, Answer};

/// The classic text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// The page.
pub fn answer(call: &Call) -> Answer {
    respond::bytes(StatusCode::OK, TEXT, call.server.metrics_text())
}

/// The page of the health checks.
pub fn slis(call: &Call) -> Answer {
    respond::bytes(StatusCode::OK, TEXT, call.server.health.slis())
}
