//! The authorizer library: checks are built step by step and asked of the caller's [`crate::Authorizer`].

use super::{Answer, Context, failed};
use crate::authz::{AuthzDecision, AuthzRequest, AuthzValue, Subject};
use crate::value::Value;
use std::sync::Arc;

impl<'a> Value<'a> {
    /// The value of the `authorizer` variable.
    pub fn authorizer(authorizer: &'a dyn crate::Authorizer) -> Self {
        let subject = Subject {
            authorizer,
            service_account: None,
        };
        Value::Authz(Arc::new(AuthzValue::Authorizer(subject)))
    }

    /// `authorizer.requestResource`: a check that is complete but for its verb.
    pub fn resource_check(authorizer: &'a dyn crate::Authorizer, request: AuthzRequest) -> Self {
        let subject = Subject {
            authorizer,
            service_account: None,
        };
        Value::Authz(Arc::new(AuthzValue::ResourceCheck(subject, request)))
    }
}

pub(super) fn compute<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let Some((Value::Authz(value), rest)) = args.split_first() else {
        return context.no_overload(args);
    };
    if let (AuthzValue::Decision(decision), []) = (&**value, rest) {
        return read(context, decision);
    }
    let mut texts: Vec<Arc<str>> = Vec::new();
    for arg in rest {
        match arg {
            Value::String(s) => texts.push((&**s).into()),
            _ => return context.no_overload(args),
        }
    }
    match (context.function, &**value, &texts[..]) {
        ("serviceAccount", AuthzValue::Authorizer(subject), [namespace, name]) => {
            service_account(subject, namespace, name)
        }
        ("path", AuthzValue::Authorizer(subject), [path]) => {
            let request = AuthzRequest {
                path: Some(path.clone()),
                ..AuthzRequest::default()
            };
            Ok(built(AuthzValue::PathCheck(subject.clone(), request)))
        }
        ("group", AuthzValue::Authorizer(subject), [group]) => {
            let request = AuthzRequest {
                group: group.clone(),
                ..AuthzRequest::default()
            };
            Ok(built(AuthzValue::GroupCheck(subject.clone(), request)))
        }
        ("resource", AuthzValue::GroupCheck(subject, request), [resource]) => {
            let request = AuthzRequest {
                resource: resource.clone(),
                ..request.clone()
            };
            Ok(built(AuthzValue::ResourceCheck(subject.clone(), request)))
        }
        (
            "check",
            AuthzValue::PathCheck(subject, request) | AuthzValue::ResourceCheck(subject, request),
            [verb],
        ) => {
            let request = AuthzRequest {
                verb: verb.to_string(),
                service_account: subject.service_account.clone(),
                ..request.clone()
            };
            Ok(built(AuthzValue::Decision(
                subject.authorizer.authorize(&request),
            )))
        }
        (field, AuthzValue::ResourceCheck(subject, request), [text]) => {
            refine(context, field, subject, request, text)
        }
        _ => context.no_overload(args),
    }
}

fn built(value: AuthzValue<'_>) -> Value<'_> {
    Value::Authz(Arc::new(value))
}

fn refine<'a>(
    context: &Context<'_>,
    field: &str,
    subject: &Subject<'a>,
    request: &AuthzRequest,
    text: &Arc<str>,
) -> Answer<'a> {
    let mut request = request.clone();
    match field {
        "subresource" => request.subresource = text.clone(),
        "namespace" => request.namespace = text.clone(),
        "name" => request.name = text.clone(),
        "fieldSelector" => request.field_selector = Some(text.clone()),
        "labelSelector" => request.label_selector = Some(text.clone()),
        _ => return context.no_overload(&[]),
    }
    Ok(built(AuthzValue::ResourceCheck(subject.clone(), request)))
}

fn service_account<'a>(subject: &Subject<'a>, namespace: &Arc<str>, name: &Arc<str>) -> Answer<'a> {
    if !corten_meta::names::name_is_dns_subdomain(name, false).is_empty() {
        return failed("Invalid service account name");
    }
    if !corten_meta::names::name_is_dns_label(namespace, false).is_empty() {
        return failed("Invalid service account namespace");
    }
    let service_account = Some((namespace.clone(), name.clone()));
    Ok(built(AuthzValue::Authorizer(Subject {
        authorizer: subject.authorizer,
        service_account,
    })))
}

fn read<'a>(context: &Context<'_>, decision: &AuthzDecision) -> Answer<'a> {
    Ok(match context.function {
        "allowed" => Value::Bool(decision.allowed),
        "reason" => Value::string(decision.reason.as_str()),
        "errored" => Value::Bool(decision.error.is_some()),
        "error" => Value::string(decision.error.as_deref().unwrap_or_default()),
        _ => return context.no_overload(&[]),
    })
}
