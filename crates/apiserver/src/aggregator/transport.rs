//! HTTPS to the server behind a Service: pooled connections for requests, one of its own for each that switches protocols.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use corten_meta::Status;
use http::header::{ACCEPT, HeaderMap, HeaderValue, IF_NONE_MATCH};
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::availability::endpoint;
use super::service::ServiceRef;
use crate::body::{RequestBody, empty_body, read_whole};
use crate::connect::BoxIo;
use crate::limits;
use crate::server::Inner;

/// Unused connections are closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Unused connections kept per APIService.
const MAX_IDLE: usize = 8;
/// Checks and documents must be answered within this. Upstream's `aggregatedDiscoveryTimeout`.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest discovery or OpenAPI document taken; a longer one counts as none.
const MAX_DOCUMENT_BYTES: usize = 32 * 1024 * 1024;

/// A document of an extension API server.
pub struct Document {
    /// HTTP status.
    pub code: StatusCode,
    /// Its head.
    pub headers: HeaderMap,
    /// Its body, empty unless the status is 200.
    pub body: Bytes,
}

/// See the module.
pub struct Transport {
    requests: Client<Connector, RequestBody>,
    upgrades: Connector,
    authority: String,
}

impl Transport {
    /// Speaks to `service` with `tls`.
    ///
    /// # Errors
    /// Where the Service's name cannot be one of a certificate.
    pub fn new(server: Weak<Inner>, service: ServiceRef, tls: ClientConfig) -> Result<Self, String> {
        let name = ServerName::try_from(service.host()).map_err(|e| e.to_string())?;
        let authority = format!("{}:{}", service.host(), service.port);
        let mut pooled = tls.clone();
        pooled.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let connector = |tls: ClientConfig| Connector {
            server: server.clone(),
            service: service.clone(),
            tls: Arc::new(tls),
            name: name.clone(),
        };
        let requests = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(connector(pooled));
        Ok(Self {
            requests,
            upgrades: connector(tls),
            authority,
        })
    }

    /// `host:port` as the server is addressed.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Sends a request; `request` holds path and query only.
    ///
    /// # Errors
    /// Where the server cannot be reached, the cause in the text.
    pub async fn send(&self, mut request: Request<RequestBody>) -> Result<Response<Incoming>, String> {
        let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
        let uri = format!("https://{}{path}", self.authority);
        *request.uri_mut() = uri.parse().map_err(|e: http::uri::InvalidUri| e.to_string())?;
        let sent = self.requests.request(request).await;
        sent.map_err(|e| innermost(&e))
    }

    /// A connection of its own, HTTP/1.1.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub async fn connect(&self) -> io::Result<TlsStream<BoxIo>> {
        self.upgrades.clone().open().await
    }

    /// Reads a document as the aggregator itself.
    ///
    /// # Errors
    /// Where it cannot be had in time, the cause in the text.
    pub async fn get(&self, path: &str, accept: &str, etag: Option<&str>) -> Result<Document, String> {
        let mut request = Request::new(empty_body());
        *request.uri_mut() = path.parse().map_err(|e: http::uri::InvalidUri| e.to_string())?;
        let headers = request.headers_mut();
        headers.insert(
            "x-remote-user",
            HeaderValue::from_static("system:kube-aggregator"),
        );
        headers.insert("x-remote-group", HeaderValue::from_static("system:masters"));
        for (name, value) in [(ACCEPT, Some(accept)), (IF_NONE_MATCH, etag)] {
            if let Some(value) = value.and_then(|v| HeaderValue::from_str(v).ok()) {
                headers.insert(name, value);
            }
        }
        let read = async {
            let (head, body) = self.send(request).await?.into_parts();
            let mut document = Document {
                code: head.status,
                headers: head.headers,
                body: Bytes::new(),
            };
            if document.code == StatusCode::OK {
                let body = crate::body::request_body(body);
                document.body = read_whole(body, MAX_DOCUMENT_BYTES)
                    .await
                    .map_err(|e| e.to_string())?;
            }
            Ok(document)
        };
        let late =
            |_| "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned();
        tokio::time::timeout(CHECK_TIMEOUT, read).await.map_err(late)?
    }
}

/// The cause at the bottom of a chain of errors: what a user can do something about.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Opens TLS connections to one of a Service's endpoints.
#[derive(Clone)]
struct Connector {
    server: Weak<Inner>,
    service: ServiceRef,
    tls: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Connector {
    async fn open(self) -> io::Result<TlsStream<BoxIo>> {
        let gone = || io::Error::other("the server is shutting down");
        let dial = async {
            let (backends, target) = {
                let server = self.server.upgrade().ok_or_else(gone)?;
                let told = |status: Status| io::Error::other(status.message);
                let target = endpoint(&server, &self.service).await.map_err(told)?;
                (server.backends().map_err(told)?, target)
            };
            let at = format!("dial tcp {}:{}", target.host, target.port);
            let named = |e: io::Error| io::Error::other(format!("{at}: {e}"));
            let plain = backends.dialer.connect(&target).await.map_err(named)?;
            TlsConnector::from(self.tls.clone())
                .connect(self.name.clone(), plain)
                .await
        };
        tokio::time::timeout(limits::DIAL_TIMEOUT, dial)
            .await
            .unwrap_or_else(|_| Err(io::Error::other("i/o timeout")))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Conn;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Conn>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { Ok(Conn(TokioIo::new(connector.open().await?))) })
    }
}

/// A TLS connection as hyper's pool wants it.
struct Conn(TokioIo<TlsStream<BoxIo>>);

impl Connection for Conn {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.0.inner().get_ref().1.alpn_protocol() == Some(b"h2") {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl hyper::rt::Read for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Conn {
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
