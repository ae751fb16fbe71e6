//! One HTTP/1.1 connection over TLS, as lean as a client can be: on few cores its work is taken from the server's.

use super::lines::Lines;
use super::target::Access;
use super::tls::{READ_BYTES, TlsStream};
use anyhow::Context;
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::sync::Arc;
use tokio::net::TcpStream;

/// The connection beneath.
async fn connect(access: &Access) -> anyhow::Result<TlsStream> {
    let tcp = TcpStream::connect((access.host.as_str(), access.port)).await;
    let tcp = tcp.with_context(|| format!("connecting to {}: is the cluster up?", access.authority()))?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(access.host.clone())?;
    Ok(TlsStream::connect(Arc::clone(&access.tls), name, tcp).await?)
}

/// Begins a watch. Answered means registered: what is written from then on is among its lines.
pub(super) async fn watch(access: &Access, path: &str) -> anyhow::Result<Lines> {
    Lines::open(access, connect(access).await?, path).await
}

/// An open connection; one request at a time.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    access: Arc<Access>,
}

impl Connection {
    pub(super) async fn open(access: &Arc<Access>) -> anyhow::Result<Self> {
        let tls = connect(access).await?;
        let (sender, connection) = Builder::new()
            .read_buf_exact_size(Some(READ_BYTES))
            .handshake(TokioIo::new(tls))
            .await?;
        // Its error is also that of the request in flight.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self {
            sender,
            access: Arc::clone(access),
        })
    }

    /// Sends one request; an answer other than 2xx is an error with its text.
    pub(super) async fn start(
        &mut self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Response<Incoming>> {
        if self.sender.is_closed() {
            // Servers close connections that have been idle.
            let access = Arc::clone(&self.access);
            *self = Self::open(&access).await?;
        }
        let content = if method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.access.authority())
            .header(CONTENT_TYPE, content)
            .body(Full::new(body.into()))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.into_body().collect().await?.to_bytes();
        anyhow::bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&text))
    }

    /// One request and its whole answer; the length of the answer in bytes.
    pub(super) async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<usize> {
        let mut body = self.start(method, path, body).await?.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(length)
    }

    /// One GET and its answer.
    pub(super) async fn read(&mut self, path: &str) -> anyhow::Result<Bytes> {
        let body = self.start("GET", path, Bytes::new()).await?.into_body();
        Ok(body.collect().await?.to_bytes())
    }
}
