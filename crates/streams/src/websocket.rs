//! WebSocket: the handshake, Kubernetes' channels in messages, and messages as a plain byte stream.

mod channels;
mod handshake;
mod tunnel;

pub(crate) use channels::{Channels, Codec, Direction};
pub(crate) use handshake::{accept, is_websocket, protocols};
pub(crate) use tunnel::Tunnel;

use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::transport::Transport;

/// Largest message taken.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
const BUFFER_BYTES: usize = 16 * 1024;

pub(crate) type Socket = WebSocketStream<Box<dyn Transport>>;

/// The server's end of a WebSocket, after the handshake.
pub(crate) async fn socket(transport: Box<dyn Transport>) -> Socket {
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(4 * MESSAGE_BYTES)
        .max_message_size(Some(MESSAGE_BYTES))
        .max_frame_size(Some(MESSAGE_BYTES));
    WebSocketStream::from_raw_socket(transport, Role::Server, Some(config)).await
}
