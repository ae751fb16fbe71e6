//! `healthCheckNodePort`: tells a load balancer whether this node has endpoints of a service. Answers as kube-proxy does.

use corten_client::{CancellationToken, Key};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections of one port at a time; the next wait.
const MAX_CONNECTIONS: usize = 32;
/// After which a connection ends, whatever it does.
const CONNECTION_LIFE: Duration = Duration::from_secs(10);

/// After a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One port per service that has one.
#[derive(Default)]
pub(crate) struct Servers {
    healthy: Arc<AtomicBool>,
    running: BTreeMap<Key, Server>,
}

struct Server {
    port: u16,
    state: Arc<State>,
    stop: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct State {
    service: Key,
    local_endpoints: AtomicUsize,
    healthy: Arc<AtomicBool>,
}

impl Servers {
    /// Whether the rules in the kernel are what they should be.
    pub(crate) fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
    }

    /// Serves a service's state at this port, or at none. A port that is taken is tried again when the service changes.
    pub(crate) async fn set(&mut self, service: &Key, port: Option<u16>, local_endpoints: usize) {
        let Some(port) = port else {
            self.running.remove(service);
            return;
        };
        if let Some(server) = self.running.get(service).filter(|server| server.port == port) {
            server
                .state
                .local_endpoints
                .store(local_endpoints, Ordering::Relaxed);
            return;
        }
        self.running.remove(service);
        let listener = match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(%service, port, %error, "the service's health check port could not be opened");
                return;
            }
        };
        let state = Arc::new(State {
            service: service.clone(),
            local_endpoints: local_endpoints.into(),
            healthy: Arc::clone(&self.healthy),
        });
        let stop = CancellationToken::new();
        tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(serve(listener, Arc::clone(&state))),
        );
        self.running.insert(service.clone(), Server { port, state, stop });
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answering = answer(stream, Arc::clone(&state));
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(CONNECTION_LIFE, answering).await;
                    drop(place);
                });
            }
            // The connection is gone already, or this process has no descriptor left; others end.
            Err(error) => {
                tracing::debug!(%error, "accepting a health check");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, state: Arc<State>) {
    let respond = service_fn(move |_| {
        let response = response(&state);
        async move {
            response
                .map(Ok::<_, Infallible>)
                .unwrap_or_else(|_| Ok(Response::default()))
        }
    });
    let http = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), respond);
    if let Err(error) = http.await {
        tracing::debug!(%error, "a health check ended early");
    }
}

fn response(state: &State) -> http::Result<Response<Full<Bytes>>> {
    let count = state.local_endpoints.load(Ordering::Relaxed);
    let healthy = state.healthy.load(Ordering::Relaxed);
    let (namespace, name) = (state.service.ns(), state.service.name());
    let body = format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{namespace}\",\n\t\t\"name\": \"{name}\"\n\t}},\n\t\"localEndpoints\": {count},\n\t\"serviceProxyHealthy\": {healthy}\n}}"
    );
    let status = if count > 0 && healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Response::builder()
        .status(status)
        .header("Content-Type", "application/json")
        .header("X-Content-Type-Options", "nosniff")
        .header("X-Load-Balancing-Endpoint-Weight", count)
        .body(body.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_healthy_node_with_endpoints_is_healthy() {
        let state = State {
            service: Key::new("shop", "web"),
            local_endpoints: 2.into(),
            healthy: Arc::default(),
        };
        assert_eq!(response(&state).unwrap().status(), 503);
        state.healthy.store(true, Ordering::Relaxed);
        let healthy = response(&state).unwrap();
        assert_eq!(healthy.status(), 200);
        assert_eq!(healthy.headers()["x-load-balancing-endpoint-weight"], "2");
        state.local_endpoints.store(0, Ordering::Relaxed);
        assert_eq!(response(&state).unwrap().status(), 503);
    }

    #[tokio::test]
    async fn a_client_gets_the_answer_of_kube_proxy() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let state = State {
            service: Key::new("shop", "web"),
            local_endpoints: 1.into(),
            healthy: Arc::new(true.into()),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Arc::new(state)));
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        server.abort();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["service"]["namespace"], "shop");
        assert_eq!(body["localEndpoints"], 1);
        assert_eq!(body["serviceProxyHealthy"], true);
    }
}
