//! ValidatingAdmissionWebhook: all that are concerned at once; one refusal is enough.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use corten_auth::authz::Authorizer;
use corten_meta::Result;
use corten_registry::{Admission, Attributes, Operation, Registry, WriteContext};
use corten_webhook::Caller;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use serde_json::Value;

use super::call::{ask, concerns};
use super::hook::{Hook, hooks};
use crate::Parts;
use crate::configured::Configured;
use crate::request::Request;

/// See the module.
pub(crate) struct Validating {
    configurations: Configured<Vec<Hook>>,
    caller: Arc<Caller>,
    authorizer: Arc<dyn Authorizer>,
}

impl Validating {
    /// None where webhook configurations are not served.
    pub fn new(registry: &Registry, parts: &Parts) -> Option<Self> {
        let configurations = Configured::new(registry, "validatingwebhookconfigurations", hooks)?;
        Some(Self {
            configurations,
            caller: Arc::clone(&parts.caller),
            authorizer: Arc::clone(&parts.authorizer),
        })
    }
}

#[async_trait]
impl Admission for Validating {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
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
        let built = self.configurations.load(registry);
        if built.items.is_empty() {
            return Ok(());
        }
        let request = Request::new(ctx, attributes, object);
        if request.is_exempt() {
            return Ok(());
        }
        let mut concerned = Vec::new();
        for hook in built.items.iter().flat_map(|hooks| hooks.iter()) {
            if let Some(shown) = concerns(registry, &*self.authorizer, hook, &request, object).await? {
                concerned.push((hook, shown));
            }
        }
        let request = &request;
        let calls = concerned.iter().map(|(hook, shown)| async move {
            let seen = match request.object_as(&shown.kind, object).await {
                Ok(seen) => seen,
                Err(status) => return Some(status),
            };
            match ask(&self.caller, hook, request, shown, &seen, false).await {
                Ok(_) => None,
                Err(failure) => failure.outcome(hook),
            }
        });
        // As upstream every call is waited for: each may have warnings. The first refusal in their order is the answer.
        let began = Instant::now();
        let refusals: Vec<_> = calls.collect::<FuturesOrdered<_>>().collect().await;
        ctx.waited_outside(began.elapsed());
        refusals.into_iter().flatten().next().map_or(Ok(()), Err)
    }
}
