//! The server side of Kubernetes' streaming protocols: exec and attach (remotecommand), and port-forward, each over
//! WebSocket and over SPDY/3.1.
//!
//! Owns: negotiation, framing, and the pipes a session reads and writes. Must never know: pods, containers, sockets,
//! TLS; an upgraded connection comes in, pipes come out.
//!
//! Read first: `remotecommand.rs` (what a caller sees) and `spdy/connection.rs` (how a connection becomes pipes).
//!
//! Everything between client and session is bounded: pipes hold 32 KiB, connections 32 frames; whoever writes more
//! waits.

pub mod portforward;
pub mod remotecommand;
mod reply;
mod spdy;
#[cfg(test)]
mod spoiled;
mod transport;
mod websocket;

use std::future::Future;
use std::io;
use std::pin::Pin;

use hyper_util::rt::TokioIo;

pub use reply::Reply;
pub use tokio::io::DuplexStream;

use transport::Transport;

/// A negotiated upgrade.
pub struct Accepted<T> {
    /// 101 Switching Protocols: send it, then await the session elsewhere.
    pub reply: Reply,
    /// Ends when the connection has been upgraded and the client has opened what it asked for.
    pub session: Pin<Box<dyn Future<Output = io::Result<T>> + Send>>,
}

/// Whether the request asks for one of the upgrades served here.
pub fn is_upgrade(headers: &http::HeaderMap) -> bool {
    websocket::is_websocket(headers) || reply::is_spdy(headers)
}

/// The connection, once it is upgraded.
async fn upgraded(upgrade: hyper::upgrade::OnUpgrade) -> io::Result<Box<dyn Transport>> {
    let upgraded = upgrade.await.map_err(io::Error::other)?;
    Ok(Box::new(TokioIo::new(upgraded)))
}
