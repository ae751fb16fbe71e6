//! ValidatingAdmissionPolicy.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use corten_auth::authz::Authorizer;
use corten_meta::status::Cause;
use corten_meta::{Result, Status};
use corten_registry::{Admission, Attributes, Operation, Registry, WriteContext};
use serde_json::{Value, json};

use super::decisions::{Denial, Rules};
use super::selection::{
    Binding, Found, Policy, Selected, authority, namespace_variable, request_variable, select,
};
use crate::Parts;
use crate::configured::Configured;
use crate::expressions::Input;
use crate::request::Request;

/// Longer values of audit annotations are cut.
const ANNOTATION_MAX: usize = 10 * 1024;

/// See the module.
pub(crate) struct Validating {
    policies: Configured<Policy<Rules>>,
    bindings: Configured<Binding>,
    authorizer: Arc<dyn Authorizer>,
}

/// A refusal: the policy, its binding where one is to blame, and why.
struct Refusal<'a> {
    policy: &'a str,
    binding: Option<&'a str>,
    message: String,
    reason: String,
}

impl Validating {
    /// None where policies are not served.
    pub fn new(registry: &Registry, parts: &Parts) -> Option<Self> {
        let compile = |policy: &Value| Policy::new(policy, Rules::new);
        Some(Self {
            policies: Configured::new(registry, "validatingadmissionpolicies", compile)?,
            bindings: Configured::new(registry, "validatingadmissionpolicybindings", Binding::new)?,
            authorizer: Arc::clone(&parts.authorizer),
        })
    }

    /// Everything one binding has to say; annotations are gathered by policy.
    fn apply<'a>(
        &self,
        request: &Request<'_>,
        [object, old]: [&Value; 2],
        namespace: &Value,
        selected: &Selected<'a, Rules>,
        annotations: &mut Annotations<'a>,
    ) -> Vec<Refusal<'a>> {
        let (policy, binding) = (selected.policy, selected.binding);
        let about = request_variable(request, &selected.shown);
        let authority = authority(&*self.authorizer, request.ctx);
        let mut refusals = Vec::new();
        for params in &selected.params {
            let outcome = policy.body.decide(Input {
                object,
                old,
                params,
                request: &about,
                namespace,
                authority: &authority,
                about: request,
            });
            for denial in &outcome.denials {
                refusals.extend(act(request, policy, binding, denial));
            }
            for (key, value) in outcome.annotations {
                annotations.add(&policy.name, key, value);
            }
            refusals.extend(outcome.annotation_errors.into_iter().map(|message| Refusal {
                policy: &policy.name,
                binding: Some(&binding.name),
                message,
                reason: String::new(),
            }));
        }
        refusals
    }
}

/// Does what the binding wants done about a denial.
fn act<'a>(
    request: &Request<'_>,
    policy: &'a Policy<Rules>,
    binding: &'a Binding,
    denial: &Denial,
) -> Option<Refusal<'a>> {
    let mut refusal = None;
    for action in &binding.actions {
        match action.as_str() {
            "Deny" => {
                refusal = Some(Refusal {
                    policy: &policy.name,
                    binding: Some(&binding.name),
                    message: denial.message.clone(),
                    reason: denial.reason.clone(),
                });
            }
            "Warn" => request.ctx.warn(format!(
                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                policy.name, binding.name, denial.message
            )),
            _ => {
                let failure = json!([{
                    "message": denial.message, "policy": policy.name, "binding": binding.name,
                    "expressionIndex": denial.index, "validationActions": binding.actions,
                }]);
                let key = "validation.policy.admission.k8s.io/validation_failure";
                request.ctx.annotate(key, failure.to_string());
            }
        }
    }
    refusal
}

/// Audit annotations by policy and key; several values of one key are joined.
#[derive(Default)]
struct Annotations<'a>(BTreeMap<(&'a str, String), Vec<String>>);

impl<'a> Annotations<'a> {
    fn add(&mut self, policy: &'a str, key: String, mut value: String) {
        let mut end = value.len().min(ANNOTATION_MAX);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        value.truncate(end);
        let values = self.0.entry((policy, key)).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    }

    fn publish(self, ctx: &WriteContext) {
        for ((policy, key), values) in self.0 {
            ctx.annotate(format!("{policy}/{key}"), values.join(", "));
        }
    }
}

/// The API's answer to the first refusal.
fn refused(request: &Request<'_>, object: &Value, refusal: &Refusal<'_>) -> Status {
    let message = match refusal.binding {
        Some(binding) => format!(
            "ValidatingAdmissionPolicy '{}' with binding '{binding}' denied request: {}",
            refusal.policy, refusal.message
        ),
        None => format!(
            "ValidatingAdmissionPolicy '{}' denied request: {}",
            refusal.policy, refusal.message
        ),
    };
    let mut status = request.forbidden(object, &message);
    let reason = match refusal.reason.as_str() {
        "" => "Invalid",
        reason => reason,
    };
    status.code = match reason {
        "Forbidden" => 403,
        "Unauthorized" => 401,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    status.reason = reason.to_owned().into();
    if let Some(details) = &mut status.details {
        details.causes.push(Cause {
            message,
            ..Cause::default()
        });
    }
    status
}

#[async_trait]
impl Admission for Validating {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn handles(&self, _operation: Operation) -> bool {
        true
    }

    async fn validate(
        &self,
        registry: &Registry,
        ctx: &WriteContext,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<()> {
        let policies = self.policies.load(registry);
        if policies.items.is_empty() {
            return Ok(());
        }
        let request = Request::new(ctx, attributes, object);
        if request.is_exempt() {
            return Ok(());
        }
        let bindings = self.bindings.load(registry);
        let found = select(registry, &request, object, &policies.items, &bindings.items).await;
        if found.is_empty() {
            return Ok(());
        }
        let namespace = namespace_variable(registry, &request).await?;
        let mut annotations = Annotations::default();
        let mut refusals = Vec::new();
        for found in &found {
            match found {
                Found::Selected(selected) => {
                    let kind = &selected.shown.kind;
                    let (seen, old) = (
                        request.object_as(kind, object).await?,
                        request.old_as(kind).await?,
                    );
                    let said = self.apply(&request, [&seen, &old], &namespace, selected, &mut annotations);
                    refusals.extend(said);
                }
                Found::Misconfigured(wrong) => refusals.push(Refusal {
                    policy: &wrong.policy.name,
                    binding: wrong.binding.map(|binding| binding.name.as_str()),
                    message: wrong.message.clone(),
                    reason: String::new(),
                }),
            }
        }
        annotations.publish(ctx);
        match refusals.first() {
            Some(refusal) => Err(refused(&request, object, refusal)),
            None => Ok(()),
        }
    }
}
