//! Two connections that have switched protocols, joined.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::frames::Frames;

/// Copies both ways until both sides have ended, then closes both. `websocket`: the client gets each frame by itself.
pub async fn join(client: OnUpgrade, backend: OnUpgrade, websocket: bool) {
    let (client, backend) = match futures::future::try_join(client, backend).await {
        Ok(pair) => pair,
        Err(error) => return tracing::debug!(%error, "protocol switch failed"),
    };
    let mut client = Side {
        io: TokioIo::new(client),
        frames: websocket.then(Frames::default),
    };
    let mut backend = Side {
        io: TokioIo::new(backend),
        frames: None,
    };
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut backend).await {
        tracing::debug!(%error, "tunnel ended");
    }
    // After an error one side may still be open; it is told that nothing more comes.
    let _ = client.shutdown().await;
    let _ = backend.shutdown().await;
}

/// A side for which a connection cut without TLS's goodbye is simply at its end: what has come is still passed on.
struct Side<T> {
    io: T,
    /// Where what is written ends a frame; no write goes beyond.
    frames: Option<Frames>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Side<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Side<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { io, frames } = &mut *self;
        let Some(frames) = frames else {
            return Pin::new(io).poll_write(cx, buf);
        };
        let end = frames.clone().take(buf);
        let written = ready!(Pin::new(io).poll_write(cx, &buf[..end]))?;
        frames.take(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Keeps each write, which TLS would make a record.
    #[derive(Default)]
    struct Records(Vec<Vec<u8>>);

    impl AsyncWrite for Records {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push(buf.to_vec());
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn records(websocket: bool, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut side = Side {
            io: Records::default(),
            frames: websocket.then(Frames::default),
        };
        side.write_all(bytes).await.unwrap();
        side.io.0
    }

    #[tokio::test]
    async fn a_frame_shares_no_write_with_another() {
        let status = b"\x82\x06\x03{...}";
        let close = b"\x88\x02\x03\xe8";
        let both = [&status[..], &close[..]].concat();
        assert_eq!(records(true, &both).await, [status.to_vec(), close.to_vec()]);
        assert_eq!(records(false, &both).await, [both]);
    }
}
