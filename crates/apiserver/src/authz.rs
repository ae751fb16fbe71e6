//! Asking the authorizer about requests, and wording its refusals.

use corten_auth::authz::{Attributes, Decision, forbidden_message};
use corten_meta::{GroupResource, Status, fields};

use crate::call::Call;
use crate::server::Inner;

/// May this request be served?
///
/// # Errors
/// 403 with upstream's text.
pub fn authorize(call: &Call) -> Result<(), Status> {
    let info = &call.info;
    let selector = match &*info.verb {
        "list" | "watch" | "deletecollection" => {
            fields::Selector::parse(call.query.text("fieldSelector")).ok()
        }
        _ => None,
    };
    let attributes = Attributes {
        user: &call.user,
        verb: &info.verb,
        group: &info.group,
        version: &info.version,
        resource: &info.resource,
        subresource: &info.subresource,
        namespace: &info.namespace,
        name: &info.name,
        field_selector: selector.as_ref(),
        path: &info.path,
        resource_request: info.is_resource,
    };
    let decision = call.server.authorizer.authorize(&attributes);
    if let Some(audit) = call.audit() {
        let word = if decision.is_allowed() { "allow" } else { "forbid" };
        audit.annotate("authorization.k8s.io/decision", word);
        audit.annotate("authorization.k8s.io/reason", decision.reason());
    }
    judge(&attributes, &decision)
}

/// Puts one question to the authorizer.
///
/// # Errors
/// 403 with upstream's text.
pub fn check(server: &Inner, attributes: &Attributes<'_>) -> Result<(), Status> {
    judge(attributes, &server.authorizer.authorize(attributes))
}

fn judge(attributes: &Attributes<'_>, decision: &Decision) -> Result<(), Status> {
    match decision {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(_) | Decision::NoOpinion(_) => {
            let gr = GroupResource::new(attributes.group.to_owned(), attributes.resource.to_owned());
            Err(Status::forbidden(
                &gr,
                attributes.name,
                forbidden_message(attributes, decision.reason()),
            ))
        }
    }
}
