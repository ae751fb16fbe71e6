//! Numbered channels in WebSocket messages: the first byte of each message is the channel.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Socket;
use crate::transport::{CLOSE_WAIT, PIPE_BYTES, Pipe};

/// Channel number of v5's signal that a channel is closed; the closed channel's number follows.
const CLOSE_SIGNAL: u8 = 255;
/// Messages waiting for the connection; beyond it whoever writes waits.
const OUTGOING_MESSAGES: usize = 32;

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Binary messages: channel byte, data.
    Raw,
    /// Text messages: channel digit, data in base64.
    Base64,
}

impl Codec {
    /// The codec of a `*.channel.k8s.io` protocol.
    pub(crate) fn of(protocol: &str) -> Self {
        if protocol.contains("base64.channel.k8s.io") {
            Self::Base64
        } else {
            Self::Raw
        }
    }
}

/// Who may send on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Ignored,
    FromClient,
    ToClient,
    Both,
}

enum Outgoing {
    /// Channel byte included.
    Message(Bytes),
    Close,
}

/// A running connection. Dropping it ends everything at once.
pub(crate) struct Channels {
    outgoing: mpsc::Sender<Outgoing>,
    closed: CancellationToken,
    pumps: TaskTracker,
    tasks: JoinSet<()>,
}

impl Channels {
    /// Serves `socket` with one channel per entry of `directions`; pipes come in the same order. `close_signals`: the
    /// client ends channels one by one (v5), else input ends with the connection.
    pub(crate) fn serve(
        socket: Socket,
        codec: Codec,
        directions: &[Direction],
        close_signals: bool,
    ) -> (Self, Vec<Option<Pipe>>) {
        let (sink, stream) = socket.split();
        let (outgoing, messages) = mpsc::channel(OUTGOING_MESSAGES);
        let closed = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(write_messages(sink, messages, codec));
        let mut channels = Self {
            outgoing: outgoing.clone(),
            closed: closed.clone(),
            pumps: TaskTracker::new(),
            tasks,
        };
        let mut inputs = Vec::new();
        let mut pipes = Vec::new();
        for (number, direction) in directions.iter().enumerate() {
            let (pipe, input) = channels.open(u8::try_from(number).unwrap_or(CLOSE_SIGNAL), *direction);
            inputs.push(input);
            pipes.push(pipe);
        }
        let ended = closed.drop_guard();
        channels.tasks.spawn(async move {
            let _ended = ended;
            let mut demux = Demux {
                inputs,
                codec,
                close_signals,
            };
            if let Err(error) = demux.run(stream).await {
                tracing::debug!(%error, "stream connection ended");
            }
        });
        (channels, pipes)
    }

    fn open(&mut self, number: u8, direction: Direction) -> (Option<Pipe>, Option<WriteHalf<DuplexStream>>) {
        if direction == Direction::Ignored {
            return (None, None);
        }
        let (session, ours) = tokio::io::duplex(PIPE_BYTES);
        let (from_session, to_session) = tokio::io::split(ours);
        let (sending, sent) = oneshot::channel();
        let outgoing = (direction != Direction::FromClient).then(|| self.outgoing.clone());
        self.pumps
            .spawn(pump(number, from_session, outgoing, self.closed.clone(), sending));
        let input = (direction != Direction::ToClient).then_some(to_session);
        (Some(Pipe { io: session, sent }), input)
    }

    /// Sends `data` on `channel` as a message of its own, before anything the session writes.
    pub(crate) async fn greet(&self, channel: u8, data: &[u8]) {
        let message = [&[channel], data].concat();
        // A client that has gone needs no greeting.
        let _ = self.outgoing.send(Outgoing::Message(message.into())).await;
    }

    /// Cancelled when the client is gone.
    pub(crate) fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Waits until the session has dropped its pipes and all that it wrote has been taken.
    pub(crate) async fn ended(&self) {
        self.pumps.close();
        self.pumps.wait().await;
    }

    /// Says goodbye after all that has been written and waits for the client to close. The session has dropped its
    /// pipes. A client that does not take part is cut off after [`CLOSE_WAIT`].
    pub(crate) async fn close(mut self) {
        let done = async {
            self.ended().await;
            if self.outgoing.send(Outgoing::Close).await.is_ok() {
                while self.tasks.join_next().await.is_some() {}
            }
        };
        let _ = tokio::time::timeout(CLOSE_WAIT, done).await;
    }
}

