//! Starting a server and talking to it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use corten_apiserver::audit::AuditOptions;
use corten_apiserver::{
    ApiServer, BoxIo, DirectDialer, Features, KubeletDialer, Standard, Target, bootstrap,
};
use corten_auth::pki::{Identity, Pki, ServingNames};
use corten_auth::{UserInfo, groups};
use corten_registry::{Registry, ResourceInfo};
use corten_store::embedded::{Engine, Options as EngineOptions};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

pub const ADMIN: &str = "admin-token";
pub const NOBODY: &str = "nobody-token";

/// A running server.
pub struct Harness {
    pub server: ApiServer,
    pub address: SocketAddr,
    tls: Arc<ClientConfig>,
    stop: CancellationToken,
    pub pki: Pki,
    _dir: tempfile::TempDir,
}

/// An answer, read whole.
pub struct Reply {
    pub code: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    async fn of(answer: Response<Incoming>) -> Self {
        let (parts, body) = answer.into_parts();
        Self {
            code: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.code), "{} {}", self.code, self.text());
        self.json()
    }
}

const SERVICE_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1));

/// The cluster of a harness whose server listens at this port.
pub fn cluster(pki: &Pki, port: u16) -> bootstrap::Config {
    bootstrap::Config {
        service_cidrs: vec!["10.96.0.0/16".to_owned()],
        service_ip: SERVICE_IP,
        advertise_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        advertise_port: port,
        client_ca_pem: pki.ca_pem().to_owned(),
        front_proxy_ca_pem: pki.front_proxy_authority.pem().to_owned(),
    }
}

impl Harness {
    pub async fn start() -> Self {
        Self::audited(None).await
    }

    pub async fn audited(audit: Option<AuditOptions>) -> Self {
        Self::with(audit, |engine| Arc::new(engine)).await
    }

    /// With a way of its own to pods and nodes.
    pub async fn start_with(dialer: Arc<dyn KubeletDialer>) -> Self {
        Self::built(None, Features::default(), |engine| Arc::new(engine), dialer).await
    }

    /// With something switched on.
    pub async fn featuring(
        features: Features,
        wrap: impl FnOnce(Engine) -> Arc<dyn corten_store::Store>,
    ) -> Self {
        Self::built(None, features, wrap, Arc::new(TestDialer)).await
    }

    pub async fn with(
        audit: Option<AuditOptions>,
        wrap: impl FnOnce(Engine) -> Arc<dyn corten_store::Store>,
    ) -> Self {
        Self::built(audit, Features::default(), wrap, Arc::new(TestDialer)).await
    }

    async fn built(
        audit: Option<AuditOptions>,
        features: Features,
        wrap: impl FnOnce(Engine) -> Arc<dyn corten_store::Store>,
        dialer: Arc<dyn KubeletDialer>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names = ServingNames::standard("cluster.local", SERVICE_IP, &[], "localhost");
        let pki = Pki::load_or_create(&dir.path().join("pki"), &names).unwrap();
        let store = Engine::open(dir.path().join("store"), EngineOptions::default())
            .await
            .unwrap();
        let options = corten_registry::Options {
            resources: ResourceInfo::selected(&features.selection),
            ..corten_registry::Options::default()
        };
        let registry = Registry::open(wrap(store), options).await.unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let standard = Standard {
            registry,
            cluster: cluster(&pki, address.port()),
            issuer: "https://kubernetes.default.svc.cluster.local".to_owned(),
            static_tokens: vec![
                (ADMIN.to_owned(), UserInfo::new("admin", [groups::MASTERS])),
                (NOBODY.to_owned(), UserInfo::new("nobody", [])),
            ],
            audit,
            features,
            limits: Default::default(),
            dialer,
        };
        let (server, tls) = standard.start(&pki).await.unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(corten_apiserver::serve(
            server.clone(),
            vec![listener],
            tls,
            stop.clone(),
        ));
        let mut roots = RootCertStore::empty();
        roots.add(pki.authority.certificate()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            server,
            address,
            tls: Arc::new(tls),
            stop,
            pki,
            _dir: dir,
        }
    }

