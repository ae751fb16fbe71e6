//! HTTP GET against a container: for probes and for lifecycle hooks.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// What is read of a body; the rest is of no interest.
const MAX_BODY: usize = 10 << 10;
const MAX_REDIRECTS: usize = 10;

/// The number of a port given by number or by name.
///
/// # Errors
/// Upstream's message.
pub fn port(port: &IntOrString, c: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(n) => Some(*n),
        IntOrString::String(name) => match name.parse() {
            Ok(n) => Some(n),
            Err(_) => c
                .ports
                .iter()
                .flatten()
                .find(|p| p.name.as_deref() == Some(name))
                .map(|p| p.container_port),
        },
    };
    match number.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0) {
        Some(n) => Ok(n),
        None => Err(match port {
            IntOrString::String(name) => format!("couldn't find port: {name} in {}", c.name),
            IntOrString::Int(n) => format!("invalid port number: {n}"),
        }),
    }
}

/// A request in the making.
#[derive(Debug, Clone)]
pub struct Get {
    pub url: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: u16,
    pub body: String,
    /// Somebody sent us to another host: not followed.
    pub elsewhere: bool,
}

impl Get {
    /// # Errors
    /// When the port has no number or the address is none.
    pub fn new(action: &HTTPGetAction, c: &Container, pod_ip: &str, agent: &str) -> Result<Self, String> {
        let port = port(&action.port, c)?;
        let host = action.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(pod_ip);
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let scheme = action.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
        let path = action.path.as_deref().unwrap_or("/");
        let slash = if path.starts_with('/') { "" } else { "/" };
        let url = format!("{scheme}://{host}:{port}{slash}{path}")
            .parse()
            .map_err(|e| format!("{e}"))?;
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for h in action.http_headers.iter().flatten() {
            let name = h.name.parse().map_err(|e| format!("{e}"))?;
            let value = h.value.parse().map_err(|e| format!("{e}"))?;
            headers.push((name, value));
        }
        let mut default = |name: HeaderName, value: &str| {
            if !headers.iter().any(|(n, _)| *n == name)
                && let Ok(value) = value.parse()
            {
                headers.push((name, value));
            }
        };
        default(http::header::USER_AGENT, agent);
        default(http::header::ACCEPT, "*/*");
        Ok(Self { url, headers })
    }

    /// Carries it out, following redirects on the same host.
    ///
    /// # Errors
    /// As Go's client words it.
    pub async fn run(&self, timeout: Duration) -> Result<Answer, String> {
        let quoted = format!("Get \"{}\"", self.url);
        match tokio::time::timeout(timeout, self.follow()).await {
            Ok(result) => result.map_err(|e| format!("{quoted}: {e}")),
            Err(_) => Err(format!(
                "{quoted}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            )),
        }
    }

    async fn follow(&self) -> Result<Answer, String> {
        let mut url = self.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let (answer, location) = self.once(&url).await?;
            let Some(next) = location else { return Ok(answer) };
            let next = resolve(&url, &next)?;
            if next.host() != self.url.host() {
                return Ok(Answer {
                    elsewhere: true,
                    ..answer
                });
            }
            url = next;
        }
        Err(format!("stopped after {MAX_REDIRECTS} redirects"))
    }

    async fn once(&self, url: &Uri) -> Result<(Answer, Option<String>), String> {
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let secure = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = dial(host, port).await?;
        if secure {
            let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
            let tls = tokio_rustls::TlsConnector::from(Arc::new(unverified()?));
            let stream = tls.connect(name, stream).await.map_err(|e| e.to_string())?;
            self.exchange(url, stream).await
        } else {
            self.exchange(url, stream).await
        }
    }

    async fn exchange<S>(&self, url: &Uri, stream: S) -> Result<(Answer, Option<String>), String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let text = |e: hyper::Error| {
            if e.is_incomplete_message() {
                "EOF".to_owned()
            } else {
                e.to_string()
            }
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(text)?;
        let driver = tokio::spawn(connection);
        let target = url.path_and_query().map_or("/", |p| p.as_str());
        let mut request = Request::get(target).header(http::header::CONNECTION, "close");
        if !self.headers.iter().any(|(n, _)| *n == http::header::HOST) {
            request = request.header(http::header::HOST, url.authority().map_or("", |a| a.as_str()));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
        let response = sender.send_request(request).await.map_err(text)?;
        let code = response.status().as_u16();
        let location = response
            .headers()
            .get(http::header::LOCATION)
            .and_then(|v| v.to_str().ok());
        let location = location.filter(|_| (300..400).contains(&code)).map(str::to_owned);
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        driver.abort();
        let body = body
            .map(|b| String::from_utf8_lossy(&b.to_bytes()).into_owned())
            .unwrap_or_default();
        Ok((
            Answer {
                code,
                body,
                elsewhere: false,
            },
            location,
        ))
    }
}

fn resolve(base: &Uri, location: &str) -> Result<Uri, String> {
    if location.contains("://") {
        return location.parse().map_err(|e| format!("{e}"));
    }
    let mut parts = base.clone().into_parts();
    let path = if location.starts_with('/') {
        location.to_owned()
    } else {
        format!("/{location}")
    };
    parts.path_and_query = Some(path.parse().map_err(|e| format!("{e}"))?);
    Uri::from_parts(parts).map_err(|e| format!("{e}"))
}

/// Go's `net.JoinHostPort`.
pub fn joined(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Connects, wording failures as Go does.
///
/// # Errors
/// `dial tcp 10.0.0.1:80: connect: connection refused`.
pub async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let shown = joined(host, port);
    TcpStream::connect((host, port)).await.map_err(|e| {
        let text = match e.kind() {
            std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            std::io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
            std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
            std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
            _ => e.to_string(),
        };
        format!("dial tcp {shown}: {text}")
    })
}

/// Probes do not check who answers, as upstream's.
fn unverified() -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
        .with_no_client_auth();
    Ok(config)
}

#[derive(Debug)]
struct AnyServer(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
