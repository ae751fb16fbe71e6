//! Accepting connections: TLS handshakes, the connection limit, HTTP/1.1 and HTTP/2, and draining.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::congestion::Congestion;
use crate::limits;
use crate::peer::Peer;
use crate::server::ApiServer;
use crate::unread::ReadOn;

/// Serves `server` on every listener until `stop` is cancelled, then lets requests under way end (at most
/// [`limits::DRAIN_TIMEOUT`]).
pub async fn serve(
    server: ApiServer,
    listeners: Vec<TcpListener>,
    tls: Arc<ServerConfig>,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(limits::MAX_CONNECTIONS));
    let (alive, _) = watch::channel(());
    let mut loops = tokio::task::JoinSet::new();
    for listener in listeners {
        let front = Front {
            server: server.clone(),
            tls: TlsAcceptor::from(tls.clone()),
            http: http_builder(),
            slots: slots.clone(),
            stop: stop.clone(),
            _alive: alive.subscribe(),
        };
        loops.spawn(front.accept(listener));
    }
    while loops.join_next().await.is_some() {}
    // Every connection holds a receiver of `alive`: when the last is dropped the channel is closed.
    if tokio::time::timeout(limits::DRAIN_TIMEOUT, alive.closed())
        .await
        .is_err()
    {
        tracing::info!("connections still open after the drain timeout; leaving them");
    }
    if let Some(audit) = &server.inner().audit {
        audit.close().await;
    }
}

fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIMEOUT)
        // As Go writes them.
        .title_case_headers(true)
        .max_buf_size(limits::MAX_HEADER_BYTES);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::MAX_H2_STREAMS)
        .max_header_list_size(limits::MAX_HEADER_BYTES as u32)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(256 * 1024 * 25);
    http
}

/// How long the shortest beginning is by which HTTP in the clear is told (Go's `tlsRecordHeaderLooksLikeHTTP`).
const METHOD_BYTES: usize = 5;
const METHODS: [&[u8; METHOD_BYTES]; 5] = [b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"];
const IN_THE_CLEAR: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

#[derive(Clone)]
struct Front {
    server: ApiServer,
    tls: TlsAcceptor,
    http: auto::Builder<TokioExecutor>,
    slots: Arc<Semaphore>,
    stop: CancellationToken,
    /// Held so that draining can see when the last connection is gone.
    _alive: watch::Receiver<()>,
}

impl Front {
    async fn accept(self, listener: TcpListener) {
        let congestion = Congestion::of(&listener);
        loop {
            let Ok(slot) = self.slots.clone().acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                a = listener.accept() => a,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok((socket, remote)) => {
                    congestion.accepted(&socket, remote);
                    let front = self.clone();
                    tokio::spawn(async move {
                        front.connection(socket, remote).await;
                        drop(slot);
                    });
                }
                // Out of descriptors and the like: the connection is gone, the listener is not.
                Err(e) => {
                    tracing::warn!(error = %e, "accept failed");
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// `None` where the client does not speak TLS, and has been told.
    async fn handshake(&self, mut socket: TcpStream) -> io::Result<Option<TlsStream<TcpStream>>> {
        let mut head = [0; METHOD_BYTES];
        socket.peek(&mut head).await?;
        if !METHODS.contains(&&head) {
            return self.tls.accept(socket).await.map(Some);
        }
        // What is left unread would have the connection reset, and the answer with it.
        let mut request = [0; 4096];
        let _ = socket.read(&mut request).await?;
        socket.write_all(IN_THE_CLEAR).await?;
        socket.shutdown().await?;
        Ok(None)
    }

    async fn connection(self, socket: TcpStream, remote: SocketAddr) {
        let _ = socket.set_nodelay(true);
        let accepted = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, self.handshake(socket)).await;
        let mut stream = match accepted {
            Ok(Ok(Some(stream))) => stream,
            Ok(Ok(None)) => return tracing::debug!(%remote, "HTTP where HTTPS is spoken"),
            Ok(Err(e)) => return tracing::debug!(%remote, error = %e, "TLS handshake failed"),
            Err(_) => return tracing::debug!(%remote, "TLS handshake timed out"),
        };
        stream.get_mut().1.set_buffer_limit(Some(limits::TLS_WRITE_BYTES));
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let authenticator = &self.server.inner().authenticator;
        let (authorities, proxies) = (&authenticator.certificates, &authenticator.front_proxies);
        let peer = Arc::new(Peer::from_connection(remote, certificates, authorities, proxies));
        let server = self.server.clone();
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (server, peer) = (server.clone(), peer.clone());
            let request = request.map(ReadOn::new);
            async move { Ok::<_, std::convert::Infallible>(server.handle(request, peer).await) }
        });
        let http = self.http.clone();
        let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(e) = ended {
            tracing::debug!(%remote, error = %e, "connection ended");
        }
    }
}
