//! The `authorizer` variable: what the caller implements, and the builder values of the authz library.

use std::sync::Arc;

/// Answers the checks of the `authorizer` variable.
pub trait Authorizer {
    fn authorize(&self, request: &AuthzRequest) -> AuthzDecision;
}

/// One check. Either `path` is set (a non-resource request) or the resource fields are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthzRequest {
    /// Set by `serviceAccount(namespace, name)`: ask for this account instead of the request's user.
    pub service_account: Option<(Arc<str>, Arc<str>)>,
    pub verb: String,
    pub path: Option<Arc<str>>,
    pub group: Arc<str>,
    pub resource: Arc<str>,
    pub subresource: Arc<str>,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    /// As written; the implementer parses them. A selector that does not parse is to be ignored.
    pub field_selector: Option<Arc<str>>,
    pub label_selector: Option<Arc<str>>,
}

/// The answer to one check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthzDecision {
    pub allowed: bool,
    pub reason: String,
    /// Set if the check could not be done.
    pub error: Option<String>,
}

/// The stages of building a check.
#[derive(Clone)]
pub enum AuthzValue<'a> {
    Authorizer(Subject<'a>),
    PathCheck(Subject<'a>, AuthzRequest),
    GroupCheck(Subject<'a>, AuthzRequest),
    ResourceCheck(Subject<'a>, AuthzRequest),
    Decision(AuthzDecision),
}

/// Whom a check is about.
#[derive(Clone)]
pub struct Subject<'a> {
    pub authorizer: &'a dyn Authorizer,
    pub service_account: Option<(Arc<str>, Arc<str>)>,
}

impl AuthzValue<'_> {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            AuthzValue::Authorizer(_) => "kubernetes.authorization.Authorizer",
            AuthzValue::PathCheck(..) => "kubernetes.authorization.PathCheck",
            AuthzValue::GroupCheck(..) => "kubernetes.authorization.GroupCheck",
            AuthzValue::ResourceCheck(..) => "kubernetes.authorization.ResourceCheck",
            AuthzValue::Decision(_) => "kubernetes.authorization.Decision",
        }
    }
}
