//! Exec and attach: standard streams, terminal size and exit status over one connection.

mod exit;
mod resize;

use std::io;
use std::time::Duration;

use http::{HeaderMap, Request, request};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use exit::{Exit, Outcome};
pub use resize::TerminalSize;

use crate::reply::accept_spdy;
use crate::spdy::Connection;
use crate::transport::{Pipe, Transport};
use crate::websocket::{self, Channels, Codec, Direction, is_websocket};
use crate::{Accepted, Reply, upgraded};
use exit::{End, Format};

/// How long the client has to open its streams after the upgrade.
const STREAM_CREATION: Duration = Duration::from_secs(30);

const WEBSOCKET_PROTOCOLS: &[&str] = &[
    "v5.channel.k8s.io",
    "v5.base64.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
];
const SPDY_PROTOCOLS: &[&str] = &[
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
];

/// Channel numbers of the WebSocket protocols.
mod channel {
    pub(super) const STDIN: usize = 0;
    pub(super) const STDOUT: usize = 1;
    pub(super) const STDERR: usize = 2;
    pub(super) const ERROR: usize = 3;
    pub(super) const RESIZE: usize = 4;
    pub(super) const COUNT: usize = 5;
}

/// Which streams the client has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub stdin: bool,
    pub stdout: bool,
    /// Nothing with `tty`: a terminal has one output.
    pub stderr: bool,
    pub tty: bool,
}

/// A running exec or attach.
pub struct Session {
    /// Reads what the client sends; end of file when it closes its side.
    pub stdin: Option<DuplexStream>,
    /// Shut down or drop before [`Exit::send`].
    pub stdout: Option<DuplexStream>,
    pub stderr: Option<DuplexStream>,
    /// The terminal's size as last announced; zero before the first announcement.
    pub resize: watch::Receiver<TerminalSize>,
    /// Tells the client how it ended. Dropping it cuts the connection.
    pub exit: Exit,
    /// Cancelled when the client has gone.
    pub closed: CancellationToken,
}

/// Negotiates a remotecommand session. The error is the answer to give.
pub fn accept<B>(request: &mut Request<B>, mut options: Options) -> Result<Accepted<Session>, Box<Reply>> {
    options.stderr &= !options.tty;
    if !(options.stdin || options.stdout || options.stderr) {
        let message = "you must specify at least 1 of stdin, stdout, stderr";
        return Err(crate::reply::refuse(http::StatusCode::BAD_REQUEST, message));
    }
    let (reply, protocol) = negotiate(request)?;
    let connection = upgraded(hyper::upgrade::on(request));
    let session = Box::pin(async move { protocol.serve(connection.await?, options).await });
    Ok(Accepted { reply, session })
}

/// What was negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    WebSocket(&'static str),
    Spdy(&'static str),
}

fn negotiate<B>(request: &Request<B>) -> Result<(Reply, Protocol), Box<Reply>> {
    if is_websocket(request.headers()) {
        let (reply, protocol) = websocket::accept(&head(request), WEBSOCKET_PROTOCOLS)?;
        return Ok((reply, Protocol::WebSocket(protocol)));
    }
    let (reply, protocol) = accept_spdy(request.headers(), SPDY_PROTOCOLS)?;
    Ok((reply, Protocol::Spdy(protocol)))
}

/// The headers alone, whatever the body is.
pub(crate) fn head<B>(request: &Request<B>) -> request::Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.headers = HeaderMap::clone(request.headers());
    parts
}

impl Protocol {
    pub(crate) async fn serve(self, transport: Box<dyn Transport>, options: Options) -> io::Result<Session> {
        match self {
            Self::WebSocket(protocol) => Ok(serve_websocket(transport, protocol, options).await),
            Self::Spdy(protocol) => {
                let connection = Connection::serve(transport)?;
                let opened = tokio::time::timeout(STREAM_CREATION, serve_spdy(connection, protocol, options));
                opened.await.map_err(|_| timed_out())?
            }
        }
    }
}

