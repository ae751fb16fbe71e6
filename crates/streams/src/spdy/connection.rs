//! The server's end of a SPDY connection: the streams a client opens become byte pipes.

use std::collections::HashMap;
use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::frame::{Frame, Reader, Writer, reset};
use super::headers::HeaderBlock;
use crate::transport::{CLOSE_WAIT, PIPE_BYTES, Pipe, Transport};

/// Streams open at once; further ones are refused.
const STREAMS: usize = 1024;
/// Opened streams not yet taken by the session.
const NEW_STREAMS: usize = 32;
/// Frames waiting for the connection. Beyond it whoever writes waits: that is the flow control known clients
/// practise (they neither keep nor announce windows), together with the pipes' bounds.
const OUTGOING_FRAMES: usize = 32;
/// Bytes taken before a client that keeps windows is told so; half of the initial window.
const WINDOW_STEP: u32 = 32 * 1024;

/// A stream the client opened.
pub(crate) struct Stream {
    pub(crate) id: u32,
    pub(crate) headers: HeaderBlock,
    pub(crate) pipe: Pipe,
    pub(crate) reset: Resetter,
}

/// Fails a stream.
pub(crate) struct Resetter {
    id: u32,
    outgoing: mpsc::Sender<Outgoing>,
}

impl Resetter {
    /// Tells the client that the stream has failed.
    pub(crate) async fn reset(self) {
        let frame = Frame::Reset {
            stream: self.id,
            status: reset::CANCEL,
        };
        // A closed connection has no stream left to reset.
        let _ = self.outgoing.send(Outgoing::Frame(frame)).await;
    }
}

enum Outgoing {
    Frame(Frame),
    Close { last: u32 },
}

/// A running connection. Dropping it ends everything at once.
pub(crate) struct Connection {
    incoming: mpsc::Receiver<Stream>,
    outgoing: mpsc::Sender<Outgoing>,
    closed: CancellationToken,
    pumps: TaskTracker,
    tasks: JoinSet<()>,
    last: u32,
}

impl Connection {
    /// Serves `transport`, on which the client speaks first.
    pub(crate) fn serve(transport: Box<dyn Transport>) -> io::Result<Self> {
        let (input, output) = tokio::io::split(transport);
        let writer = Writer::new(output)?;
        let (outgoing, frames) = mpsc::channel(OUTGOING_FRAMES);
        let (opened, incoming) = mpsc::channel(NEW_STREAMS);
        let closed = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(write_frames(writer, frames));
        let pumps = TaskTracker::new();
        let demux = Demux {
            opened,
            outgoing: outgoing.clone(),
            streams: HashMap::new(),
            pumps: pumps.clone(),
            window: 0,
        };
        let ended = closed.clone().drop_guard();
        tasks.spawn(async move {
            let _ended = ended;
            if let Err(error) = demux.run(Reader::new(input)).await {
                tracing::debug!(%error, "stream connection ended");
            }
        });
        Ok(Self {
            incoming,
            outgoing,
            closed,
            pumps,
            tasks,
            last: 0,
        })
    }

    /// The next stream the client opens, already accepted; `None` when the connection has ended.
    pub(crate) async fn accept(&mut self) -> Option<Stream> {
        let stream = self.incoming.recv().await?;
        self.last = self.last.max(stream.id);
        Some(stream)
    }

    /// Cancelled when the client is gone.
    pub(crate) fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Says goodbye after all that has been written, and lets the client close first, so that nothing is cut off.
    /// The session has dropped its streams. A client that does not take part is cut off after [`CLOSE_WAIT`].
    pub(crate) async fn close(mut self) {
        let done = async {
            self.incoming.close();
            self.pumps.close();
            self.pumps.wait().await;
            if self
                .outgoing
                .send(Outgoing::Close { last: self.last })
                .await
                .is_ok()
            {
                while self.tasks.join_next().await.is_some() {}
            }
        };
        let _ = tokio::time::timeout(CLOSE_WAIT, done).await;
    }
}

async fn write_frames(
    mut writer: Writer<WriteHalf<Box<dyn Transport>>>,
    mut frames: mpsc::Receiver<Outgoing>,
) {
    while let Some(outgoing) = frames.recv().await {
        let written = match outgoing {
            Outgoing::Frame(frame) => writer.write(&frame).await,
            Outgoing::Close { last } => {
                let goodbye = writer.write(&Frame::GoAway { last }).await;
                // Whether it arrived or not, this is the end.
                let _ = (goodbye, writer.flush().await, writer.shutdown().await);
                return;
            }
        };
        let flushed = match written {
            Ok(()) if frames.is_empty() => writer.flush().await,
            other => other,
        };
        if let Err(error) = flushed {
            tracing::debug!(%error, "stream connection cannot be written");
            return;
        }
    }
}

