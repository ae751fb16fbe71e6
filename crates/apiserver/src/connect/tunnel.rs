//! Two connections that have switched protocols, joined.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Copies both ways until both sides have ended, then closes both.
pub async fn join(client: OnUpgrade, backend: OnUpgrade) {
    let (client, backend) = match futures::future::try_join(client, backend).await {
        Ok(pair) => pair,
        Err(error) => return tracing::debug!(%error, "protocol switch failed"),
    };
    let (mut client, mut backend) = (Side(TokioIo::new(client)), Side(TokioIo::new(backend)));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut backend).await {
        tracing::debug!(%error, "tunnel ended");
    }
    // After an error one side may still be open; it is told that nothing more comes.
    let _ = client.shutdown().await;
    let _ = backend.shutdown().await;
}

/// A side for which a connection cut without TLS's goodbye is simply at its end: what has come is still passed on.
struct Side(TokioIo<Upgraded>);

impl AsyncRead for Side {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buf) {
            Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl AsyncWrite for Side {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
