//! From a webhook's endpoint to a TLS connection, as hyper's client wants it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{ClientConfig, Endpoint};
use crate::error::{dial_text, tls_text};

/// A byte stream to a webhook.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}
/// See [`Io`].
pub type BoxIo = Box<dyn Io>;

/// Opens plain byte streams; TLS is spoken over them.
#[async_trait]
pub trait Dialer: Send + Sync {
    /// To a host name or address.
    async fn host(&self, host: &str, port: u16) -> io::Result<BoxIo> {
        let stream = tokio::net::TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    /// To a ready endpoint of a Service. An error of kind `Other` is shown as it is.
    async fn service(&self, namespace: &str, name: &str, port: u16) -> io::Result<BoxIo>;
}

/// Why a connection could not be had, in Go's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConnectError(String);

/// Connects to one webhook.
#[derive(Clone)]
pub(crate) struct Connector {
    pub config: Arc<ClientConfig>,
    pub tls: Arc<rustls::ClientConfig>,
    pub dialer: Arc<dyn Dialer>,
}

impl Connector {
    async fn connect(self) -> Result<TokioIo<Stream>, ConnectError> {
        let (dialled, address) = match &self.config.endpoint {
            Endpoint::Url { host, port, .. } => {
                let address = if host.contains(':') {
                    format!("[{host}]:{port}")
                } else {
                    format!("{host}:{port}")
                };
                (self.dialer.host(host, *port).await, address)
            }
            Endpoint::Service {
                namespace,
                name,
                port,
            } => (
                self.dialer.service(namespace, name, *port).await,
                self.config.authority(),
            ),
        };
        let plain = dialled.map_err(|error| ConnectError(dial_text(&address, &error)))?;
        let name = ServerName::try_from(self.config.server_name())
            .map_err(|error| ConnectError(format!("tls: {error}")))?;
        let stream = TlsConnector::from(self.tls.clone()).connect(name, plain).await;
        stream
            .map(|stream| TokioIo::new(Stream(stream)))
            .map_err(|error| ConnectError(tls_text(&error)))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

/// A TLS connection that hyper's pool can hold.
pub(crate) struct Stream(TlsStream<BoxIo>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
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
