//! Dialling backends and sending one request over a fresh connection, upgrades included.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use corten_auth::request_header;
use corten_meta::Status;
use corten_webhook::dial_text;
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::tunnel;
use crate::body::{Body, RequestBody};
use crate::limits;
use crate::respond::Answer;

/// A byte stream to a backend.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}
/// See [`Io`].
pub type BoxIo = Box<dyn Io>;

/// Where a backend is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The node it is (or runs) on, where known: dialers that reach nodes through tunnels go by this.
    pub node: String,
    /// IP address or host name.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Opens plain byte streams to kubelets and pods. TLS is spoken over them by the caller.
#[async_trait]
pub trait KubeletDialer: Send + Sync {
    /// Connects; the caller sets the deadline.
    async fn connect(&self, target: &Target) -> io::Result<BoxIo>;
}

/// Dials from this process's own network namespace.
#[derive(Debug, Default)]
pub struct DirectDialer;

#[async_trait]
impl KubeletDialer for DirectDialer {
    async fn connect(&self, target: &Target) -> io::Result<BoxIo> {
        let stream = tokio::net::TcpStream::connect((target.host.as_str(), target.port)).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// How the server proves itself to kubelets and checks them.
#[derive(Clone)]
pub struct KubeletTls {
    /// Presents the kubelet-client certificate and trusts the cluster CA.
    pub verified: Arc<ClientConfig>,
    /// The same without checking the kubelet (`insecureSkipTLSVerifyBackend`).
    pub unverified: Arc<ClientConfig>,
}

/// The way to backends.
#[derive(Clone)]
pub struct Backends {
    /// Opens connections.
    pub dialer: Arc<dyn KubeletDialer>,
    /// For kubelets.
    pub tls: KubeletTls,
    /// Ends every tunnel.
    pub stop: CancellationToken,
}

/// How a connection to a target is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Plain HTTP.
    Plain,
    /// TLS with the kubelet-client certificate, the peer checked.
    Kubelet,
    /// TLS, the peer not checked (`https:` proxying, as upstream).
    Unchecked,
}

/// Why a backend did not answer, in Go's words.
#[derive(Debug)]
pub struct Unreachable(String);

impl Unreachable {
    /// What a client is told whose connection was to be joined with the backend's.
    pub fn dialing(self) -> Status {
        Status::new(500, "", format!("error dialing backend: {}", self.0))
    }

    /// What a client of a proxy is told.
    pub fn reaching(self) -> Status {
        Status::service_unavailable(format!("error trying to reach service: {}", self.0))
    }

    /// What a client is told whom the server fetches `url` for.
    pub fn getting(self, url: &str) -> Status {
        Status::new(500, "", format!("Get \"{url}\": {}", self.0))
    }
}

impl Backends {
    /// Connects, with TLS where asked.
    async fn open(&self, target: &Target, security: Security) -> Result<BoxIo, Unreachable> {
        let dial = async {
            let plain = self.dialer.connect(target).await?;
            let config = match security {
                Security::Plain => return Ok(plain),
                Security::Kubelet => self.tls.verified.clone(),
                Security::Unchecked => self.tls.unverified.clone(),
            };
            let name = ServerName::try_from(target.host.clone()).map_err(io::Error::other)?;
            let stream = TlsConnector::from(config).connect(name, plain).await?;
            Ok::<BoxIo, io::Error>(Box::new(stream))
        };
        let whole = tokio::time::timeout(limits::DIAL_TIMEOUT, dial).await;
        let address = authority(target);
        match whole {
            Ok(Ok(io)) => Ok(io),
            Ok(Err(error)) => Err(Unreachable(dial_text(&address, &error))),
            Err(_) => Err(Unreachable(format!("dial tcp {address}: i/o timeout"))),
        }
    }

