//! The question "may this user do that", its answer, and how several authorizers combine.

use std::borrow::Cow;
use std::sync::Arc;

use corten_meta::{fields, quote};

use crate::user::{UserInfo, groups};

/// One request to be authorized. Borrowed: building it costs nothing.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    pub user: &'a UserInfo,
    pub verb: &'a str,
    /// API group; empty for the core group. The same for the next six, which are empty for non-resource requests.
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    /// The request's field selector (list, watch, deletecollection).
    pub field_selector: Option<&'a fields::Selector>,
    /// Path of a non-resource request.
    pub path: &'a str,
    pub resource_request: bool,
}

impl<'a> Attributes<'a> {
    /// A request for a resource; set what else applies with struct update syntax.
    pub fn resource(user: &'a UserInfo, verb: &'a str, group: &'a str, resource: &'a str) -> Self {
        Self {
            user,
            verb,
            group,
            version: "*",
            resource,
            subresource: "",
            namespace: "",
            name: "",
            field_selector: None,
            path: "",
            resource_request: true,
        }
    }

    /// A request for a path outside the resource tree, such as `/healthz`.
    pub fn non_resource(user: &'a UserInfo, verb: &'a str, path: &'a str) -> Self {
        Self {
            path,
            resource_request: false,
            version: "",
            ..Self::resource(user, verb, "", "")
        }
    }

    /// Whether the request's field selector demands `field = value`.
    pub fn selects(&self, field: &str, value: &str) -> bool {
        self.field_selector.and_then(|selector| selector.exact(field)) == Some(value)
    }
}

/// Why a decision was made; shown to clients in the forbidden message and in SubjectAccessReview status.
pub type Reason = Cow<'static, str>;

/// An authorizer's answer. `Deny` ends the search, `NoOpinion` asks the next authorizer; at the end it means no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow(Reason),
    Deny(Reason),
    NoOpinion(Reason),
}

impl Decision {
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }

    pub fn reason(&self) -> &str {
        let (Self::Allow(reason) | Self::Deny(reason) | Self::NoOpinion(reason)) = self;
        reason
    }
}

/// Decides requests. Implementations answer from memory and never block.
pub trait Authorizer: Send + Sync {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision;
}

/// Members of `system:masters` may do everything, whatever RBAC says.
#[derive(Debug, Default)]
pub struct PrivilegedGroup;

impl Authorizer for PrivilegedGroup {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.user.in_group(groups::MASTERS) {
            return Decision::Allow(Cow::Borrowed(""));
        }
        Decision::NoOpinion(Cow::Borrowed(""))
    }
}

/// Asks its members in order; the first that allows or denies decides.
pub struct Union(Vec<Arc<dyn Authorizer>>);

impl Union {
    pub fn new(members: Vec<Arc<dyn Authorizer>>) -> Self {
        Self(members)
    }

    /// Upstream's default chain: privileged group, nodes, RBAC.
    pub fn standard(node: Arc<crate::node::NodeAuthorizer>, rbac: Arc<crate::rbac::RbacAuthorizer>) -> Self {
        Self(vec![Arc::new(PrivilegedGroup), node, rbac])
    }
}

impl Authorizer for Union {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let mut reasons: Vec<Reason> = Vec::new();
        for member in &self.0 {
            match member.authorize(attributes) {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
                decided => return decided,
            }
        }
        Decision::NoOpinion(match reasons.len() {
            0 => Cow::Borrowed(""),
            1 => reasons.swap_remove(0),
            _ => Cow::Owned(reasons.join("\n")),
        })
    }
}

/// What a refused client reads after `deployments.apps is forbidden: ` (upstream's text; `reason` may be empty).
pub fn forbidden_message(attributes: &Attributes<'_>, reason: &str) -> String {
    let Attributes {
        user,
        verb,
        group,
        resource,
        subresource,
        namespace,
        path,
        ..
    } = *attributes;
    let user = quote(&user.username);
    let mut message = match (attributes.resource_request, namespace) {
        (false, _) => format!("User {user} cannot {verb} path {}", quote(path)),
        (true, namespace) => {
            let slash = if subresource.is_empty() { "" } else { "/" };
            let resource = quote(&format!("{resource}{slash}{subresource}"));
            let scope = match namespace {
                "" => "at the cluster scope".to_owned(),
                namespace => format!("in the namespace {}", quote(namespace)),
            };
            format!(
                "User {user} cannot {verb} resource {resource} in API group {} {scope}",
                quote(group)
            )
        }
    };
    if message.contains(['&', '<', '>']) {
        // Error text must never read as HTML.
        message = message
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
    }
    if !reason.is_empty() {
        message.push_str(": ");
        message.push_str(reason);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_texts_are_upstreams() {
        let user = UserInfo::new("x", []);
        let list = Attributes {
            namespace: "default",
            ..Attributes::resource(&user, "list", "apps", "deployments")
        };
        assert_eq!(
            forbidden_message(&list, ""),
            r#"User "x" cannot list resource "deployments" in API group "apps" in the namespace "default""#
        );
        let exec = Attributes {
            subresource: "exec",
            ..Attributes::resource(&user, "create", "", "pods")
        };
        assert_eq!(
            forbidden_message(&exec, "because"),
            r#"User "x" cannot create resource "pods/exec" in API group "" at the cluster scope: because"#
        );
        let path = Attributes::non_resource(&user, "get", "/metrics<");
        assert_eq!(
            forbidden_message(&path, ""),
            r#"User "x" cannot get path "/metrics&lt;""#
        );
    }

    #[test]
    fn masters_may_do_everything_and_a_denial_ends_the_search() {
        struct No;
        impl Authorizer for No {
            fn authorize(&self, _: &Attributes<'_>) -> Decision {
                Decision::Deny("no".into())
            }
        }
        let union = Union::new(vec![
            Arc::new(PrivilegedGroup),
            Arc::new(No),
            Arc::new(PrivilegedGroup),
        ]);
        let admin = UserInfo::new("a", [groups::MASTERS]);
        assert!(
            union
                .authorize(&Attributes::resource(&admin, "get", "", "pods"))
                .is_allowed()
        );
        let other = UserInfo::new("b", []);
        assert_eq!(
            union.authorize(&Attributes::resource(&other, "get", "", "pods")),
            Decision::Deny("no".into())
        );
    }
}
