//! Frames on the wire (SPDY draft 3.1, section 2.2 and 2.6).

use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufWriter};

use super::headers::{Compressor, Decompressor, HeaderBlock, malformed};

const VERSION: u16 = 3;
const CONTROL: u32 = 0x8000_0000;
const STREAM_MASK: u32 = 0x7fff_ffff;
const FIN: u8 = 0x01;

/// Largest frame taken; clients send what they read at once, 32 KiB as a rule.
const FRAME_BYTES: usize = 1024 * 1024;
const BUFFER_BYTES: usize = 16 * 1024;

mod kind {
    pub(super) const SYN_STREAM: u16 = 1;
    pub(super) const SYN_REPLY: u16 = 2;
    pub(super) const RST_STREAM: u16 = 3;
    pub(super) const SETTINGS: u16 = 4;
    pub(super) const PING: u16 = 6;
    pub(super) const GOAWAY: u16 = 7;
    pub(super) const HEADERS: u16 = 8;
    pub(super) const WINDOW_UPDATE: u16 = 9;
}

/// Status of RST_STREAM.
pub(crate) mod reset {
    pub(crate) const PROTOCOL_ERROR: u32 = 1;
    pub(crate) const REFUSED_STREAM: u32 = 3;
    pub(crate) const CANCEL: u32 = 5;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Data {
        stream: u32,
        fin: bool,
        data: Bytes,
    },
    SynStream {
        stream: u32,
        fin: bool,
        headers: HeaderBlock,
    },
    SynReply {
        stream: u32,
        fin: bool,
        headers: HeaderBlock,
    },
    Reset {
        stream: u32,
        status: u32,
    },
    Ping {
        id: u32,
    },
    GoAway {
        last: u32,
    },
    WindowUpdate {
        stream: u32,
        delta: u32,
    },
    /// HEADERS and SETTINGS: nothing here depends on them.
    Ignored,
}

/// Reads frames.
pub(crate) struct Reader<R> {
    input: R,
    buffer: BytesMut,
    headers: Decompressor,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            buffer: BytesMut::with_capacity(BUFFER_BYTES),
            headers: Decompressor::new(),
        }
    }

    /// The next frame, `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Frame>> {
        if !self.fill(8).await? {
            return Ok(None);
        }
        let (first, second) = (self.buffer.get_u32(), self.buffer.get_u32());
        let (flags, length) = ((second >> 24) as u8, (second & 0x00ff_ffff) as usize);
        if length > FRAME_BYTES {
            return Err(malformed("frame is too large"));
        }
        if !self.fill(length).await? && length > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let payload = self.buffer.split_to(length).freeze();
        if first & CONTROL == 0 {
            return Ok(Some(Frame::Data {
                stream: first,
                fin: flags & FIN != 0,
                data: payload,
            }));
        }
        if ((first >> 16) & 0x7fff) as u16 != VERSION {
            return Err(malformed("version is not 3"));
        }
        self.control((first & 0xffff) as u16, flags & FIN != 0, payload)
            .map(Some)
    }

    /// Makes `wanted` bytes available; false at a clean end.
    async fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        while self.buffer.len() < wanted {
            self.buffer.reserve(wanted - self.buffer.len());
            if self.input.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(false),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
        Ok(true)
    }

    fn control(&mut self, kind: u16, fin: bool, mut payload: Bytes) -> io::Result<Frame> {
        let short = |_| malformed("control frame ends early");
        let mut word = || payload.try_get_u32().map_err(short);
        Ok(match kind {
            kind::SYN_STREAM => {
                let stream = word()? & STREAM_MASK;
                // Associated stream; then priority and slot.
                word()?;
                payload.try_get_u16().map_err(short)?;
                Frame::SynStream {
                    stream,
                    fin,
                    headers: self.headers.decompress(&payload)?,
                }
            }
            kind::SYN_REPLY => {
                let stream = word()? & STREAM_MASK;
                Frame::SynReply {
                    stream,
                    fin,
                    headers: self.headers.decompress(&payload)?,
                }
            }
            kind::HEADERS => {
                word()?;
                // Read for the sake of the compression state.
                self.headers.decompress(&payload)?;
                Frame::Ignored
            }
            kind::RST_STREAM => Frame::Reset {
                stream: word()? & STREAM_MASK,
                status: word()?,
            },
            kind::PING => Frame::Ping { id: word()? },
            kind::GOAWAY => Frame::GoAway {
                last: word()? & STREAM_MASK,
            },
            kind::WINDOW_UPDATE => Frame::WindowUpdate {
                stream: word()? & STREAM_MASK,
                delta: word()?,
            },
            kind::SETTINGS => Frame::Ignored,
            _ => return Err(malformed("unknown control frame")),
        })
    }
}

/// Writes frames.
pub(crate) struct Writer<W> {
    output: BufWriter<W>,
    headers: Compressor,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(crate) fn new(output: W) -> io::Result<Self> {
        Ok(Self {
            output: BufWriter::with_capacity(BUFFER_BYTES, output),
            headers: Compressor::new()?,
        })
    }

