//! The opening handshake (RFC 6455, section 4.2).

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode, request};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::Reply;
use crate::reply::{has_token, refuse};

/// Whether the request asks for a WebSocket.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    has_token(headers, &header::UPGRADE, "websocket") && has_token(headers, &header::CONNECTION, "upgrade")
}

/// The subprotocols the client offers, in its order.
pub(crate) fn protocols(headers: &HeaderMap) -> Vec<String> {
    let values = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_owned())
        .filter(|p| !p.is_empty())
        .collect()
}

/// Chooses the first offered protocol that is `supported` (the empty one stands for none offered) and answers 101.
pub(crate) fn accept<'a>(
    parts: &request::Parts,
    supported: &[&'a str],
) -> Result<(Reply, &'a str), Box<Reply>> {
    let key = parts.headers.get(header::SEC_WEBSOCKET_KEY);
    let version = parts.headers.get(header::SEC_WEBSOCKET_VERSION);
    let (Some(key), true) = (key, version.is_some_and(|version| version == "13")) else {
        let mut reply = refuse(
            StatusCode::BAD_REQUEST,
            "unable to upgrade: not a WebSocket handshake of version 13",
        );
        reply
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(reply);
    };
    let mut offered = protocols(&parts.headers);
    if offered.is_empty() {
        offered.push(String::new());
    }
    let chosen = offered
        .iter()
        .find_map(|name| supported.iter().find(|own| *own == name));
    let Some(chosen) = chosen else {
        let message = format!("requested protocol(s) are not supported: {offered:?}; supports {supported:?}");
        return Err(refuse(StatusCode::FORBIDDEN, &message));
    };
    let mut reply = Response::new(String::new());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let (false, Ok(value)) = (chosen.is_empty(), HeaderValue::from_str(chosen)) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    Ok((reply, chosen))
}