async fn write_messages(
    mut sink: SplitSink<Socket, Message>,
    mut messages: mpsc::Receiver<Outgoing>,
    codec: Codec,
) {
    while let Some(outgoing) = messages.recv().await {
        let sent = match outgoing {
            // Each by itself: clients that wait on the socket beneath TLS miss a message that shares a record.
            Outgoing::Message(message) => sink.send(encode(message, codec)).await,
            Outgoing::Close => {
                let goodbye = CloseFrame {
                    code: CloseCode::Normal,
                    reason: "".into(),
                };
                // Whether it arrives or not, this is the end.
                let _ = sink.send(Message::Close(Some(goodbye))).await;
                return;
            }
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "stream connection cannot be written");
            return;
        }
    }
}

fn encode(message: Bytes, codec: Codec) -> Message {
    match (codec, message.split_first()) {
        (Codec::Base64, Some((channel, data))) => {
            let mut text = String::with_capacity(1 + data.len() / 3 * 4 + 4);
            text.push(char::from(b'0' + channel));
            STANDARD.encode_string(data, &mut text);
            Message::text(text)
        }
        _ => Message::binary(message),
    }
}

/// Hands incoming messages to their channels.
struct Demux {
    inputs: Vec<Option<WriteHalf<DuplexStream>>>,
    codec: Codec,
    close_signals: bool,
}

impl Demux {
    async fn run(&mut self, mut stream: SplitStream<Socket>) -> io::Result<()> {
        while let Some(message) = stream.next().await {
            let message: Bytes = match message.map_err(io::Error::other)? {
                Message::Binary(data) => data,
                Message::Text(text) => text.into(),
                // Pongs are sent by the library.
                _ => continue,
            };
            self.message(&message).await?;
        }
        for number in 0..self.inputs.len() {
            self.end(number).await;
        }
        Ok(())
    }

    async fn message(&mut self, message: &[u8]) -> io::Result<()> {
        let Some((channel, data)) = message.split_first() else {
            return Ok(());
        };
        if self.close_signals && *channel == CLOSE_SIGNAL {
            let [closed] = data else {
                return Err(malformed("close signal without channel"));
            };
            self.end(usize::from(*closed)).await;
            return Ok(());
        }
        let decoded;
        let (channel, data) = match self.codec {
            Codec::Raw => (*channel, data),
            Codec::Base64 => {
                decoded = STANDARD
                    .decode(data)
                    .map_err(|_| malformed("message is not base64"))?;
                (channel.wrapping_sub(b'0'), decoded.as_slice())
            }
        };
        let Some(input) = self.inputs.get_mut(usize::from(channel)) else {
            return Ok(());
        };
        if let Some(to_session) = input {
            // Nobody reads it any more: as with a closed pipe, the rest is dropped.
            if to_session.write_all(data).await.is_err() {
                *input = None;
            }
        }
        Ok(())
    }

    async fn end(&mut self, number: usize) {
        if let Some(mut to_session) = self.inputs.get_mut(number).and_then(Option::take) {
            // The session may have dropped its end.
            let _ = to_session.shutdown().await;
        }
    }
}

fn malformed(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("WebSocket channel: {reason}"))
}

/// Sends what the session writes to a channel until it ends, or the connection does. Without `outgoing` the channel
/// is the client's alone.
async fn pump(
    number: u8,
    mut from_session: ReadHalf<DuplexStream>,
    outgoing: Option<mpsc::Sender<Outgoing>>,
    closed: CancellationToken,
    _sending: oneshot::Sender<()>,
) {
    let Some(outgoing) = outgoing else { return };
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIPE_BYTES + 1);
        buffer.put_u8(number);
        let read = tokio::select! {
            read = from_session.read_buf(&mut buffer) => read.unwrap_or_default(),
            () = closed.cancelled() => 0,
        };
        let message = Outgoing::Message(buffer.split().freeze());
        if read == 0 || outgoing.send(message).await.is_err() {
            return;
        }
    }
}
