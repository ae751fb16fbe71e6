//! Policies and bindings, and which of them a request concerns, with which parameters.

use std::sync::Arc;

use corten_meta::{Result, object};
use corten_registry::{Registry, WriteContext};
use serde_json::{Value, json};

use super::params::{ParamKind, ParamRef};
use crate::expressions::Sees;
use crate::matching::{Matcher, Shown, namespace_of};
use crate::request::Request;
use crate::webhooks::request_fields;

/// A policy with what its kind makes of it.
pub(crate) struct Policy<B> {
    pub name: String,
    matcher: Matcher,
    param_kind: Option<ParamKind>,
    /// `failurePolicy: Ignore`
    pub ignore_failures: bool,
    pub body: B,
}

/// A binding of either kind.
pub(crate) struct Binding {
    pub name: String,
    pub policy: String,
    matcher: Option<Matcher>,
    param_ref: Option<ParamRef>,
    /// `validationActions`
    pub actions: Vec<String>,
}

impl<B> Policy<B> {
    pub fn new(policy: &Value, body: impl Fn(&Value, Sees, bool) -> B) -> Self {
        let spec = &policy["spec"];
        let param_kind = ParamKind::new(&spec["paramKind"]);
        let ignore_failures = spec["failurePolicy"] == "Ignore";
        let sees = Sees {
            params: param_kind.is_some(),
            authorizer: true,
            patches: false,
        };
        Self {
            name: object::name(policy).to_owned(),
            matcher: Matcher::of_policy(&spec["matchConstraints"]),
            param_kind,
            ignore_failures,
            body: body(spec, sees, ignore_failures),
        }
    }
}

impl Binding {
    pub fn new(binding: &Value) -> Self {
        let spec = &binding["spec"];
        let actions = spec["validationActions"].as_array().map(Vec::as_slice);
        let matched = &spec["matchResources"];
        Self {
            name: object::name(binding).to_owned(),
            policy: spec["policyName"].as_str().unwrap_or_default().to_owned(),
            matcher: matched.is_object().then(|| Matcher::of_policy(matched)),
            param_ref: ParamRef::new(&spec["paramRef"]),
            actions: actions
                .unwrap_or_default()
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        }
    }
}

/// A policy that concerns a request through a binding, with its parameters: `Null` where there are none.
pub(crate) struct Selected<'a, B> {
    pub policy: &'a Policy<B>,
    pub binding: &'a Binding,
    pub shown: Shown,
    pub params: Vec<Value>,
}

/// A policy or binding that cannot be applied. Only those that fail closed are told.
pub(crate) struct Misconfigured<'a, B> {
    pub policy: &'a Policy<B>,
    pub binding: Option<&'a Binding>,
    pub message: String,
}

/// What concerns a request, in the order of policies and bindings.
pub(crate) enum Found<'a, B> {
    Selected(Selected<'a, B>),
    Misconfigured(Misconfigured<'a, B>),
}

/// Looks through all policies and their bindings.
pub(crate) async fn select<'a, B: 'a>(
    registry: &Registry,
    request: &Request<'_>,
    object: &Value,
    policies: &'a [Arc<Policy<B>>],
    bindings: &'a [Arc<Binding>],
) -> Vec<Found<'a, B>> {
    let mut found = Vec::new();
    for policy in policies {
        let policy: &'a Policy<B> = policy;
        let of_policy = |binding: &&'a Arc<Binding>| binding.policy == policy.name;
        let own: Vec<&'a Arc<Binding>> = bindings.iter().filter(of_policy).collect();
        // A policy without bindings is not in force.
        if own.is_empty() {
            continue;
        }
        let misconfigured = |binding: Option<&'a Binding>, message: String| {
            let what = if binding.is_none() { "policy" } else { "binding" };
            Found::Misconfigured(Misconfigured {
                policy,
                binding,
                message: format!("failed to configure {what}: {message}"),
            })
        };
        let shown = match policy.matcher.matches(registry, request, object).await {
            Ok(Some(shown)) => shown,
            Ok(None) => continue,
            Err(status) => {
                found.push(misconfigured(None, status.message));
                continue;
            }
        };
        if let Some(Err(message)) = policy.param_kind.as_ref().map(|kind| kind.resource(registry)) {
            found.push(misconfigured(None, message));
            continue;
        }
        for binding in own {
            match bound(registry, request, object, policy, binding).await {
                Ok(None) => {}
                Ok(Some(params)) => found.push(Found::Selected(Selected {
                    policy,
                    binding,
                    shown: shown.clone(),
                    params,
                })),
                Err(message) => found.push(misconfigured(Some(binding), message)),
            }
        }
    }
    // Those that fail open are as if they were not there.
    found.retain(|found| !matches!(found, Found::Misconfigured(m) if m.policy.ignore_failures));
    found
}

/// The parameters of a binding that concerns the request.
async fn bound<B>(
    registry: &Registry,
    request: &Request<'_>,
    object: &Value,
    policy: &Policy<B>,
    binding: &Binding,
) -> std::result::Result<Option<Vec<Value>>, String> {
    if let Some(matcher) = &binding.matcher {
        let matched = matcher.matches(registry, request, object).await;
        if matched.map_err(|status| status.message)?.is_none() {
            return Ok(None);
        }
    }
    let (Some(kind), Some(wanted)) = (&policy.param_kind, &binding.param_ref) else {
        return Ok(Some(vec![Value::Null]));
    };
    wanted.collect(registry, kind, &request.namespace).map(Some)
}

/// The AdmissionRequest as expressions see it: without its objects and its uid.
pub(crate) fn request_variable(request: &Request<'_>, shown: &Shown) -> Value {
    request_fields(request, shown)
}

/// `namespaceObject`: null for what is in no namespace, and for namespaces themselves.
///
/// # Errors
/// 404 for a namespace that is gone.
pub(crate) async fn namespace_variable(registry: &Registry, request: &Request<'_>) -> Result<Value> {
    let kind = &request.kind;
    let is_namespace = kind.group.is_empty() && kind.version == "v1" && kind.kind == "Namespace";
    if is_namespace || request.namespace.is_empty() {
        return Ok(Value::Null);
    }
    let mut namespace = namespace_of(registry, &request.namespace).await?;
    let mut metadata = namespace["metadata"].take();
    if let Some(members) = metadata.as_object_mut() {
        members.remove("managedFields");
        members.remove("ownerReferences");
        members.remove("selfLink");
    }
    Ok(json!({"metadata": metadata, "spec": namespace["spec"], "status": namespace["status"]}))
}

/// The user's side of a request, for expressions that ask the authorizer.
pub(crate) fn authority<'a>(
    authorizer: &'a dyn corten_auth::authz::Authorizer,
    ctx: &WriteContext,
) -> crate::expressions::Authority<'a> {
    crate::expressions::Authority::new(authorizer, ctx)
}
