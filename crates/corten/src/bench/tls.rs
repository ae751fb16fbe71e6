//! The client's side of TLS: a read of the socket takes many records, which are decrypted where they lie. A buffered rustls
//! connection reads 4 KiB at a time and moves each record twice more, at the cost of a server on the same cores.

use rustls::client::UnbufferedClientConnection;
use rustls::unbuffered::{AppDataRecord, ConnectionState, EncodeError, EncryptError, InsufficientSizeError};
use rustls_pki_types::ServerName;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What is read from the socket at once: with many connections longer buffers do not stay in a core's cache.
pub(super) const READ_BYTES: usize = 32 << 10;
/// Where a read puts it, the beginning of a record that came before in front of it: what begins with a page is copied faster,
/// by a tenth of a long list's rate. More than a record takes.
const READ_AT: usize = 20 << 10;
/// What is encrypted at once.
const WRITE_BYTES: usize = 64 << 10;

/// A connection as hyper drives it.
pub(super) struct TlsStream {
    tcp: TcpStream,
    tls: UnbufferedClientConnection,
    incoming: Vec<u8>,
    /// What of `incoming` was read and is still to be looked at.
    unread: Range<usize>,
    /// Decrypted, and more than the reader had room for.
    rest: Vec<u8>,
    outgoing: Vec<u8>,
    /// What of `outgoing` is on its way.
    written: usize,
    ended: bool,
}

/// What the protocol can do next.
enum State {
    /// More of the handshake has to come.
    Handshake,
    /// Nothing is left to read, and writing is possible.
    Open,
    /// The reader's room is used up.
    Full,
    Ended,
}

impl TlsStream {
    pub(super) async fn connect(
        config: Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
        tcp: TcpStream,
    ) -> io::Result<Self> {
        let mut stream = Self {
            tcp,
            tls: UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?,
            incoming: vec![0; READ_AT + READ_BYTES],
            unread: READ_AT..READ_AT,
            rest: Vec::new(),
            outgoing: Vec::new(),
            written: 0,
            ended: false,
        };
        poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok(stream)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let state = self.advance(&mut ReadBuf::new(&mut []))?;
            ready!(self.poll_send(cx))?;
            match state {
                State::Full | State::Open => return Poll::Ready(Ok(())),
                State::Ended => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                State::Handshake => ready!(self.poll_fetch(cx))?,
            }
        }
    }

    /// Works on what has come until something is to be done: data goes to `out`, and to `rest` when that is full.
    fn advance(&mut self, out: &mut ReadBuf<'_>) -> io::Result<State> {
        loop {
            let status = self
                .tls
                .process_tls_records(&mut self.incoming[self.unread.clone()]);
            let mut done = status.discard;
            let state = match status.state.map_err(io::Error::other)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let AppDataRecord { discard, payload, .. } = record.map_err(io::Error::other)?;
                        done += discard;
                        let (fits, more) = payload.split_at(payload.len().min(out.remaining()));
                        out.put_slice(fits);
                        self.rest.extend_from_slice(more);
                    }
                    (out.remaining() == 0).then_some(State::Full)
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    append(&mut self.outgoing, 0, |out| match data.encode(out) {
                        Err(EncodeError::InsufficientSize(size)) => Err(Ok(size)),
                        other => other.map_err(|error| Err(io::Error::other(error))),
                    })?;
                    None
                }
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    None
                }
                ConnectionState::BlockedHandshake => Some(State::Handshake),
                ConnectionState::WriteTraffic(_) => Some(State::Open),
                _ => Some(State::Ended),
            };
            self.unread.start += done;
            if let Some(state) = state {
                return Ok(state);
            }
        }
    }

    fn encrypt(&mut self, data: &[u8]) -> io::Result<()> {
        let status = self
            .tls
            .process_tls_records(&mut self.incoming[self.unread.clone()]);
        self.unread.start += status.discard;
        match status.state.map_err(io::Error::other)? {
            ConnectionState::WriteTraffic(mut traffic) => append(&mut self.outgoing, data.len(), |out| {
                match traffic.encrypt(data, out) {
                    Err(EncryptError::InsufficientSize(size)) => Err(Ok(size)),
                    other => other.map_err(|error| Err(io::Error::other(error))),
                }
            }),
            state => Err(io::Error::other(format!("cannot write now: {state:?}"))),
        }
    }

    /// Reads from the socket after what is there.
    fn poll_fetch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let start = READ_AT.saturating_sub(self.unread.len());
        let end = start + self.unread.len();
        if self.unread.end != end {
            self.incoming.copy_within(self.unread.clone(), start);
            self.unread = start..end;
        }
        let mut room = ReadBuf::new(&mut self.incoming[end..]);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.unread.end += read;
        self.ended |= read == 0;
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.outgoing.len() {
            let sent = ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.outgoing[self.written..]))?;
            self.written += sent;
        }
        self.outgoing.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

/// Appends what `write` writes, with as much room as it turns out to need.
fn append(
    out: &mut Vec<u8>,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Result<InsufficientSizeError, io::Error>>,
) -> io::Result<()> {
    let (start, mut room) = (out.len(), room);
    loop {
        out.resize(start + room, 0);
        match write(&mut out[start..]) {
            Ok(length) => {
                out.truncate(start + length);
                return Ok(());
            }
            Err(Ok(size)) => room = size.required_size,
            Err(Err(error)) => return Err(error),
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if !stream.rest.is_empty() {
            let fits = stream.rest.len().min(out.remaining());
            out.put_slice(&stream.rest[..fits]);
            stream.rest.drain(..fits);
            return Poll::Ready(Ok(()));
        }
        let before = out.filled().len();
        loop {
            let state = stream.advance(out)?;
            if out.filled().len() > before || stream.ended || matches!(state, State::Ended) {
                return Poll::Ready(Ok(()));
            }
            ready!(stream.poll_fetch(cx))?;
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        ready!(stream.poll_send(cx))?;
        // What has come meanwhile is taken first: the protocol has one state for both ways.
        while let State::Full = stream.advance(&mut ReadBuf::new(&mut []))? {}
        let taken = &data[..data.len().min(WRITE_BYTES)];
        stream.encrypt(taken)?;
        // What the socket does not take now is sent before the next write or by the flush.
        if let Poll::Ready(Err(error)) = stream.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
