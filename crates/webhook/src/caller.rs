//! The caller: a client per webhook address, connections kept open between calls.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use serde_json::Value;

use crate::config::ClientConfig;
use crate::connect::{Connector, Dialer};
use crate::error::{CallError, innermost, refusal_text};
use crate::tls;

/// Clients kept, each with its connections; the one unused for longest goes first. Upstream keeps 200.
const CLIENTS_MAX: usize = 200;
/// Connections kept open to one webhook between calls; more are made and closed.
const IDLE_CONNECTIONS_MAX: usize = 8;
/// A connection nobody used for this long is closed.
const IDLE_CONNECTION_TIME: Duration = Duration::from_secs(30);
/// Bytes of an answer; a longer one is a failed call. A conversion answers with as many objects as it was asked about.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Characters of an answer's text that an error repeats (client-go's `maxUnstructuredResponseTextBytes`).
const REPEATED_TEXT_MAX: usize = 2048;

type HttpClient = Client<Connector, Full<Bytes>>;

/// Calls webhooks. Cheap to share; holds nothing until the first call.
pub struct Caller {
    dialer: Arc<dyn Dialer>,
    user_agent: &'static str,
    /// Most recently used at the back.
    clients: Mutex<VecDeque<(Arc<ClientConfig>, HttpClient)>>,
}

impl Caller {
    /// A caller that reaches services through `dialer`.
    pub fn new(dialer: Arc<dyn Dialer>) -> Self {
        Self {
            dialer,
            user_agent: "kube-apiserver-admission",
            clients: Mutex::default(),
        }
    }

    /// Names itself so to webhooks, instead of as admission.
    #[must_use]
    pub fn with_user_agent(mut self, user_agent: &'static str) -> Self {
        self.user_agent = user_agent;
        self
    }

    /// Posts a document and gives the one that comes back. `timeout` bounds the whole call and is told to the webhook as
    /// `?timeout=`, in whole seconds.
    ///
    /// # Errors
    /// See [`CallError`]; also where the answer is longer than 64 MiB.
    pub async fn post(
        &self,
        config: &Arc<ClientConfig>,
        timeout: Duration,
        document: Bytes,
    ) -> Result<Value, CallError> {
        let client = self.client(config)?;
        let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
        let url = format!(
            "https://{}{}?timeout={}",
            config.authority(),
            config.path,
            go_seconds(seconds)
        );
        let failed = |error: String| CallError::Transport {
            url: url.clone(),
            error,
        };
        let request = Request::post(&url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, */*")
            .header(USER_AGENT, self.user_agent)
            .body(Full::new(document))
            .map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            let (head, body) = client
                .request(request)
                .await
                .map_err(|error| failed(innermost(&error)))?
                .into_parts();
            let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let whole = whole.map_err(|error| unreadable(error.as_ref()))?.to_bytes();
            document_of(head.status.as_u16(), &head.headers, &whole)
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(failed("context deadline exceeded".to_owned())),
        }
    }

    fn client(&self, config: &Arc<ClientConfig>) -> Result<HttpClient, CallError> {
        let mut clients = self.clients.lock();
        if let Some(at) = clients.iter().rposition(|(known, _)| known == config)
            && let Some(found) = clients.remove(at)
        {
            let client = found.1.clone();
            clients.push_back(found);
            return Ok(client);
        }
        let connector = Connector {
            config: config.clone(),
            tls: tls::trusting(&config.ca_bundle)?,
            dialer: self.dialer.clone(),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_CONNECTION_TIME)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_timer(TokioTimer::new())
            .build(connector);
        if clients.len() == CLIENTS_MAX {
            clients.pop_front();
        }
        clients.push_back((config.clone(), client.clone()));
        Ok(client)
    }
}

fn unreadable(error: &(dyn std::error::Error + Send + Sync + 'static)) -> CallError {
    let text = if error.is::<LengthLimitError>() {
        format!("the answer is longer than {ANSWER_BYTES_MAX} bytes")
    } else {
        innermost(error)
    };
    CallError::Undecodable(format!(
        "unexpected error when reading response body. Please retry. Original error: {text}"
    ))
}

fn document_of(code: u16, headers: &HeaderMap, body: &[u8]) -> Result<Value, CallError> {
    let parsed = serde_json::from_slice::<Value>(body);
    if (200..=206).contains(&code) {
        return parsed.map_err(|error| {
            CallError::Undecodable(format!("couldn't get version/kind; json parse error: {error}"))
        });
    }
    let media = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    // A Status speaks for itself.
    if let Ok(status) = parsed
        && status["kind"] == "Status"
        && status["status"] == "Failure"
        && let Some(message) = status["message"].as_str()
    {
        return Err(CallError::Refused {
            code,
            message: message.to_owned(),
        });
    }
    let text = if media.is_empty() || media.starts_with("text/") {
        let end = body.len().min(REPEATED_TEXT_MAX);
        String::from_utf8_lossy(&body[..end]).trim().to_owned()
    } else {
        "unknown".to_owned()
    };
    Err(CallError::Refused {
        code,
        message: refusal_text(code, &text),
    })
}

/// Go's `Duration.String` for whole seconds.
fn go_seconds(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_upstreams_words() {
        let error = document_of(500, &HeaderMap::new(), b"boom\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to call webhook: an error on the server (\"boom\") has prevented the request from succeeding"
        );
        let error = document_of(404, &HeaderMap::new(), b"").unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to call webhook: the server could not find the requested resource"
        );
        assert!(document_of(200, &HeaderMap::new(), b"no").is_err());
    }

    #[test]
    fn durations_as_go_prints_them() {
        assert_eq!([1, 30, 90].map(go_seconds), ["1s", "30s", "1m30s"]);
    }
}
