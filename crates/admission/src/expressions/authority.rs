//! The `authorizer` variable: the server's own authorizer, asked about the request's user.

use corten_auth::UserInfo;
use corten_auth::authz::{Attributes, Authorizer};
use corten_auth::groups;
use corten_cel::{AuthzDecision, AuthzRequest};
use corten_meta::fields;
use corten_registry::WriteContext;

use crate::request::Request;

/// Answers the checks of one request's expressions.
pub(crate) struct Authority<'a> {
    authorizer: &'a dyn Authorizer,
    user: UserInfo,
}

impl<'a> Authority<'a> {
    pub fn new(authorizer: &'a dyn Authorizer, ctx: &WriteContext) -> Self {
        let user = &ctx.user;
        Self {
            authorizer,
            user: UserInfo {
                username: user.name.clone(),
                uid: user.uid.clone(),
                groups: user.groups.clone(),
                extra: user.extra.clone(),
            },
        }
    }
}

/// `authorizer.requestResource`: everything but the verb.
pub(super) fn request_resource(request: &Request<'_>) -> AuthzRequest {
    AuthzRequest {
        group: (*request.resource.group).into(),
        resource: (*request.resource.resource).into(),
        subresource: request.subresource.into(),
        namespace: request.namespace.as_str().into(),
        name: request.name.as_str().into(),
        ..AuthzRequest::default()
    }
}

impl corten_cel::Authorizer for Authority<'_> {
    fn authorize(&self, request: &AuthzRequest) -> AuthzDecision {
        let account = request.service_account.as_ref().map(|(namespace, name)| {
            let own = format!("{}{namespace}", groups::SERVICE_ACCOUNTS_PREFIX);
            let username = format!("system:serviceaccount:{namespace}:{name}");
            UserInfo::new(username, [groups::SERVICE_ACCOUNTS, own.as_str()])
        });
        let user = account.as_ref().unwrap_or(&self.user);
        let selector = request
            .field_selector
            .as_ref()
            .and_then(|text| fields::Selector::parse(text).ok());
        let attributes = match &request.path {
            Some(path) => Attributes::non_resource(user, &request.verb, path),
            None => Attributes {
                subresource: &request.subresource,
                namespace: &request.namespace,
                name: &request.name,
                field_selector: selector.as_ref(),
                ..Attributes::resource(user, &request.verb, &request.group, &request.resource)
            },
        };
        let decision = self.authorizer.authorize(&attributes);
        AuthzDecision {
            allowed: decision.is_allowed(),
            reason: decision.reason().to_owned(),
            error: None,
        }
    }
}
