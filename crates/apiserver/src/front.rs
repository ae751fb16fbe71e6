//! The filters every request passes, in order: request id, panic guard, request info, authentication, impersonation,
//! authorization, in-flight bounds, deadline; then routing.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use corten_auth::UserInfo;
use corten_auth::authn::Credentials;
use corten_auth::request_header;
use corten_meta::Status;
use futures::FutureExt;
use http::Method;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, HeaderName, HeaderValue, RETRY_AFTER, WARNING,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http_body::Body as _;

use crate::body::{Body, RequestBody};
use crate::call::{self, Call, SharedNotes};
use crate::limits;
use crate::peer::{Peer, Proof};
use crate::query::Query;
use crate::request_info::RequestInfo;
use crate::respond::{self, Answer};
use crate::server::Inner;

const FLOW_SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const PRIORITY_LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// Before authentication.
static NOBODY: LazyLock<Arc<UserInfo>> = LazyLock::new(Arc::default);

/// Serves one request from head to answer. Never fails: what goes wrong becomes a Status.
pub async fn serve(server: Arc<Inner>, mut parts: Parts, body: RequestBody, peer: Arc<Peer>) -> Answer {
    let started = Instant::now();
    let audit_id = audit_id(&parts);
    let accept = parts.headers.get(ACCEPT).cloned();
    let gzip = crate::gzip::accepted(&parts.headers);
    let query = Query::parse(parts.uri.query());
    let notes = SharedNotes::default();
    let is_head = parts.method == Method::HEAD;
    let mut answer = match RequestInfo::parse(&parts.method, parts.uri.path(), &query) {
        Err(error) => {
            let path = corten_meta::quote(parts.uri.path());
            let text = format!("Internal Server Error: {path}: failed to create RequestInfo: {error}\n");
            respond::text(http::StatusCode::INTERNAL_SERVER_ERROR, text)
        }
        Ok(info) => {
            let observed = crate::observe::Observed::new(&server, &info, &query);
            let call = Call::from(call::Parts {
                upgrade: parts.extensions.remove(),
                user: NOBODY.clone(),
                server,
                info,
                method: parts.method,
                uri: parts.uri,
                query,
                headers: parts.headers,
                peer,
                body: parking_lot::Mutex::new(Some(body)),
                notes: notes.clone(),
                audit_id: audit_id.clone(),
                started,
            });
            let pretty = call.pretty();
            let answer = guarded(call).await;
            let accept = accept.as_ref().and_then(|v| v.to_str().ok());
            let answer = answer.unwrap_or_else(|status| respond::failure(&status, accept, pretty));
            let audit = notes.lock().audit.take();
            let answer = match audit {
                Some(record) => record.answered(answer).await,
                None => answer,
            };
            let answer = if gzip && !answer.status().is_informational() {
                crate::gzip::compress(answer)
            } else {
                answer
            };
            let outside = notes.lock().outside;
            observed.answered(answer, started.elapsed(), outside)
        }
    };
    let headers = answer.headers_mut();
    headers.insert(AUDIT_ID, audit_id);
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-cache, private"));
    let mut notes = notes.lock();
    if let Some(classified) = notes.classified.take() {
        headers.insert(FLOW_SCHEMA_UID, classified.schema);
        headers.insert(PRIORITY_LEVEL_UID, classified.level);
    }
    if notes.refused {
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    for text in bounded(std::mem::take(&mut notes.warnings)) {
        if let Ok(v) = HeaderValue::from_str(&warning_header(&text)) {
            headers.append(WARNING, v);
        }
    }
    drop(notes);
    if is_head { without_body(answer) } else { answer }
}

/// What a HEAD is answered with: the length of what a GET would be given, and nothing of it. HTTP/1 has hyper see to that.
fn without_body(answer: Answer) -> Answer {
    let (mut head, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    Answer::from_parts(head, Body::Empty)
}

/// Characters of all warnings together; over it each is cut, and those after it are dropped (upstream's
/// `truncateAtTotalRunes`).
const WARNINGS_TOTAL_MAX: usize = 4 * 1024;
/// Characters of each warning once they are cut (upstream's `truncateItemRunes`).
const WARNING_CUT_MAX: usize = 256;

fn bounded(texts: Vec<String>) -> Vec<String> {
    let length = |text: &String| text.chars().count();
    if texts.iter().map(length).sum::<usize>() <= WARNINGS_TOTAL_MAX {
        return texts;
    }
    let mut written = 0;
    let mut out = Vec::new();
    for text in texts {
        if written >= WARNINGS_TOTAL_MAX {
            break;
        }
        let cut: String = text.chars().take(WARNING_CUT_MAX).collect();
        written += length(&cut);
        out.push(cut);
    }
    out
}

/// `299 - "text"` as in RFC 7234, quotes and backslashes escaped, control characters dropped.
fn warning_header(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 10);
    out.push_str("299 - \"");
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

fn audit_id(parts: &Parts) -> HeaderValue {
    match parts.headers.get(&AUDIT_ID) {
        Some(v) if !v.is_empty() => v.clone(),
        _ => {
            HeaderValue::from_str(&corten_meta::object::new_uid()).unwrap_or(HeaderValue::from_static("none"))
        }
    }
}

/// Runs the rest behind a panic guard. Writes run on a task of their own: a client that hangs up cannot leave one half
/// done.
async fn guarded(call: Call) -> Result<Answer, Status> {
    let (server, notes) = (call.server.clone(), call.notes.clone());
    let outcome = if call.info.read_only() || call.info.long_running() {
        AssertUnwindSafe(admitted(call))
            .catch_unwind()
            .await
            .map_err(drop)
    } else {
        tokio::spawn(admitted(call)).await.map_err(drop)
    };
    outcome.unwrap_or_else(|()| {
        server.metrics.terminations.inc();
        if let Some(audit) = notes.lock().audit.take() {
            audit.panicked();
        }
        let text = "This request caused apiserver to panic. Look in the logs for details.";
        Err(Status::new(500, "InternalError", text))
    })
}

async fn admitted(mut call: Call) -> Result<Answer, Status> {
    let authenticated = authenticate(&call).await;
    if let Some(auditor) = call.server.audit.clone() {
        if let Ok(user) = &authenticated {
            call.user = user.clone();
            call.notes.lock().audit = auditor.begin(&call);
        } else {
            auditor.refused(&call);
        }
    }
    call.user = authenticated?;
    let notes = call.notes.clone();
    let refused = |_: &Status| notes.lock().refused = true;
    crate::impersonate::apply(&mut call).inspect_err(refused)?;
    let watch = call.info.verb == "watch";
    if call.info.long_running() && !watch {
        crate::authz::authorize(&call).inspect_err(refused)?;
        let stop = call.server.stop.clone();
        return Ok(crate::routes::dispatch(call).await?.map(|body| body.until(stop)));
    }
    let limit = if watch {
        call.server.options.limits.request_timeout
    } else {
        deadline(&call)?
    };
    let (classified, turn) = call.server.flow_control.turn(&call, limit).await;
    call.notes.lock().classified = classified;
    let Ok(_turn) = turn else { return Ok(too_many()) };
    crate::authz::authorize(&call).inspect_err(refused)?;
    // A watch has its seats until it is open.
    if watch {
        return crate::routes::dispatch(call).await;
    }
    let server = call.server.clone();
    // Upstream's two timers word it differently: the one around writes, and the one around everything.
    let text = if call.info.read_only() {
        "request did not complete within the allotted timeout"
    } else {
        "request did not complete within requested timeout - context deadline exceeded"
    };
    let left = limit.saturating_sub(call.started.elapsed());
    match tokio::time::timeout(left, crate::routes::dispatch(call)).await {
        Ok(answer) => answer,
        Err(_) => {
            server.metrics.terminations.inc();
            Err(Status::timeout(text, 0))
        }
    }
}

/// As upstream's filter writes it, in plain text.
fn too_many() -> Answer {
    let text = "Too many requests, please try again later.\n";
    let mut answer = respond::text(http::StatusCode::TOO_MANY_REQUESTS, text);
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(limits::RETRY_AFTER_SECONDS));
    answer
}

/// What a trusted proxy says, then the certificate, then a bearer token; without either, anonymous. Wrong credentials are never taken for none.
async fn authenticate(call: &Call) -> Result<Arc<UserInfo>, Status> {
    if call.peer.front_proxy
        && let Some(user) = request_header::user(
            call.headers
                .iter()
                .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))),
        )
    {
        return Ok(Arc::new(user));
    }
    if let Proof::User(user) = &call.peer.proof {
        return Ok(user.clone());
    }
    let credentials = Credentials {
        certificates: &[],
        authorization: call.header(http::header::AUTHORIZATION),
        websocket_protocols: call.header(http::header::SEC_WEBSOCKET_PROTOCOL),
    };
    let outcome = match (
        call.server.authenticator.bearer(&credentials, &call.notes).await,
        &call.peer.proof,
    ) {
        (Ok(None), Proof::Refused(error)) => Err(error.clone()),
        (outcome, _) => outcome,
    };
    let result = if outcome.is_ok() { "success" } else { "failure" };
    call.server
        .metrics
        .authentications
        .get_or_create(&crate::metrics::ResultLabel { result })
        .inc();
    match outcome {
        Ok(Some(user)) => Ok(Arc::new(user)),
        Ok(None) => Ok(call.server.anonymous.clone()),
        Err(error) => {
            tracing::debug!(%error, path = call.info.path, "authentication failed");
            Err(Status::unauthorized("Unauthorized"))
        }
    }
}

/// The time a request has: `?timeout=` where given (never more than the server's own), else the server's own.
fn deadline(call: &Call) -> Result<Duration, Status> {
    let elsewhere = call.server.aggregator.route(&call.info.path).is_some();
    let most = call.server.options.limits.request_timeout;
    let most = if call.info.read_only() || elsewhere {
        most
    } else {
        most.min(limits::WRITE_TIMEOUT)
    };
    let Some(text) = call.query.get("timeout").filter(|t| !t.is_empty()) else {
        return Ok(most);
    };
    let asked = corten_schema::typed::duration_nanos(text).map_err(|why| {
        Status::bad_request(format!("invalid timeout specified in the request URL - {why}"))
    })?;
    // None, and less than none, leave it to the server.
    let asked = u64::try_from(asked).ok().filter(|nanos| *nanos > 0);
    Ok(asked.map_or(most, |nanos| Duration::from_nanos(nanos).min(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted() {
        assert_eq!(
            warning_header("unknown field \"spec\""),
            "299 - \"unknown field \\\"spec\\\"\""
        );
    }
}
