//! A watch as its lines, read from the connection itself: a client library's tasks and queues for each event would take as much
//! of few cores as the server does. What it understands of HTTP is an answer in chunks.

use super::target::Access;
use super::tls::{READ_BYTES, TlsStream};
use anyhow::{Context, bail};
use std::io::BufRead as _;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An answer's head may be as long.
const HEAD_MAX: usize = 64 << 10;

/// The lines of a stream.
pub(super) struct Lines {
    tls: TlsStream,
    chunks: Chunks,
    /// As read.
    received: Vec<u8>,
    /// Out of its chunks.
    text: Vec<u8>,
    /// Where in `text` the next line begins.
    at: usize,
    arrived: Instant,
}

impl Lines {
    /// Sends the request and reads the answer's head.
    pub(super) async fn open(access: &Access, mut tls: TlsStream, path: &str) -> anyhow::Result<Self> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", access.authority());
        tls.write_all(request.as_bytes()).await?;
        tls.flush().await?;
        let mut received = Vec::new();
        let end = loop {
            if let Some(end) = received.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            if received.len() > HEAD_MAX {
                bail!("GET {path}: an answer's head without end");
            }
            read_more(&mut tls, &mut received).await?;
        };
        let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
        if !head.starts_with("http/1.1 200 ") || !head.contains("\r\ntransfer-encoding: chunked\r\n") {
            bail!("GET {path}: not a watch: {}", String::from_utf8_lossy(&received));
        }
        received.drain(..end);
        let mut lines = Self {
            tls,
            chunks: Chunks::Head(0),
            received,
            text: Vec::new(),
            at: 0,
            arrived: Instant::now(),
        };
        lines.unchunk()?;
        Ok(lines)
    }

    /// When the last line was read, with those around it.
    pub(super) fn arrived(&self) -> Instant {
        self.arrived
    }

    /// The next line; an error when the stream ends.
    pub(super) async fn next(&mut self) -> anyhow::Result<&[u8]> {
        let mut searched = self.at;
        loop {
            let read = (&self.text[searched..]).skip_until(b'\n')?;
            let end = searched + read;
            if self.text[searched..end].ends_with(b"\n") {
                let line = self.at..end - 1;
                self.at = end;
                return Ok(&self.text[line]);
            }
            if self.chunks == Chunks::End {
                bail!("the watch ended");
            }
            self.text.drain(..self.at);
            (self.at, searched) = (0, self.text.len());
            read_more(&mut self.tls, &mut self.received).await?;
            self.arrived = Instant::now();
            self.unchunk()?;
        }
    }

    fn unchunk(&mut self) -> anyhow::Result<()> {
        self.chunks.take(&self.received, &mut self.text)?;
        self.received.clear();
        Ok(())
    }
}

async fn read_more(tls: &mut TlsStream, into: &mut Vec<u8>) -> anyhow::Result<()> {
    into.reserve(READ_BYTES);
    let read = tls.read_buf(into).await.context("reading a watch")?;
    if read == 0 {
        bail!("the watch ended");
    }
    Ok(())
}

/// Where in a body of chunks (RFC 9112, 7.1) reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunks {
    /// In a chunk's length, of which so much is known.
    Head(usize),
    /// Behind the length, before the end of its line.
    HeadEnd(usize),
    /// So many bytes are to come.
    Data(usize),
    /// Behind the data, before the end of its line.
    DataEnd,
    /// The last chunk has come.
    End,
}

impl Chunks {
    /// Appends the data in `bytes` to `text`.
    fn take(&mut self, mut bytes: &[u8], text: &mut Vec<u8>) -> anyhow::Result<()> {
        while let Some((&first, rest)) = bytes.split_first() {
            *self = match *self {
                Self::Data(left) => {
                    let (data, behind) = bytes.split_at(left.min(bytes.len()));
                    text.extend_from_slice(data);
                    bytes = behind;
                    match left - data.len() {
                        0 => Self::DataEnd,
                        left => Self::Data(left),
                    }
                }
                Self::End => return Ok(()),
                state => {
                    bytes = rest;
                    state.after(first)?
                }
            };
        }
        Ok(())
    }

    /// What follows this byte of what is not data.
    fn after(self, byte: u8) -> anyhow::Result<Self> {
        Ok(match (self, byte) {
            (Self::Head(length) | Self::HeadEnd(length), b'\n') if length > 0 => Self::Data(length),
            (Self::Head(_) | Self::HeadEnd(_), b'\n') => Self::End,
            (Self::Head(length), digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit).to_digit(16).unwrap_or_default();
                let longer = length.checked_mul(16).and_then(|l| l.checked_add(digit as usize));
                Self::Head(longer.context("a chunk's length")?)
            }
            (Self::Head(length), b'\r' | b';') => Self::HeadEnd(length),
            (Self::HeadEnd(_), _) => self,
            (Self::DataEnd, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Head(0),
            _ => bail!("{byte:#04x} is not what chunks are made of"),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BODY: &[u8] = b"5\r\nhello\r\n1;x=y\r\n \r\n0000A\r\nwide\r\n\r\nwo\r\n2\r\nrl\r\n0\r\n\r\n";

    #[test]
    fn data_comes_out_of_chunks_wherever_reads_end() {
        for step in 1..BODY.len() {
            let (mut chunks, mut text) = (Chunks::Head(0), Vec::new());
            for part in BODY.chunks(step) {
                chunks.take(part, &mut text).unwrap();
            }
            assert_eq!(
                (chunks, text.as_slice()),
                (Chunks::End, &b"hello wide\r\n\r\nworl"[..])
            );
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for wrong in [&b"x"[..], b"1\r\nab", b"fffffffffffffffff\r\n"] {
            let taken = Chunks::Head(0).take(wrong, &mut Vec::new());
            assert!(taken.is_err(), "{wrong:?}");
        }
    }
}