    /// Sends one request on a connection of its own.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.send_over(self.tls.clone(), request).await
    }

    /// A client's TLS that shows a certificate.
    pub fn with_certificate(&self, identity: &Identity) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.pki.authority.certificate()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(identity.chain().unwrap(), identity.key().unwrap());
        Arc::new(tls.unwrap())
    }

    /// Watches until an event's object is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut event = self.until_event(path, |event| wanted(&event["object"])).await;
        event["object"].take()
    }

    /// Watches until an event is as wanted.
    pub async fn until_event(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let request = self.request("GET", path, ADMIN).body(Full::default()).unwrap();
        let mut body = self.send(request).await.into_body();
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            text.extend_from_slice(&frame.unwrap().into_data().unwrap());
            while let Some(end) = text.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line).unwrap();
                if wanted(&event) {
                    return event;
                }
            }
        }
        panic!("{path}: the watch ended before the object was as wanted")
    }

    /// A bare TLS connection.
    pub async fn connect(&self) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(self.tls.clone())
            .connect(name, tcp)
            .await
            .unwrap()
    }

    /// Sends one request on a connection of its own with this TLS.
    pub async fn send_over(
        &self,
        tls: Arc<ClientConfig>,
        request: Request<Full<Bytes>>,
    ) -> Response<Incoming> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = TlsConnector::from(tls).connect(name, tcp).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
            .await
            .unwrap();
        tokio::spawn(connection.with_upgrades());
        let answer = sender.send_request(request).await.unwrap();
        // The connection lives as long as its sender; a watch needs both.
        tokio::spawn(async move {
            let _ = sender.ready().await;
        });
        answer
    }

    /// Sends one request over HTTP/2, on a connection of its own.
    pub async fn whole_over_2(&self, request: Request<Full<Bytes>>) -> Reply {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let tls = TlsConnector::from(Arc::new(tls))
            .connect(name, tcp)
            .await
            .unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        Reply::of(sender.send_request(request).await.unwrap()).await
    }

    pub fn request(&self, method: &str, path: &str, token: &str) -> http::request::Builder {
        let mut b = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost");
        if !token.is_empty() {
            b = b.header("authorization", format!("Bearer {token}"));
        }
        b
    }

    pub async fn whole(&self, request: Request<Full<Bytes>>) -> Reply {
        Reply::of(self.send(request).await).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.whole(self.request("GET", path, ADMIN).body(Full::default()).unwrap())
            .await
    }

    pub async fn get_as(&self, path: &str, accept: &str) -> Reply {
        self.whole(
            self.request("GET", path, ADMIN)
                .header("accept", accept)
                .body(Full::default())
                .unwrap(),
        )
        .await
    }

    pub async fn body(&self, method: &str, path: &str, content_type: &str, body: impl Into<Bytes>) -> Reply {
        let b = self
            .request(method, path, ADMIN)
            .header("content-type", content_type);
        self.whole(b.body(Full::new(body.into())).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.body("POST", path, "application/json", body.to_string())
            .await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.body("PUT", path, "application/json", body.to_string()).await
    }

    pub async fn merge(&self, path: &str, body: Value) -> Reply {
        self.body("PATCH", path, "application/merge-patch+json", body.to_string())
            .await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.whole(self.request("DELETE", path, ADMIN).body(Full::default()).unwrap())
            .await
    }
}

/// Reaches 192.0.2.0/24 on loopback: endpoints may not have loopback addresses.
struct TestDialer;

#[async_trait::async_trait]
impl KubeletDialer for TestDialer {
    async fn connect(&self, target: &Target) -> std::io::Result<BoxIo> {
        let mut target = target.clone();
        if target.host.starts_with("192.0.2.") {
            target.host = "127.0.0.1".to_owned();
        }
        DirectDialer.connect(&target).await
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.server.stop();
        self.stop.cancel();
    }
}
