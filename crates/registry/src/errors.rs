//! Store errors as API errors, in upstream's words.

use corten_meta::status::{Cause, Details};
use corten_meta::{GroupResource, Status};
use corten_store::Error;

/// Upstream's `metav1.CauseTypeResourceVersionTooLarge`.
const TOO_LARGE: &str = "ResourceVersionTooLarge";

/// A failure of the store that the request could not have avoided.
pub(crate) fn store_error(error: &Error) -> Status {
    match error {
        Error::Compacted { .. } => list_expired(),
        Error::NoSpace { .. } => Status::service_unavailable(error.to_string()),
        Error::Invalid("value is too large") => Status::request_too_large("limit is 3145728"),
        Error::Closed => Status::service_unavailable("the server is shutting down"),
        other => Status::internal(other),
    }
}

pub(crate) fn list_expired() -> Status {
    Status::expired("The resourceVersion for the provided list is too old.")
}

/// The continue token's revision is gone; `token` goes on at the newest one.
pub(crate) fn continue_expired(token: String) -> Status {
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list \
                   without the continue parameter, or use the continue token in this response to retrieve the remainder of \
                   the results. Continuing with the provided token results in an inconsistent list - objects that were \
                   created, modified, or deleted between the time the first chunk was returned and now may show up in the \
                   list.";
    Status::expired(message).with_details(Details {
        continue_token: token,
        ..Details::default()
    })
}

/// A revision the store has not reached in time.
pub(crate) fn too_large_version(wanted: u64, current: u64) -> Status {
    let message = format!("Too large resource version: {wanted}, current: {current}");
    let mut status = Status::timeout(message, 1);
    let mut details = status.details.take().unwrap_or_default();
    details.causes = vec![Cause {
        reason: TOO_LARGE.to_owned(),
        message: "Too large resource version".to_owned(),
        field: String::new(),
    }];
    status.details = Some(details);
    status
}

/// Why an update that was not based on the stored version is refused.
pub(crate) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// What a precondition asked for, and what there is: `what` is `UID` or `ResourceVersion`.
#[must_use]
pub fn precondition_detail(what: &str, wanted: &str, found: &str) -> String {
    format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}")
}

/// A precondition that no longer holds, as etcd3's storage words it.
pub(crate) fn precondition_failed(
    resource: &GroupResource,
    name: &str,
    key: &str,
    what: &str,
    wanted: &str,
    found: &str,
) -> Status {
    let detail = precondition_detail(what, wanted, found);
    let error = format!(
        "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: {detail}"
    );
    Status::conflict(resource, name, error)
}
