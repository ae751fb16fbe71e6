//! Events in batches to a server that a kubeconfig file names.
//! Rules: upstream's webhook and buffered backends.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use corten_meta::object::str_at;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, Uri};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::AuditError;
use crate::connect::BoxIo;
use crate::tls;

/// Events sent at once.
const MAX_BATCH: usize = 400;
/// A batch is sent after this even if it is not full.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Pause after a failure; doubled after each further one.
const INITIAL_BACKOFF: Duration = Duration::from_secs(10);
/// A batch is given up after this many attempts.
const ATTEMPTS: u32 = 5;
/// One attempt.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where events are sent.
#[derive(Debug, Clone)]
pub struct WebhookOptions {
    /// A kubeconfig file.
    pub config: PathBuf,
    /// See [`MAX_WAIT`].
    pub max_wait: Duration,
}

impl WebhookOptions {
    /// Upstream's defaults.
    pub fn new(config: impl Into<PathBuf>) -> Self {
        Self {
            config: config.into(),
            max_wait: MAX_WAIT,
        }
    }
}

/// Starts the sender; after `end` it sends what is there and ends.
pub fn start(
    options: &WebhookOptions,
    mut events: mpsc::Receiver<Value>,
    lost: Arc<AtomicU64>,
    end: CancellationToken,
) -> Result<JoinHandle<()>, AuditError> {
    let path = &options.config;
    let text = std::fs::read(path).map_err(|source| AuditError::File {
        path: path.clone(),
        source,
    })?;
    let server = Server::read(&text).map_err(AuditError::Webhook)?;
    let max_wait = options.max_wait;
    Ok(tokio::spawn(async move {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                n = events.recv_many(&mut batch, MAX_BATCH) => if n == 0 { return },
                () = end.cancelled(), if !events.is_closed() => {
                    events.close();
                    continue;
                }
            }
            let full = async {
                while batch.len() < MAX_BATCH {
                    let room = MAX_BATCH - batch.len();
                    if events.recv_many(&mut batch, room).await == 0 {
                        return;
                    }
                }
            };
            tokio::select! {
                _ = tokio::time::timeout(max_wait, full) => {}
                () = end.cancelled() => {}
            }
            let n = batch.len() as u64;
            if let Err(error) = server.deliver(std::mem::take(&mut batch)).await {
                tracing::error!(error, events = n, "audit events are not delivered");
                lost.fetch_add(n, Ordering::Relaxed);
            }
        }
    }))
}

struct Server {
    url: Uri,
    host: String,
    port: u16,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    token: Option<String>,
}

impl Server {
    /// Reads the current context of a kubeconfig.
    fn read(text: &[u8]) -> Result<Self, String> {
        let config = corten_schema::decode::yaml(text).map_err(|e| e.message)?;
        let named = |list: &str, name: &str| {
            let all = config[list].as_array().into_iter().flatten();
            all.into_iter()
                .find(|e| name.is_empty() || e["name"] == name)
                .cloned()
                .unwrap_or_default()
        };
        let context = named("contexts", str_at(&config, &["current-context"]));
        let cluster = named("clusters", str_at(&context, &["context", "cluster"]));
        let user = named("users", str_at(&context, &["context", "user"]));
        let (cluster, user) = (&cluster["cluster"], &user["user"]);
        let server = str_at(cluster, &["server"]);
        let url: Uri = server.parse().map_err(|e| format!("server {server:?}: {e}"))?;
        let secure = url.scheme_str() == Some("https");
        let host = url.host().ok_or("no server in the current context")?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = if secure {
            Some(tls_of(cluster, user, &host)?)
        } else {
            None
        };
        let token = data(user, "token", "tokenFile")?;
        let token = token
            .and_then(|t| String::from_utf8(t).ok())
            .map(|t| t.trim().to_owned());
        Ok(Self {
            url,
            host,
            port,
            tls,
            token,
        })
    }

    async fn deliver(&self, events: Vec<Value>) -> Result<(), String> {
        let list =
            json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events});
        let body = Bytes::from(list.to_string());
        let mut pause = INITIAL_BACKOFF;
        for attempt in 1.. {
            let sent = tokio::time::timeout(TIMEOUT, self.send(body.clone())).await;
            match sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(()) => return Ok(()),
                Err(error) if attempt == ATTEMPTS => return Err(error.to_string()),
                Err(error) => tracing::debug!(%error, attempt, "audit events are sent again"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }

    async fn connect(&self) -> io::Result<BoxIo> {
        let plain = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let Some((config, name)) = &self.tls else {
            return Ok(Box::new(plain));
        };
        let stream = TlsConnector::from(config.clone())
            .connect(name.clone(), plain)
            .await?;
        Ok(Box::new(stream))
    }

    async fn send(&self, body: Bytes) -> io::Result<()> {
        let io = TokioIo::new(self.connect().await?);
        let handshake = hyper::client::conn::http1::handshake(io).await;
        let (mut sender, connection) = handshake.map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "audit webhook's connection ended");
            }
        });
        let path = self.url.path_and_query().map_or("/", |p| p.as_str());
        let mut request = Request::post(path)
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).map_err(io::Error::other)?;
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "the server answered {}",
            answer.status()
        )))
    }
}

/// A value given in place (base64 where its key ends in `-data`) or as a file.
fn data(of: &Value, inline: &str, file: &str) -> Result<Option<Vec<u8>>, String> {
    use base64::Engine as _;
    if let Some(text) = of[inline].as_str() {
        if !inline.ends_with("-data") {
            return Ok(Some(text.as_bytes().to_vec()));
        }
        let decoded = base64::engine::general_purpose::STANDARD.decode(text);
        return decoded.map(Some).map_err(|e| format!("{inline}: {e}"));
    }
    let Some(path) = of[file].as_str() else {
        return Ok(None);
    };
    std::fs::read(path).map(Some).map_err(|e| format!("{path}: {e}"))
}

fn tls_of(
    cluster: &Value,
    user: &Value,
    host: &str,
) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
    let authority = data(cluster, "certificate-authority-data", "certificate-authority")?;
    let certificate = data(user, "client-certificate-data", "client-certificate")?;
    let key = data(user, "client-key-data", "client-key")?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|e| e.to_string());
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            Some(corten_auth::pki::Identity::new(text(certificate)?, text(key)?))
        }
        _ => None,
    };
    let insecure = cluster["insecure-skip-tls-verify"] == true;
    let config =
        tls::client_tls(identity.as_ref(), authority.as_deref(), insecure).map_err(|e| e.to_string())?;
    let name = cluster["tls-server-name"].as_str().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|e| e.to_string())?;
    Ok((Arc::new(config), name))
}
