//! `pods/log`: the kubelet's answer, streamed. Rules and texts: upstream's pkg/registry/core/pod/rest/log.go.

use std::future::ready;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::object::str_at;
use corten_meta::{GroupKind, Status};
use futures::{StreamExt, stream};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::Message;

use super::backend::{Outgoing, Security, authority};
use super::streaming::{container_of, kubelet_of, pod_of, push, uri};
use crate::body::{Body, empty_body, read_whole};
use crate::call::Call;
use crate::query::Query;
use crate::respond::Answer;
use crate::websocket;

/// `GET pods/NAME/log`.
///
/// # Errors
/// 400 and 422 for bad options, 404 without pod, 500 where the kubelet cannot be reached.
pub async fn log(mut call: Call) -> Result<Answer, Status> {
    call.answer_beside("text/plain")?;
    let query = LogQuery::read(&call.query)?;
    query.validate(&call.info.name)?;
    let pod = pod_of(&call).await?;
    let container = container_of(&pod, call.query.text("container"))?;
    if str_at(&pod, &["spec", "nodeName"]).is_empty() {
        let mut nothing = Answer::new(Body::Empty);
        *nothing.status_mut() = StatusCode::NO_CONTENT;
        return Ok(nothing);
    }
    let target = kubelet_of(&call, &pod).await?;
    let (ns, name) = (&call.info.namespace, &call.info.name);
    let path = format!("/containerLogs/{ns}/{name}/{container}{}", query.encode());
    let url = format!("https://{}{path}", authority(&target));
    let security = match call.query.flag("insecureSkipTLSVerifyBackend") {
        Some(true) => Security::Unchecked,
        _ => Security::Kubelet,
    };
    let outgoing = Outgoing {
        target,
        security,
        method: Method::GET,
        path: uri(&path)?,
        headers: http::HeaderMap::new(),
        body: empty_body(),
        upgrade: None,
    };
    let answer = call.server.backends()?.send(outgoing).await;
    let answer = answer.map_err(|why| why.getting(&url))?;
    let answer = log_answer(answer, name).await?;
    match call.upgrade.take().filter(|_| websocket::wanted(&call.headers)) {
        Some(upgrade) => over_websocket(&call, upgrade, answer.into_body()),
        None => Ok(answer),
    }
}

/// A client's protocol that wants text; others have binary messages.
const BASE64_PROTOCOL: &str = "base64.binary.k8s.io";

/// The log as messages, after an empty one, as upstream's `wsstream.Reader` has it.
fn over_websocket(call: &Call, upgrade: OnUpgrade, body: Body) -> Result<Answer, Status> {
    let answer = websocket::handshake(&call.headers, "text/plain")
        .ok_or_else(|| Status::bad_request("websocket key is missing"))?;
    let chosen = answer.headers().get(http::header::SEC_WEBSOCKET_PROTOCOL);
    let is_text = chosen.is_some_and(|protocol| protocol == BASE64_PROTOCOL);
    let encode = move |bytes: Bytes| match is_text {
        true => Message::text(BASE64_STANDARD.encode(bytes)),
        false => Message::Binary(bytes),
    };
    let parts = body.into_data_stream().take_while(|part| ready(part.is_ok()));
    let parts = parts.filter_map(|part| ready(part.ok()));
    let messages = stream::iter([Bytes::new()]).chain(parts).map(encode);
    tokio::spawn(websocket::send(upgrade, messages.boxed()));
    Ok(answer)
}

/// Bytes read of a kubelet's refusal.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// A kubelet's refusal becomes a Status, as upstream's `GenericHttpResponseChecker` does.
async fn log_answer(mut answer: Answer, name: &str) -> Result<Answer, Status> {
    let code = answer.status();
    if code.is_success() {
        answer.headers_mut().insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("text/plain"),
        );
        return Ok(answer);
    }
    let text = read_whole(answer.into_body(), MAX_ERROR_BYTES)
        .await
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    Err(match code {
        StatusCode::BAD_REQUEST => Status::bad_request(text.trim_end()),
        StatusCode::NOT_FOUND => {
            let message = "the server could not find the requested resource";
            Status::new(404, "NotFound", format!("{message} ( pods/log {name})"))
        }
        _ => Status::new(code.as_u16(), "InternalError", {
            format!(
                "an error on the server ({text:?}) has prevented the request from succeeding ( pods/log {name})"
            )
        }),
    })
}

/// `PodLogOptions` from the query.
struct LogQuery<'a> {
    query: &'a Query,
    since_seconds: Option<i64>,
    /// As the kubelet is told it.
    since_time: Option<String>,
    tail_lines: Option<i64>,
    limit_bytes: Option<i64>,
}

/// Upstream's `field.NewPath("")`.
fn nowhere() -> Path {
    Path::root().key("")
}

/// A time in RFC 3339; nothing and `null` are none.
fn since_time(text: Option<&str>) -> Result<Option<String>, String> {
    let Some(text) = text.filter(|text| !matches!(*text, "" | "null")) else {
        return Ok(None);
    };
    let time = corten_schema::typed::time(text)?;
    Ok(time.as_str().map(str::to_owned))
}

impl<'a> LogQuery<'a> {
    fn read(query: &'a Query) -> Result<Self, Status> {
        let int = |key| query.int(key).map_err(Status::bad_request);
        Ok(Self {
            query,
            since_seconds: int("sinceSeconds")?,
            since_time: since_time(query.get("sinceTime")).map_err(Status::bad_request)?,
            tail_lines: int("tailLines")?,
            limit_bytes: int("limitBytes")?,
        })
    }

    fn validate(&self, name: &str) -> Result<(), Status> {
        let mut errors = ErrorList::new();
        if self.tail_lines.is_some_and(|n| n < 0) {
            errors.push(Error::invalid(
                &Path::new("tailLines"),
                self.tail_lines,
                "must be greater than or equal to 0",
            ));
        }
        if self.limit_bytes.is_some_and(|n| n < 1) {
            errors.push(Error::invalid(
                &Path::new("limitBytes"),
                self.limit_bytes,
                "must be greater than 0",
            ));
        }
        if self.since_seconds.is_some() && self.query.get("sinceTime").is_some() {
            let text = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            errors.push(Error::forbidden(&nowhere(), text));
        } else if self.since_seconds.is_some_and(|n| n < 1) {
            errors.push(Error::invalid(
                &Path::new("sinceSeconds"),
                self.since_seconds,
                "must be greater than 0",
            ));
        }
        // Upstream's gate PodLogsQuerySplitStreams is alpha, and off.
        if self.query.get("stream").is_some() {
            errors.push(Error::forbidden(&Path::new("stream"), "may not be specified"));
        }
        if errors.is_empty() {
            return Ok(());
        }
        Err(Status::invalid(
            &GroupKind::new("", "PodLogOptions"),
            name,
            errors,
        ))
    }

    fn encode(&self) -> String {
        let mut out = String::new();
        for key in ["follow", "previous", "timestamps"] {
            if self.query.flag(key).unwrap_or(false) {
                push(&mut out, key, "true");
            }
        }
        for (key, n) in [
            ("sinceSeconds", self.since_seconds),
            ("tailLines", self.tail_lines),
            ("limitBytes", self.limit_bytes),
        ] {
            if let Some(n) = n {
                push(&mut out, key, &n.to_string());
            }
        }
        if let Some(time) = &self.since_time {
            push(&mut out, "sinceTime", time);
        }
        out
    }
}
