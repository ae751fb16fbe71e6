//! The kubelet's HTTPS server: logs, exec, attach, port-forward, statistics. Every request is authenticated and
//! authorized first.

pub mod access;
mod logs;
mod metrics;
mod stats;
mod streams;

pub use access::{Access, Attributes, Delegated, User};

use crate::config::ServerConfig;
use crate::context::Context;
use crate::pods::Pods;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections at the same time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
const HANDSHAKE: Duration = Duration::from_secs(10);

type Body = BoxBody<Bytes, std::io::Error>;
type Answer = Response<Body>;

/// What handlers need.
struct Server {
    cx: Arc<Context>,
    pods: Arc<Pods>,
    access: Arc<dyn Access>,
}

/// Serves until `stop`.
pub(crate) fn start(config: ServerConfig, cx: Arc<Context>, pods: Arc<Pods>, stop: CancellationToken) {
    let server = Arc::new(Server {
        cx,
        pods,
        access: config.access,
    });
    let acceptor = tokio_rustls::TlsAcceptor::from(config.tls);
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::spawn(async move {
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = config.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "kubelet connection not accepted");
                    continue;
                }
            };
            let (acceptor, server, stop) = (acceptor.clone(), Arc::clone(&server), stop.clone());
            tokio::spawn(async move {
                let connection = connection(acceptor, stream, server);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = connection => {}
                }
                drop(slot);
            });
        }
    });
}

async fn connection(acceptor: tokio_rustls::TlsAcceptor, stream: tokio::net::TcpStream, server: Arc<Server>) {
    // Small frames (a key pressed in a terminal) are not to wait for more.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return,
    };
    let certificates = stream
        .get_ref()
        .1
        .peer_certificates()
        .map(<[_]>::to_vec)
        .unwrap_or_default();
    let certificates = Arc::new(certificates);
    let service = hyper::service::service_fn(move |request| {
        let (server, certificates) = (Arc::clone(&server), Arc::clone(&certificates));
        async move { Ok::<_, Infallible>(server.answer(request, &certificates).await) }
    });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    if let Err(error) = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await
    {
        tracing::debug!(error, "kubelet connection ended");
    }
}

impl Server {
    async fn answer(
        &self,
        request: Request<Incoming>,
        certificates: &[rustls::pki_types::CertificateDer<'static>],
    ) -> Answer {
        let bearer = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.strip_prefix("Bearer "))
            .map(str::trim);
        let user = match self.access.authenticate(certificates, bearer).await {
            Ok(Some(user)) => user,
            Ok(None) => return text(StatusCode::UNAUTHORIZED, "Unauthorized"),
            Err(error) => {
                tracing::warn!(error, "request to the kubelet not authenticated");
                return text(StatusCode::UNAUTHORIZED, "Unauthorized");
            }
        };
        let (verb, subresources) = access::attributes(request.method(), request.uri().path());
        for subresource in &subresources {
            let attributes = Attributes {
                verb,
                node: &self.cx.node_name,
                subresource,
                path: request.uri().path(),
            };
            match self.access.authorize(&user, &attributes).await {
                Ok(true) => return self.route(request).await,
                Ok(false) => {}
                Err(error) => {
                    let message = format!(
                        "Authorization error (user={}, verb={verb}, resource=nodes, subresource={subresource})",
                        user.name
                    );
                    tracing::warn!(error, "{message}");
                    return text(StatusCode::INTERNAL_SERVER_ERROR, message);
                }
            }
        }
        let message = format!(
            "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{}])",
            user.name,
            subresources.join(" ")
        );
        text(StatusCode::FORBIDDEN, message)
    }

    async fn route(&self, mut request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        let query = Query::new(request.uri().query().unwrap_or_default());
        let get = *request.method() == Method::GET;
        match parts.as_slice() {
            ["healthz" | "livez" | "readyz", ..] => text(StatusCode::OK, "ok"),
            ["pods"] if get => stats::pods(&self.pods),
            ["runningpods"] if get => stats::running_pods(&self.pods),
            ["containerLogs", ns, pod, container] if get => logs::serve(self, ns, pod, container, &query),
            ["exec", ns, pod, container] => {
                streams::exec(self, &mut request, ns, pod, None, container, &query)
            }
            ["exec", ns, pod, uid, container] => {
                streams::exec(self, &mut request, ns, pod, Some(uid), container, &query)
            }
            ["attach", ns, pod, container] => {
                streams::attach(self, &mut request, ns, pod, None, container, &query)
            }
            ["attach", ns, pod, uid, container] => {
                streams::attach(self, &mut request, ns, pod, Some(uid), container, &query)
            }
            ["portForward", ns, pod] => streams::port_forward(self, &mut request, ns, pod, None, &query),
            ["portForward", ns, pod, uid] => {
                streams::port_forward(self, &mut request, ns, pod, Some(uid), &query)
            }
            ["run", ns, pod, container] => streams::run(self, ns, pod, None, container, &query).await,
            ["run", ns, pod, uid, container] => {
                streams::run(self, ns, pod, Some(uid), container, &query).await
            }
            ["stats", "summary"] => stats::summary(self).await,
            ["metrics"] => metrics::own(self),
            ["metrics", "resource"] => metrics::resource(self).await,
            ["metrics", "cadvisor"] => metrics::cadvisor(self).await,
            ["metrics", "probes"] => text(StatusCode::OK, ""),
            ["configz"] => stats::configz(&self.cx),
            _ => text(StatusCode::NOT_FOUND, "404 page not found"),
        }
    }
}

/// Parameters of a request, decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn new(text: &str) -> Self {
        let decode = |s: &str| percent_decode(&s.replace('+', " "));
        let pairs = text.split('&').filter(|p| !p.is_empty()).map(|p| {
            let (key, value) = p.split_once('=').unwrap_or((p, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0
            .iter()
            .filter(move |(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some("1" | "true" | "True"))
    }
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten();
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed()
}

fn answer(status: StatusCode, kind: &'static str, body: Body) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn text(status: StatusCode, message: impl Into<String>) -> Answer {
    answer(status, "text/plain; charset=utf-8", full(message.into()))
}

fn json(value: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => answer(StatusCode::OK, "application/json", full(body)),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn queries_are_decoded() {
        let q = Query::new("command=ls&command=-l%20a&input=1&x=a+b&bad=%zz");
        assert_eq!(q.all("command").collect::<Vec<_>>(), ["ls", "-l a"]);
        assert!(q.flag("input") && !q.flag("tty"));
        assert_eq!((q.get("x"), q.get("bad")), (Some("a b"), Some("%zz")));
    }
}
