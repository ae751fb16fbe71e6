//! Calling one webhook, and what a failure to do so means.

use bytes::Bytes;
use corten_auth::authz::Authorizer;
use corten_meta::{Result, Status, object};
use corten_registry::Registry;
use corten_webhook::Caller;
use serde_json::Value;

use super::hook::Hook;
use super::review::{self, Answer};
use crate::expressions::{Authority, Input, Matched};
use crate::matching::Shown;
use crate::request::Request;

/// Why a call gave no answer to act on.
pub(crate) enum Failure {
    /// The webhook could not be asked, or answered nonsense: `failurePolicy` decides.
    Calling(String),
    /// The request itself is refused.
    Refused(Status),
}

impl Failure {
    /// The request's end, or None where the webhook's failures are to be ignored.
    pub fn outcome(self, hook: &Hook) -> Option<Status> {
        match self {
            Self::Refused(status) => Some(status),
            Self::Calling(reason) => {
                let error = format!("failed calling webhook {:?}: {reason}", hook.name);
                if hook.ignore_failures {
                    tracing::warn!(webhook = hook.name, %error, "webhook failed, failing open");
                    return None;
                }
                Some(Status::internal(error))
            }
        }
    }
}

/// Asks one webhook. Its warnings go to the client whether it allows the request or not.
pub(crate) async fn ask(
    caller: &Caller,
    hook: &Hook,
    request: &Request<'_>,
    shown: &Shown,
    seen: &Value,
    mutating: bool,
) -> std::result::Result<Answer, Failure> {
    if request.ctx.dry_run && !hook.supports_dry_run() {
        if hook.side_effects.is_none() {
            return Err(Failure::Calling("Webhook SideEffects is nil".to_owned()));
        }
        let text = format!("admission webhook {:?} does not support dry run", hook.name);
        return Err(Failure::Refused(Status::bad_request(text)));
    }
    let version = hook.review_version.ok_or_else(|| {
        let text = "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
        Failure::Calling(text.to_owned())
    })?;
    let client = hook
        .client
        .as_ref()
        .map_err(|error| Failure::Calling(format!("could not get REST client: {error}")))?;
    let uid = object::new_uid();
    let old = request.old_as(&shown.kind).await.map_err(Failure::Refused)?;
    let question = review::question(version, &uid, request, shown, seen, old);
    let answered = caller
        .post(client, hook.timeout, Bytes::from(question.to_string()))
        .await
        .map_err(|error| Failure::Calling(error.to_string()))?;
    let answer = review::answer(version, &uid, mutating, &answered)
        .map_err(|error| Failure::Calling(format!("received invalid webhook response: {error}")))?;
    for (key, value) in &answer.audit_annotations {
        request
            .ctx
            .annotate(format!("{}/{key}", hook.name), value.clone());
    }
    for text in answer.warnings.iter().filter(|text| !text.is_empty()) {
        request.ctx.warn(text.clone());
    }
    if !answer.allowed {
        return Err(Failure::Refused(review::refusal(&hook.name, &answer.result)));
    }
    Ok(answer)
}

/// Whether a webhook is to be called, and as what it sees the request.
///
/// # Errors
/// What the selectors and conversions give, and 403 for conditions that fail where the webhook fails closed.
pub(crate) async fn concerns(
    registry: &Registry,
    authorizer: &dyn Authorizer,
    hook: &Hook,
    request: &Request<'_>,
    object: &Value,
) -> Result<Option<Shown>> {
    let Some(shown) = hook.matcher.matches(registry, request, object).await? else {
        return Ok(None);
    };
    if hook.conditions.is_empty() {
        return Ok(Some(shown));
    }
    let seen = request.object_as(&shown.kind, object).await?;
    let old = request.old_as(&shown.kind).await?;
    match conditions(authorizer, hook, request, &shown, [&seen, &old]) {
        Matched::Yes => Ok(Some(shown)),
        Matched::No => Ok(None),
        Matched::Failed(error) => {
            let resource = request.attributes.resource.group_resource();
            Err(Status::forbidden(&resource, &request.name, error))
        }
    }
}

fn conditions(
    authorizer: &dyn Authorizer,
    hook: &Hook,
    request: &Request<'_>,
    shown: &Shown,
    [object, old]: [&Value; 2],
) -> Matched {
    let authority = Authority::new(authorizer, request.ctx);
    let input = Input {
        object,
        old,
        params: &Value::Null,
        request: &review::request_fields(request, shown),
        namespace: &Value::Null,
        authority: &authority,
        about: request,
    };
    hook.conditions.matches(input, None)
}
