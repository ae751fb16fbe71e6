//! Answers to requests that ask for an upgrade.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

/// A response whose body is text: empty for an accepted upgrade, the reason for a refused one.
pub type Reply = Response<String>;

/// Header in which SPDY clients offer subprotocols, and the server names its choice.
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// Header in which the server lists what it would have taken.
const ACCEPTED_VERSIONS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

pub(crate) fn refuse(status: StatusCode, message: &str) -> Box<Reply> {
    let mut reply = Box::new(Response::new(format!("{message}\n")));
    *reply.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(header::CONTENT_TYPE, plain);
    reply.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    reply
}

/// Whether a comma-separated header contains `token`, whatever its case.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// Whether the request asks for SPDY/3.1.
pub(crate) fn is_spdy(headers: &HeaderMap) -> bool {
    has_token(headers, &header::UPGRADE, "SPDY/3.1") && has_token(headers, &header::CONNECTION, "upgrade")
}

/// Chooses the first subprotocol the client offers that is `supported`, and answers 101 (upstream's httpstream.Handshake).
pub(crate) fn accept_spdy<'a>(
    headers: &HeaderMap,
    supported: &[&'a str],
) -> Result<(Reply, &'a str), Box<Reply>> {
    if !is_spdy(headers) {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            "unable to upgrade: missing upgrade headers in request",
        ));
    }
    let values = headers
        .get_all(PROTOCOL_VERSION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let offered: Vec<&str> = values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|p| !p.is_empty())
        .collect();
    if offered.is_empty() {
        let message = "unable to upgrade: header X-Stream-Protocol-Version does not exist in request";
        return Err(refuse(StatusCode::BAD_REQUEST, message));
    }
    let chosen = offered
        .iter()
        .find_map(|name| supported.iter().find(|own| *own == name));
    let Some(chosen) = chosen else {
        return Err(refuse_protocols(&offered, supported));
    };
    let mut reply = Response::new(String::new());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    if let Ok(value) = HeaderValue::from_str(chosen) {
        headers.insert(PROTOCOL_VERSION, value);
    }
    Ok((reply, chosen))
}

fn refuse_protocols(offered: &[&str], supported: &[&str]) -> Box<Reply> {
    let message = format!(
        "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
        offered.join(" "),
        supported.join(" ")
    );
    let mut reply = refuse(StatusCode::FORBIDDEN, &message);
    for protocol in supported
        .iter()
        .filter_map(|protocol| HeaderValue::from_str(protocol).ok())
    {
        reply.headers_mut().append(ACCEPTED_VERSIONS, protocol);
    }
    reply
}