    /// Sends one request over a connection of its own and gives the answer; where the backend switches protocols and the
    /// client can, both sides are joined until one closes.
    ///
    /// # Errors
    /// Where the backend cannot be reached or does not speak HTTP.
    pub async fn send(&self, request: Outgoing) -> Result<Answer, Unreachable> {
        let io = self.open(&request.target, request.security).await?;
        let upgrade = request.upgrade;
        let host = authority(&request.target);
        let mut head = Request::new(request.body);
        *head.method_mut() = request.method;
        *head.uri_mut() = request.path;
        *head.headers_mut() = forwarded_headers(request.headers, &host, upgrade.is_some());
        converse(io, head, upgrade, &self.stop)
            .await
            .map_err(|error| Unreachable(error.to_string()))
    }
}

/// Sends one request over a connection that is open and gives the answer; see [`Backends::send`].
pub async fn converse(
    io: impl Io,
    head: Request<RequestBody>,
    upgrade: Option<OnUpgrade>,
    stop: &CancellationToken,
) -> Result<Answer, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "backend connection ended");
        }
    });
    let answer = sender.send_request(head).await?;
    match upgrade {
        Some(client) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => Ok(join(client, answer, stop)),
        _ => Ok(passed_on(answer)),
    }
}

/// `host:port`, with brackets where the host is an IPv6 address.
pub(super) fn authority(target: &Target) -> String {
    if target.host.contains(':') {
        format!("[{}]:{}", target.host, target.port)
    } else {
        format!("{}:{}", target.host, target.port)
    }
}

/// A request to a backend.
pub struct Outgoing {
    /// Where to.
    pub target: Target,
    /// How.
    pub security: Security,
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: Uri,
    /// The client's headers.
    pub headers: HeaderMap,
    /// The client's body.
    pub body: RequestBody,
    /// The client's connection, where it asked to switch protocols.
    pub upgrade: Option<OnUpgrade>,
}

/// Headers that speak about one hop only (RFC 9110, 7.6.1).
const HOP: [HeaderName; 6] = [
    http::header::TE,
    http::header::TRAILER,
    http::header::TRANSFER_ENCODING,
    http::header::PROXY_AUTHENTICATE,
    http::header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
];

/// What of the client's head a backend sees: never its credentials; `Connection` and `Upgrade` only when switching.
pub fn forwarded_headers(mut headers: HeaderMap, host: &str, upgrading: bool) -> HeaderMap {
    for name in HOP {
        headers.remove(name);
    }
    headers.remove(AUTHORIZATION);
    let identity: Vec<HeaderName> = headers
        .keys()
        .filter(|k| k.as_str().starts_with("impersonate-") || request_header::is_identity_header(k.as_str()))
        .cloned()
        .collect();
    for name in identity {
        headers.remove(name);
    }
    if !upgrading {
        headers.remove(CONNECTION);
        headers.remove(UPGRADE);
    }
    if let Ok(v) = HeaderValue::from_str(host) {
        headers.insert(HOST, v);
    }
    headers
}

/// A backend's answer without what speaks about its hop only.
pub fn passed_on(answer: Response<Incoming>) -> Answer {
    let (mut parts, body) = answer.into_parts();
    for name in HOP {
        parts.headers.remove(name);
    }
    parts.headers.remove(CONNECTION);
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();
    Response::from_parts(parts, Body::wrap(body))
}

/// Answers 101 and hands both connections to the tunnel.
fn join(client: OnUpgrade, answer: Response<Incoming>, stop: &CancellationToken) -> Answer {
    let (mut parts, body) = answer.into_parts();
    let websocket = parts
        .headers
        .get(UPGRADE)
        .is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let backend = hyper::upgrade::on(Response::from_parts(parts.clone(), body));
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = tunnel::join(client, backend, websocket) => {}
            () = stop.cancelled() => {}
        }
    });
    parts.extensions.clear();
    Response::from_parts(parts, Body::Empty)
}

/// True where a request asks to switch protocols.
pub fn wants_upgrade(headers: &HeaderMap) -> bool {
    let upgrade = headers.get_all(CONNECTION).iter().filter_map(|v| v.to_str().ok());
    upgrade
        .flat_map(|v| v.split(','))
        .any(|t| t.trim().eq_ignore_ascii_case("upgrade"))
}
