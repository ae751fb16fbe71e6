//! Port-forward: pairs of a data stream and an error stream per forwarded connection.

mod pairs;

use std::io;

use http::{HeaderMap, Request, StatusCode};
use tokio::io::{AsyncWriteExt as _, DuplexStream};

use crate::reply::{accept_spdy, refuse};
use crate::spdy::Connection;
use crate::transport::{Pipe, Transport};
use crate::websocket::{self, Channels, Codec, Direction, Tunnel, is_websocket, protocols};
use crate::{Accepted, Reply, upgraded};
use pairs::Pairs;

/// SPDY inside WebSocket messages: kubectl 1.31 and later.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const WEBSOCKET_PROTOCOLS: &[&str] = &["v4.channel.k8s.io", "v4.base64.channel.k8s.io", ""];
const SPDY_PROTOCOLS: &[&str] = &["portforward.k8s.io"];
/// Ports one WebSocket connection can ask for: two channels each, below the reserved number.
const PORTS: usize = 64;

/// A running port-forward. Dropping it cuts the connection and with it every [`Forward`].
pub struct Session {
    source: Source,
}

enum Source {
    Spdy(Pairs),
    /// All there will be, then the connection.
    WebSocket(std::vec::IntoIter<Forward>, Channels),
}

/// One connection to forward.
pub struct Forward {
    pub port: u16,
    /// Reads what the client sends; writing sends; ends of file pass in both directions.
    pub stream: DuplexStream,
    /// Where a failure is reported. Drop it when the forwarding has ended well.
    pub failure: Failure,
}

/// Reports why a connection could not be forwarded.
pub struct Failure {
    error: Pipe,
    resets: Vec<crate::spdy::Resetter>,
}

impl Failure {
    /// Upstream's text: `error forwarding port 80 to pod NAME, uid UID: REASON`.
    pub async fn report(mut self, message: &str) {
        // A client that has gone does not want to know.
        let _ = self.error.io.write_all(message.as_bytes()).await;
        drop(self.error.io);
        let _ = self.error.sent.await;
        for reset in self.resets {
            reset.reset().await;
        }
    }
}

impl Session {
    /// The next connection; `None` when the client has gone, or when a WebSocket's connections have all ended: its channels
    /// cannot be opened again.
    pub async fn next(&mut self) -> Option<Forward> {
        match &mut self.source {
            Source::Spdy(pairs) => pairs.next().await,
            Source::WebSocket(forwards, channels) => match forwards.next() {
                Some(forward) => Some(forward),
                None => {
                    let closed = channels.closed();
                    tokio::select! {
                        () = closed.cancelled() => {}
                        () = channels.ended() => {}
                    }
                    None
                }
            },
        }
    }

    /// Closes the connection after all that was written. Every [`Forward`] must have been dropped.
    pub async fn close(self) {
        match self.source {
            Source::Spdy(pairs) => pairs.close().await,
            Source::WebSocket(forwards, channels) => {
                drop(forwards);
                channels.close().await;
            }
        }
    }
}

pub(crate) enum Protocol {
    Tunnel,
    WebSocket(&'static str, Vec<u16>),
    Spdy,
}

/// Negotiates a port-forward. `ports` are the query's `port` (or `ports`) parameters; only WebSocket clients without
/// the SPDY tunnel need them. The error is the answer to give.
pub fn accept<B>(request: &mut Request<B>, ports: &[u16]) -> Result<Accepted<Session>, Box<Reply>> {
    let (reply, protocol) = negotiate(request, ports)?;
    let connection = upgraded(hyper::upgrade::on(request));
    let session = Box::pin(async move { serve(connection.await?, protocol).await });
    Ok(Accepted { reply, session })
}

fn negotiate<B>(request: &Request<B>, ports: &[u16]) -> Result<(Reply, Protocol), Box<Reply>> {
    let headers: &HeaderMap = request.headers();
    if !is_websocket(headers) {
        let (reply, _) = accept_spdy(headers, SPDY_PROTOCOLS)?;
        return Ok((reply, Protocol::Spdy));
    }
    let parts = crate::remotecommand::head(request);
    if protocols(headers).iter().any(|protocol| protocol == TUNNEL) {
        let (reply, _) = websocket::accept(&parts, &[TUNNEL])?;
        return Ok((reply, Protocol::Tunnel));
    }
    if ports.is_empty() {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            "query parameter \"port\" is required",
        ));
    }
    if ports.len() > PORTS {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            &format!("at most {PORTS} ports can be forwarded at once"),
        ));
    }
    let (reply, protocol) = websocket::accept(&parts, WEBSOCKET_PROTOCOLS)?;
    Ok((reply, Protocol::WebSocket(protocol, ports.to_vec())))
}

pub(crate) async fn serve(transport: Box<dyn Transport>, protocol: Protocol) -> io::Result<Session> {
    let source = match protocol {
        Protocol::Spdy => Source::Spdy(Pairs::new(Connection::serve(transport)?)),
        Protocol::Tunnel => {
            let tunnel = Tunnel::new(websocket::socket(transport).await);
            Source::Spdy(Pairs::new(Connection::serve(Box::new(tunnel))?))
        }
        Protocol::WebSocket(protocol, ports) => serve_channels(transport, protocol, &ports).await,
    };
    Ok(Session { source })
}

/// Two channels per port, data and error; each begins with the port as two bytes, little end first.
async fn serve_channels(transport: Box<dyn Transport>, protocol: &str, ports: &[u16]) -> Source {
    let directions: Vec<Direction> = ports
        .iter()
        .flat_map(|_| [Direction::Both, Direction::ToClient])
        .collect();
    let socket = websocket::socket(transport).await;
    let (channels, pipes) = Channels::serve(socket, Codec::of(protocol), &directions, false);
    let mut pipes = pipes.into_iter().flatten();
    let mut forwards = Vec::new();
    for (channel, port) in (0..).step_by(2).zip(ports) {
        let (Some(data), Some(error)) = (pipes.next(), pipes.next()) else {
            break;
        };
        channels.greet(channel, &port.to_le_bytes()).await;
        channels.greet(channel + 1, &port.to_le_bytes()).await;
        let failure = Failure {
            error,
            resets: Vec::new(),
        };
        forwards.push(Forward {
            port: *port,
            stream: data.io,
            failure,
        });
    }
    Source::WebSocket(forwards.into_iter(), channels)
}

#[cfg(test)]
mod tests;
