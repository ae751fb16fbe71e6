//! `/openapi/v2` and `/openapi/v3`.

use corten_meta::Status;

use crate::call::Call;
use crate::respond::{self, Answer};

/// The whole API as one Swagger document.
///
/// # Errors
/// None yet.
pub fn v2(_call: &Call) -> Result<Answer, Status> {
    Ok(respond::not_found_text())
}

/// Which documents there are.
///
/// # Errors
/// None yet.
pub fn v3_index(_call: &Call) -> Result<Answer, Status> {
    Ok(respond::not_found_text())
}

/// One group and version.
///
/// # Errors
/// None yet.
pub fn v3(_call: &Call, _path: &str) -> Result<Answer, Status> {
    Ok(respond::not_found_text())
}
