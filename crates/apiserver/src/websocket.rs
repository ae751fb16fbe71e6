//! What is streamed to a client over WebSocket (RFC 6455), where it asks for one: watches and logs.

use futures::{SinkExt, Stream, StreamExt};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::body::Body;
use crate::connect::wants_upgrade;
use crate::respond::Answer;

/// What a client may say; nothing is expected of it.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;
/// Holds a bearer token, which is no protocol to agree on.
const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// True where the client asks for a WebSocket.
pub fn wanted(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|v| v.to_str().ok());
    wants_upgrade(headers) && upgrade.is_some_and(|v| v.eq_ignore_ascii_case("websocket"))
}

/// Agrees to the handshake; `None` where it is none.
pub fn handshake(headers: &HeaderMap, content_type: &'static str) -> Option<Answer> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let mut answer = Response::new(Body::Empty);
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let own = answer.headers_mut();
    own.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    own.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    own.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let accept = derive_accept_key(key.as_bytes());
    own.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accept).ok()?);
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let protocol = offered
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .find(|p| !p.is_empty() && !p.starts_with(TOKEN_PROTOCOL));
    if let Some(protocol) = protocol.and_then(|p| HeaderValue::from_str(p).ok()) {
        own.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Some(answer)
}

/// Sends messages until they end or the client goes away.
pub async fn send(upgrade: OnUpgrade, mut messages: impl Stream<Item = Message> + Send + Unpin) {
    let io = match upgrade.await {
        Ok(io) => TokioIo::new(io),
        Err(error) => return tracing::debug!(%error, "protocol switch failed"),
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let (mut sink, mut stream) = socket.split();
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            said = stream.next() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => continue,
            },
        };
        let Some(message) = message else { break };
        if sink.send(message).await.is_err() {
            break;
        }
    }
    let _ = sink.send(Message::Close(None)).await;
    let _ = sink.close().await;
}
