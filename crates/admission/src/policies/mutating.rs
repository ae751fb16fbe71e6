//! MutatingAdmissionPolicy.

use std::sync::Arc;

use async_trait::async_trait;
use corten_auth::authz::Authorizer;
use corten_meta::status::Cause;
use corten_meta::{Result, Status, object};
use corten_registry::{Admission, Attributes, Operation, Registry, WriteContext};
use serde_json::Value;

use super::patch::Mutation;
use super::selection::{
    Binding, Found, Policy, Selected, authority, namespace_variable, request_variable, select,
};
use crate::Parts;
use crate::configured::Configured;
use crate::expressions::{Conditions, Input, Matched, Sees, Variables};
use crate::request::{Request, read};
use crate::rounds::Rounds;

const NAME: &str = "MutatingAdmissionPolicy";

/// See the module.
pub(crate) struct Mutating {
    policies: Configured<Policy<Changes>>,
    bindings: Configured<Binding>,
    authorizer: Arc<dyn Authorizer>,
}

/// A mutating policy's expressions.
struct Changes {
    variables: Variables,
    conditions: Conditions,
    mutations: Vec<Mutation>,
    /// `reinvocationPolicy: IfNeeded`
    reinvoke: bool,
}

impl Changes {
    fn new(spec: &Value, sees: Sees, ignore_failures: bool) -> Self {
        let variables = Variables::new(sees, &spec["variables"]);
        let mutations = spec["mutations"].as_array().into_iter().flatten();
        Self {
            conditions: Conditions::new(sees, Some(&variables), &spec["matchConditions"], ignore_failures),
            mutations: mutations
                .map(|mutation| Mutation::new(sees, &variables, mutation))
                .collect(),
            reinvoke: spec["reinvocationPolicy"] == "IfNeeded",
            variables,
        }
    }
}

/// A policy that failed, and why.
struct Failure {
    message: String,
    /// False for what is wrong with the configuration.
    invalid: bool,
}

impl Mutating {
    /// None where policies are not served.
    pub fn new(registry: &Registry, parts: &Parts) -> Option<Self> {
        let compile = |policy: &Value| Policy::new(policy, Changes::new);
        Some(Self {
            policies: Configured::new(registry, "mutatingadmissionpolicies", compile)?,
            bindings: Configured::new(registry, "mutatingadmissionpolicybindings", Binding::new)?,
            authorizer: Arc::clone(&parts.authorizer),
        })
    }

    /// One policy through one binding, for each of its parameters.
    async fn apply(
        &self,
        request: &Request<'_>,
        object: &mut Value,
        namespace: &Value,
        selected: &Selected<'_, Changes>,
        failures: &mut Vec<Failure>,
    ) -> Result<()> {
        if selected.params.is_empty() {
            return Ok(());
        }
        let kind = &selected.shown.kind;
        // The same for all, and a webhook may have to convert it.
        let old = request.old_as(kind).await?;
        for params in &selected.params {
            let seen = request.object_as(kind, object).await?;
            let changed = self.apply_one(request, [&seen, &old], namespace, selected, params, failures)?;
            if let Some(changed) = changed {
                request.take_back(kind, changed, object).await?;
            }
        }
        Ok(())
    }

    /// The object as the policy leaves it; None where it changes nothing.
    fn apply_one(
        &self,
        request: &Request<'_>,
        [before, old]: [&Value; 2],
        namespace: &Value,
        selected: &Selected<'_, Changes>,
        params: &Value,
        failures: &mut Vec<Failure>,
    ) -> Result<Option<Value>> {
        let (policy, kind) = (selected.policy, &selected.shown.kind);
        let authority = authority(&*self.authorizer, request.ctx);
        let about = request_variable(request, &selected.shown);
        let mut fail = |message: String| {
            if !policy.ignore_failures {
                failures.push(Failure {
                    message: denied(&policy.name, Some(&selected.binding.name), &message),
                    invalid: true,
                });
            }
        };
        let input = Input {
            object: before,
            old,
            params,
            request: &about,
            namespace,
            authority: &authority,
            about: request,
        };
        let variables = &policy.body.variables;
        match policy.body.conditions.matches(input, Some(variables)) {
            Matched::Yes => {}
            Matched::No => return Ok(None),
            Matched::Failed(error) => {
                fail(error);
                return Ok(None);
            }
        }
        let key = key_of(selected, params);
        let rounds = Rounds::new(NAME, request.attributes.reinvocation);
        if !rounds.may_call(&key) {
            return Ok(None);
        }
        let mut seen = before.clone();
        for mutation in policy.body.mutations.iter().filter(|_| !before.is_null()) {
            let changed = mutation.apply(
                request,
                kind,
                Input {
                    object: &seen,
                    ..input
                },
                variables,
            );
            match changed {
                Ok(changed) => seen = read(kind, changed)?,
                Err(error) => fail(error),
            }
        }
        if seen != *before {
            rounds.changed();
        }
        if policy.body.reinvoke {
            rounds.called(key);
        }
        Ok(Some(seen).filter(|seen| seen != before))
    }
}

/// Tells invocations apart.
fn key_of(selected: &Selected<'_, Changes>, params: &Value) -> String {
    let (policy, binding) = (&selected.policy.name, &selected.binding.name);
    format!(
        "{policy}/{binding}/{}/{}",
        object::namespace(params),
        object::name(params)
    )
}

fn denied(policy: &str, binding: Option<&str>, message: &str) -> String {
    match binding {
        Some(binding) => format!("policy '{policy}' with binding '{binding}' denied request: {message}"),
        None => format!("policy {policy:?} denied request: {message}"),
    }
}

/// The API's answer: the first failure's message, a cause for each.
fn refused(request: &Request<'_>, object: &Value, failures: Vec<Failure>) -> Option<Status> {
    let first = failures.first()?;
    let mut status = request.forbidden(object, "admission request denied by policy");
    status.message.clone_from(&first.message);
    if first.invalid {
        // Upstream leaves the code as it is.
        status.reason = "Invalid".into();
    }
    if let Some(details) = &mut status.details {
        details.causes.extend(failures.into_iter().map(|failure| Cause {
            message: failure.message,
            ..Cause::default()
        }));
    }
    Some(status)
}

#[async_trait]
impl Admission for Mutating {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, operation: Operation) -> bool {
        operation != Operation::Delete
    }

    async fn admit(
        &self,
        registry: &Registry,
        ctx: &WriteContext,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<()> {
        let policies = self.policies.load(registry);
        if policies.items.is_empty() || attributes.operation == Operation::Delete {
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
        let rounds = Rounds::new(NAME, attributes.reinvocation);
        rounds.begin(object);
        let namespace = namespace_variable(registry, &request).await?;
        let mut failures = Vec::new();
        for found in &found {
            match found {
                Found::Selected(selected) => {
                    self.apply(&request, object, &namespace, selected, &mut failures)
                        .await?;
                }
                Found::Misconfigured(wrong) => failures.push(Failure {
                    message: denied(
                        &wrong.policy.name,
                        wrong.binding.map(|binding| binding.name.as_str()),
                        &wrong.message,
                    ),
                    invalid: false,
                }),
            }
        }
        rounds.end(object);
        match refused(&request, object, failures) {
            Some(status) => Err(status),
            None => Ok(()),
        }
    }
}