    pub(crate) async fn write(&mut self, frame: &Frame) -> io::Result<()> {
        let mut head = BytesMut::with_capacity(32);
        match frame {
            Frame::Data { stream, fin, data } => {
                head.put_u32(*stream & STREAM_MASK);
                put_flags_and_length(&mut head, *fin, data.len())?;
                self.output.write_all(&head).await?;
                return self.output.write_all(data).await;
            }
            Frame::SynStream { stream, fin, headers } => {
                let block = self.headers.compress(headers)?;
                put_control(&mut head, kind::SYN_STREAM, *fin, 10 + block.len())?;
                head.put_u32(*stream);
                head.put_u32(0);
                head.put_u16(0);
                head.put_slice(&block);
            }
            Frame::SynReply { stream, fin, headers } => {
                let block = self.headers.compress(headers)?;
                put_control(&mut head, kind::SYN_REPLY, *fin, 4 + block.len())?;
                head.put_u32(*stream);
                head.put_slice(&block);
            }
            Frame::Reset { stream, status } => put_words(&mut head, kind::RST_STREAM, &[*stream, *status])?,
            Frame::Ping { id } => put_words(&mut head, kind::PING, &[*id])?,
            Frame::GoAway { last } => put_words(&mut head, kind::GOAWAY, &[*last, 0])?,
            Frame::WindowUpdate { stream, delta } => {
                put_words(&mut head, kind::WINDOW_UPDATE, &[*stream, *delta])?;
            }
            Frame::Ignored => {}
        }
        self.output.write_all(&head).await
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.output.flush().await
    }

    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        self.output.shutdown().await
    }
}

fn put_words(head: &mut BytesMut, kind: u16, words: &[u32]) -> io::Result<()> {
    put_control(head, kind, false, words.len() * 4)?;
    words.iter().for_each(|word| head.put_u32(*word));
    Ok(())
}

fn put_control(head: &mut BytesMut, kind: u16, fin: bool, length: usize) -> io::Result<()> {
    head.put_u32(CONTROL | (u32::from(VERSION) << 16) | u32::from(kind));
    put_flags_and_length(head, fin, length)
}

fn put_flags_and_length(head: &mut BytesMut, fin: bool, length: usize) -> io::Result<()> {
    if length > 0x00ff_ffff {
        return Err(malformed("frame is too large"));
    }
    head.put_u32((u32::from(fin) << 24) | u32::try_from(length).unwrap_or_default());
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn frames_survive_the_wire() {
        let headers = HeaderBlock(vec![("streamtype".into(), "data".into())]);
        let frames = [
            Frame::SynStream {
                stream: 1,
                fin: false,
                headers: headers.clone(),
            },
            Frame::SynReply {
                stream: 1,
                fin: true,
                headers,
            },
            Frame::Data {
                stream: 1,
                fin: true,
                data: Bytes::from_static(b"hello"),
            },
            Frame::Data {
                stream: 3,
                fin: false,
                data: Bytes::new(),
            },
            Frame::Reset {
                stream: 3,
                status: reset::CANCEL,
            },
            Frame::Ping { id: 7 },
            Frame::WindowUpdate { stream: 0, delta: 9 },
            Frame::GoAway { last: 3 },
        ];
        let mut wire = Vec::new();
        let mut writer = Writer::new(&mut wire).unwrap();
        for frame in &frames {
            writer.write(frame).await.unwrap();
        }
        writer.flush().await.unwrap();
        let mut reader = Reader::new(wire.as_slice());
        for frame in frames {
            assert_eq!(reader.next().await.unwrap(), Some(frame));
        }
        assert_eq!(reader.next().await.unwrap(), None);
        let mut cut = Reader::new(&wire[..20]);
        assert!(cut.next().await.is_err());
    }

    /// Whatever comes, reading ends: with frames, an error or the end of the input.
    #[test]
    fn spoiled_frames_are_read_or_refused() {
        let headers = HeaderBlock(vec![
            ("streamtype".into(), "data".into()),
            ("port".into(), "80".into()),
        ]);
        let data = Bytes::from_static(b"hello");
        let frames = [
            Frame::SynStream {
                stream: 1,
                fin: false,
                headers,
            },
            Frame::Data {
                stream: 1,
                fin: true,
                data,
            },
            Frame::Ping { id: 7 },
            Frame::GoAway { last: 3 },
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut wire = Vec::new();
        runtime.block_on(async {
            let mut writer = Writer::new(&mut wire).unwrap();
            for frame in &frames {
                writer.write(frame).await.unwrap();
            }
            writer.flush().await.unwrap();
        });
        corten_fuzz::spoil("spdy frames", &[wire], |input| {
            let mut reader = Reader::new(input);
            let mut read = 0;
            while let Ok(Some(_)) = runtime.block_on(reader.next()) {
                read += 1;
                assert!(read <= input.len(), "more frames than bytes");
            }
        });
    }
}