fn timed_out() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "timed out waiting for client to create streams",
    )
}

async fn serve_websocket(transport: Box<dyn Transport>, protocol: &str, options: Options) -> Session {
    let wanted = |wanted: bool, direction| if wanted { direction } else { Direction::Ignored };
    let mut directions = [Direction::Ignored; channel::COUNT];
    directions[channel::STDIN] = wanted(options.stdin, Direction::FromClient);
    directions[channel::STDOUT] = wanted(options.stdout, Direction::ToClient);
    directions[channel::STDERR] = wanted(options.stderr, Direction::ToClient);
    directions[channel::ERROR] = Direction::ToClient;
    directions[channel::RESIZE] = Direction::FromClient;
    let socket = websocket::socket(transport).await;
    let (channels, mut pipes) = Channels::serve(
        socket,
        Codec::of(protocol),
        &directions,
        protocol.starts_with("v5."),
    );
    let greeted = [channel::STDOUT, channel::STDERR, channel::ERROR];
    let greeted = greeted
        .into_iter()
        .find(|number| directions[*number] == Direction::ToClient);
    // An empty message is how clients learn that the connection stands.
    channels
        .greet(u8::try_from(greeted.unwrap_or_default()).unwrap_or_default(), &[])
        .await;
    let mut take = |number: usize| pipes.get_mut(number).and_then(Option::take);
    let streams = Streams {
        stdin: take(channel::STDIN),
        stdout: take(channel::STDOUT),
        stderr: take(channel::STDERR),
        error: take(channel::ERROR),
        resize: take(channel::RESIZE),
    };
    let closed = channels.closed();
    streams.into_session(End::WebSocket(channels), Format::of(protocol), closed)
}

async fn serve_spdy(mut connection: Connection, protocol: &str, options: Options) -> io::Result<Session> {
    let resizes = matches!(protocol, "v4.channel.k8s.io" | "v3.channel.k8s.io");
    let mut expected =
        1 + usize::from(options.stdin) + usize::from(options.stdout) + usize::from(options.stderr);
    expected += usize::from(options.tty && resizes);
    let mut streams = Streams::default();
    while expected > 0 {
        let stream = connection.accept().await.ok_or(io::ErrorKind::UnexpectedEof)?;
        let Some(slot) = streams.slot(stream.headers.get("streamtype").unwrap_or_default()) else {
            stream.reset.reset().await;
            continue;
        };
        *slot = Some(stream.pipe);
        expected -= 1;
    }
    let closed = connection.closed();
    Ok(streams.into_session(End::Spdy(connection), Format::of(protocol), closed))
}

#[derive(Default)]
struct Streams {
    stdin: Option<Pipe>,
    stdout: Option<Pipe>,
    stderr: Option<Pipe>,
    error: Option<Pipe>,
    resize: Option<Pipe>,
}

impl Streams {
    /// Where a SPDY stream of this type belongs, if it is the first of its type.
    fn slot(&mut self, stream_type: &str) -> Option<&mut Option<Pipe>> {
        let slot = match stream_type {
            "stdin" => &mut self.stdin,
            "stdout" => &mut self.stdout,
            "stderr" => &mut self.stderr,
            "error" => &mut self.error,
            "resize" => &mut self.resize,
            _ => return None,
        };
        slot.is_none().then_some(slot)
    }

    fn into_session(self, end: End, format: Format, closed: CancellationToken) -> Session {
        let mut sent = Vec::new();
        let mut output = |pipe: Option<Pipe>| {
            let pipe = pipe?;
            sent.push(pipe.sent);
            Some(pipe.io)
        };
        let (stdout, stderr) = (output(self.stdout), output(self.stderr));
        Session {
            stdin: self.stdin.map(|pipe| pipe.io),
            stdout,
            stderr,
            resize: resize::sizes(self.resize.map(|pipe| pipe.io)),
            exit: Exit::new(self.error, sent, end, format),
            closed,
        }
    }
}

#[cfg(test)]
mod tests;