/// Hands incoming frames to their streams.
struct Demux {
    opened: mpsc::Sender<Stream>,
    outgoing: mpsc::Sender<Outgoing>,
    streams: HashMap<u32, Open>,
    pumps: TaskTracker,
    /// Bytes taken since the last window update of the connection.
    window: u32,
}

/// Our side of an open stream. Dropping it ends both directions.
struct Open {
    /// `None` after the client has ended its direction, or nobody reads any more.
    to_session: Option<WriteHalf<DuplexStream>>,
    pump: AbortOnDrop,
    window: u32,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Demux {
    async fn run(mut self, mut reader: Reader<ReadHalf<Box<dyn Transport>>>) -> io::Result<()> {
        while let Some(frame) = reader.next().await? {
            match frame {
                Frame::SynStream { stream, fin, headers } => self.open(stream, fin, headers).await,
                Frame::Data { stream, fin, data } => self.data(stream, fin, &data).await,
                Frame::Reset { stream, .. } => drop(self.streams.remove(&stream)),
                Frame::Ping { id } if !id.is_multiple_of(2) => self.send(Frame::Ping { id }).await,
                Frame::GoAway { .. } => break,
                Frame::Ping { .. } | Frame::SynReply { .. } | Frame::WindowUpdate { .. } | Frame::Ignored => {
                }
            }
        }
        Ok(())
    }

    async fn send(&self, frame: Frame) {
        // Without a writer the reader ends too.
        let _ = self.outgoing.send(Outgoing::Frame(frame)).await;
    }

    async fn open(&mut self, id: u32, fin: bool, headers: HeaderBlock) {
        self.streams
            .retain(|_, open| open.to_session.is_some() || !open.pump.0.is_finished());
        let status = match id {
            _ if id.is_multiple_of(2) || self.streams.contains_key(&id) => Some(reset::PROTOCOL_ERROR),
            _ if self.streams.len() >= STREAMS => Some(reset::REFUSED_STREAM),
            _ => None,
        };
        if let Some(status) = status {
            return self.send(Frame::Reset { stream: id, status }).await;
        }
        let (session, ours) = tokio::io::duplex(PIPE_BYTES);
        let (from_session, to_session) = tokio::io::split(ours);
        self.send(Frame::SynReply {
            stream: id,
            fin: false,
            headers: HeaderBlock::default(),
        })
        .await;
        let (sending, sent) = oneshot::channel();
        let pump = self
            .pumps
            .spawn(pump(id, from_session, self.outgoing.clone(), sending));
        self.streams.insert(
            id,
            Open {
                to_session: Some(to_session),
                pump: AbortOnDrop(pump),
                window: 0,
            },
        );
        if fin {
            self.end_input(id).await;
        }
        let reset = Resetter {
            id,
            outgoing: self.outgoing.clone(),
        };
        // A session that takes no more streams drops them, which ends them.
        let _ = self
            .opened
            .send(Stream {
                id,
                headers,
                pipe: Pipe { io: session, sent },
                reset,
            })
            .await;
    }

    async fn data(&mut self, id: u32, fin: bool, data: &[u8]) {
        let Some(open) = self.streams.get_mut(&id) else {
            return;
        };
        if let Some(to_session) = &mut open.to_session {
            // Nobody reads it any more: as with a closed pipe, the rest is dropped.
            if to_session.write_all(data).await.is_err() {
                open.to_session = None;
            }
        }
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        open.window = open.window.saturating_add(length);
        self.window = self.window.saturating_add(length);
        if open.window >= WINDOW_STEP {
            let delta = std::mem::take(&mut open.window);
            self.send(Frame::WindowUpdate { stream: id, delta }).await;
        }
        if self.window >= WINDOW_STEP {
            let delta = std::mem::take(&mut self.window);
            self.send(Frame::WindowUpdate { stream: 0, delta }).await;
        }
        if fin {
            self.end_input(id).await;
        }
    }

    async fn end_input(&mut self, id: u32) {
        let Some(open) = self.streams.get_mut(&id) else {
            return;
        };
        if let Some(mut to_session) = open.to_session.take() {
            // The session may have dropped its end.
            let _ = to_session.shutdown().await;
        }
    }
}

/// Sends what the session writes, then FIN.
async fn pump(
    id: u32,
    mut from_session: ReadHalf<DuplexStream>,
    outgoing: mpsc::Sender<Outgoing>,
    _sending: oneshot::Sender<()>,
) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIPE_BYTES);
        let read = from_session.read_buf(&mut buffer).await.unwrap_or_default();
        let frame = Frame::Data {
            stream: id,
            fin: read == 0,
            data: buffer.split().freeze(),
        };
        if outgoing.send(Outgoing::Frame(frame)).await.is_err() || read == 0 {
            return;
        }
    }
}
