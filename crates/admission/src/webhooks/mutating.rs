//! MutatingAdmissionWebhook: one after the other, each seeing what the one before made of the object.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use corten_auth::authz::Authorizer;
use corten_meta::{Result, Status, json_patch};
use corten_registry::{Admission, Attributes, Operation, Registry, WriteContext};
use corten_webhook::Caller;
use serde_json::Value;

use super::call::{Failure, ask, concerns};
use super::hook::{Hook, hooks};
use super::review::Answer;
use crate::Parts;
use crate::configured::Configured;
use crate::matching::Shown;
use crate::request::Request;
use crate::rounds::Rounds;

const NAME: &str = "MutatingAdmissionWebhook";

/// See the module.
pub(crate) struct Mutating {
    configurations: Configured<Vec<Hook>>,
    caller: Arc<Caller>,
    authorizer: Arc<dyn Authorizer>,
}

impl Mutating {
    /// None where webhook configurations are not served.
    pub fn new(registry: &Registry, parts: &Parts) -> Option<Self> {
        let configurations = Configured::new(registry, "mutatingwebhookconfigurations", hooks)?;
        Some(Self {
            configurations,
            caller: Arc::clone(&parts.caller),
            authorizer: Arc::clone(&parts.authorizer),
        })
    }

    async fn round(
        &self,
        registry: &Registry,
        request: &Request<'_>,
        hooks: impl Iterator<Item = &Hook>,
        object: &mut Value,
    ) -> Result<()> {
        let rounds = Rounds::new(NAME, request.attributes.reinvocation);
        rounds.begin(object);
        for hook in hooks {
            let Some(shown) = concerns(registry, &*self.authorizer, hook, request, object).await? else {
                continue;
            };
            if !rounds.may_call(&hook.id) {
                continue;
            }
            let began = Instant::now();
            let outcome = self.call(hook, request, &shown, object).await;
            request.ctx.waited_outside(began.elapsed());
            if matches!(outcome, Ok(true)) {
                rounds.changed();
            }
            if hook.reinvoke {
                rounds.called(hook.id.clone());
            }
            if let Err(status) = outcome.map_err(|failure| failure.outcome(hook)) {
                status.map_or(Ok(()), Err)?;
            }
        }
        rounds.end(object);
        Ok(())
    }

    /// True where the object was changed.
    async fn call(
        &self,
        hook: &Hook,
        request: &Request<'_>,
        shown: &Shown,
        object: &mut Value,
    ) -> std::result::Result<bool, Failure> {
        let seen = request
            .object_as(&shown.kind, object)
            .await
            .map_err(Failure::Refused)?;
        let answer = ask(&self.caller, hook, request, shown, &seen, true).await?;
        let Some(patched) = patched(hook, &answer, &seen)? else {
            return Ok(false);
        };
        let before = object.clone();
        request
            .take_back(&shown.kind, patched, object)
            .await
            .map_err(Failure::Refused)?;
        Ok(before != *object)
    }
}

/// The object with the answer's patch applied; None without one.
fn patched(hook: &Hook, answer: &Answer, seen: &Value) -> std::result::Result<Option<Value>, Failure> {
    if answer.patch.is_empty() {
        return Ok(None);
    }
    let undecodable =
        |error: String| Failure::Calling(format!("received undecodable patch in webhook response: {error}"));
    let patch: Value =
        serde_json::from_slice(&answer.patch).map_err(|error| undecodable(error.to_string()))?;
    let operations = json_patch::operations(&patch).map_err(undecodable)?;
    if operations.is_empty() {
        return Ok(None);
    }
    if seen.is_null() {
        let text = format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            hook.name
        );
        return Err(Failure::Refused(Status::internal(text)));
    }
    if answer.patch_type != "JSONPatch" {
        let text = format!("unsupported patch type {:?}", answer.patch_type);
        return Err(Failure::Calling(text));
    }
    let mut changed = seen.clone();
    json_patch::apply(&mut changed, operations)
        .map_err(|failure| Failure::Refused(Status::internal(failure.to_string())))?;
    Ok(Some(changed))
}

#[async_trait]
impl Admission for Mutating {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, _operation: Operation) -> bool {
        true
    }

    async fn admit(
        &self,
        registry: &Registry,
        ctx: &WriteContext,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<()> {
        let built = self.configurations.load(registry);
        if built.items.is_empty() {
            return Ok(());
        }
        let request = Request::new(ctx, attributes, object);
        if request.is_exempt() {
            return Ok(());
        }
        let hooks = built.items.iter().flat_map(|hooks| hooks.iter());
        self.round(registry, &request, hooks, object).await
    }
}
