//! Passing a request on to the server that an APIService names, with the user in headers.
//! Rules and texts: upstream's `handler_proxy.go`.

use std::sync::Arc;

use corten_auth::UserInfo;
use corten_auth::request_header::{EXTRA_PREFIX, GROUP, UID, USER};
use corten_meta::Status;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode, Uri};

use super::service::ApiService;
use super::transport::{CHECK_TIMEOUT, Transport};
use crate::body::empty_body;
use crate::call::Call;
use crate::connect::{converse, forwarded_headers, passed_on, wants_upgrade};
use crate::respond::{self, Answer};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Passes the request on; what goes wrong is answered in plain text, as upstream does.
///
/// # Errors
/// None; a Result like every handler's.
pub async fn proxy(call: Call, to: Arc<ApiService>) -> Result<Answer, Status> {
    if !to.available() {
        return Ok(unavailable());
    }
    let transport = match &to.transport {
        Ok(transport) => transport,
        Err(text) => {
            return Ok(respond::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("{text}\n"),
            ));
        }
    };
    // Three segments are discovery, which nothing should wait for long.
    if call.info.is_resource || call.info.path.trim_matches('/').split('/').count() != 3 {
        return Ok(send(call, transport).await);
    }
    match tokio::time::timeout(CHECK_TIMEOUT, send(call, transport)).await {
        Ok(answer) => Ok(answer),
        Err(_) => Ok(unreachable("context deadline exceeded")),
    }
}

fn unavailable() -> Answer {
    respond::text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n")
}

fn unreachable(error: &str) -> Answer {
    let text = format!("error trying to reach service: {error}\n");
    respond::text(StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn send(mut call: Call, transport: &Transport) -> Answer {
    let upgrade = if wants_upgrade(&call.headers) {
        call.upgrade.take()
    } else {
        None
    };
    let mut request = Request::new(call.body.get_mut().take().unwrap_or_else(empty_body));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = path_of(&call.uri);
    let headers = forwarded_headers(call.headers.clone(), transport.authority(), upgrade.is_some());
    *request.headers_mut() = headers;
    identify(request.headers_mut(), &call);
    let Some(upgrade) = upgrade else {
        return match transport.send(request).await {
            Ok(answer) if call.info.long_running() => {
                let stop = call.server.stop.clone();
                passed_on(answer).map(|body| body.until(stop))
            }
            Ok(answer) => passed_on(answer),
            Err(error) => unreachable(&error),
        };
    };
    *request.body_mut() = empty_body();
    let io = match transport.connect().await {
        Ok(io) => io,
        Err(error) => return unreachable(&error.to_string()),
    };
    match converse(io, request, Some(upgrade), &call.server.stop).await {
        Ok(answer) => answer,
        Err(error) => unreachable(&error.to_string()),
    }
}

fn path_of(uri: &Uri) -> Uri {
    uri.path_and_query()
        .and_then(|p| p.as_str().parse().ok())
        .unwrap_or_default()
}

/// Says who asks, and from where.
fn identify(headers: &mut HeaderMap, call: &Call) {
    set_user(headers, &call.user);
    headers.insert("audit-id", call.audit_id.clone());
    if let Some(remote) = call.peer.remote {
        let before = call
            .header(FORWARDED_FOR)
            .map(|v| format!("{v}, "))
            .unwrap_or_default();
        if let Ok(v) = HeaderValue::from_str(&format!("{before}{}", remote.ip())) {
            headers.insert(FORWARDED_FOR, v);
        }
    }
}

fn set_user(headers: &mut HeaderMap, user: &UserInfo) {
    let mut add = |name: &str, value: &str| {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    };
    add(USER, &user.username);
    if !user.uid.is_empty() {
        add(UID, &user.uid);
    }
    for group in &user.groups {
        add(GROUP, group);
    }
    for (key, values) in &user.extra {
        let name = format!("{EXTRA_PREFIX}{}", escaped(key));
        for value in values {
            add(&name, value);
        }
    }
}

/// Percent-escapes what may not be in a header's name, and the percent sign (upstream's `headerKeyEscape`).
fn escaped(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for b in key.bytes() {
        if b.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn users_become_headers() {
        let mut user = UserInfo::new("ann", ["dev"]);
        user.extra
            .insert("example.com/scope".into(), vec!["a".into(), "b".into()]);
        let mut headers = HeaderMap::new();
        set_user(&mut headers, &user);
        assert_eq!(headers["x-remote-user"], "ann");
        let all = |name: &str| {
            headers
                .get_all(name)
                .iter()
                .map(|v| v.to_str().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(all("x-remote-group"), ["dev", "system:authenticated"]);
        assert_eq!(all("x-remote-extra-example.com%2fscope"), ["a", "b"]);
    }
}
