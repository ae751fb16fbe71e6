//! The sockets: UDP and TCP at one address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_proto::op::{Message, Query, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::answer::{Outcome, answer};
use crate::forward::{ForwardError, Forwarder};
use crate::records::Records;
use crate::wire::{self, Request};

/// TCP connections served at once; more wait in the kernel's queue.
const MAX_TCP_CONNECTIONS: usize = 128;
/// A TCP connection without a question is closed (RFC 7766 asks for a few seconds).
const TCP_IDLE: Duration = Duration::from_secs(8);
const MAX_REQUEST_BYTES: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken, or the address is not on this machine.
    #[error("DNS server cannot use {address}: {source}")]
    Bind {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("DNS server cannot use a socket: {0}")]
    Socket(#[from] std::io::Error),
}

/// Both sockets of a server. They may have been opened in another network namespace.
#[derive(Debug)]
pub struct Sockets {
    pub udp: std::net::UdpSocket,
    pub tcp: std::net::TcpListener,
}

impl Sockets {
    /// Opens both at one address in the calling thread's namespace.
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        let error = |source| Error::Bind { address, source };
        let tcp = std::net::TcpListener::bind(address).map_err(error)?;
        let address = tcp.local_addr().map_err(error)?;
        let udp = std::net::UdpSocket::bind(address).map_err(error)?;
        Ok(Self { udp, tcp })
    }
}

/// A running server; it stops when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    records: Arc<ArcSwap<Records>>,
    tasks: [JoinHandle<()>; 2],
}

/// What every request needs.
#[derive(Debug, Clone)]
struct Shared {
    records: Arc<ArcSwap<Records>>,
    forwarder: Forwarder,
    turn: Arc<AtomicUsize>,
}

impl Server {
    /// Starts serving on the current runtime.
    pub fn start(sockets: Sockets, records: Records, forwarder: Forwarder) -> Result<Self, Error> {
        sockets.udp.set_nonblocking(true)?;
        sockets.tcp.set_nonblocking(true)?;
        let udp = Arc::new(UdpSocket::from_std(sockets.udp)?);
        let tcp = TcpListener::from_std(sockets.tcp)?;
        let address = udp.local_addr()?;
        let records = Arc::new(ArcSwap::from_pointee(records));
        let shared = Shared {
            records: records.clone(),
            forwarder,
            turn: Arc::default(),
        };
        let tasks = [
            tokio::spawn(serve_udp(udp, shared.clone())),
            tokio::spawn(serve_tcp(tcp, shared)),
        ];
        Ok(Self {
            address,
            records,
            tasks,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, answers come from these records.
    pub fn set_records(&self, records: Records) {
        self.records.store(Arc::new(records));
    }

    /// Changes the records: all of `change` is seen at once. One caller at a time; of two, one could be lost.
    pub fn update(&self, change: impl FnOnce(&mut Records)) {
        let mut records = Records::clone(&self.records.load());
        change(&mut records);
        self.set_records(records);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Shared) {
    let mut buffer = vec![0; MAX_REQUEST_BYTES];
    loop {
        let (n, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // An ICMP error of an earlier response.
            Err(error) => {
                tracing::debug!(%error, "DNS socket");
                continue;
            }
        };
        match wire::read(&buffer[..n]) {
            Request::Ignore => {}
            Request::Refuse(response) => send(&socket, response.to_vec().ok(), from).await,
            Request::Question(request, query) => match shared.local(&request, &query) {
                Ok(response) => send(&socket, wire::udp_bytes(&request, &response), from).await,
                Err(outcome) => {
                    let (shared, socket) = (shared.clone(), socket.clone());
                    // Bounded by the forwarder: one too many is answered at once.
                    tokio::spawn(async move {
                        let response = shared.elsewhere(&request, &query, outcome, false).await;
                        send(&socket, wire::udp_bytes(&request, &response), from).await;
                    });
                }
            },
        }
    }
}

async fn send(socket: &UdpSocket, bytes: Option<Vec<u8>>, to: SocketAddr) {
    let Some(bytes) = bytes else { return };
    if let Err(error) = socket.send_to(&bytes, to).await {
        tracing::debug!(%to, %error, "DNS response not sent");
    }
}

async fn serve_tcp(listener: TcpListener, shared: Shared) {
    let slots = Arc::new(Semaphore::new(MAX_TCP_CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "DNS connection");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            if let Err(error) = serve_connection(stream, &shared).await {
                tracing::debug!(%error, "DNS connection");
            }
            drop(slot);
        });
    }
}

async fn serve_connection(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut buffer = vec![0; MAX_REQUEST_BYTES];
    loop {
        let Ok(Ok(len)) = timeout(TCP_IDLE, stream.read_u16()).await else {
            return Ok(());
        };
        let Some(request) = buffer.get_mut(..usize::from(len)) else {
            return Ok(());
        };
        timeout(TCP_IDLE, stream.read_exact(request)).await??;
        let response = match wire::read(request) {
            Request::Ignore => return Ok(()),
            Request::Refuse(response) => *response,
            Request::Question(request, query) => match shared.local(&request, &query) {
                Ok(response) => response,
                Err(outcome) => shared.elsewhere(&request, &query, outcome, true).await,
            },
        };
        let bytes = response.to_vec().map_err(std::io::Error::other)?;
        let len = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
        timeout(
            TCP_IDLE,
            stream.write_all(&[&len.to_be_bytes(), bytes.as_slice()].concat()),
        )
        .await??;
    }
}

impl Shared {
    /// The response, or the outcome that needs somebody else.
    fn local(&self, request: &Message, query: &Query) -> Result<Message, Outcome> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let outcome = answer(&self.records.load(), query, turn);
        wire::authoritative(request, &outcome).ok_or(outcome)
    }

    async fn elsewhere(&self, request: &Message, query: &Query, outcome: Outcome, tcp: bool) -> Message {
        let (alias, name) = match outcome {
            Outcome::Alias { answers, target } => (answers, target),
            _ => (Vec::new(), query.name().clone()),
        };
        let mut question = request.clone();
        question.queries.clear();
        question.add_query(Query::query(name, query.query_type()));
        match self.forwarder.ask(&question, tcp).await {
            Ok(answer) if alias.is_empty() => relayed(request, answer),
            Ok(answer) => wire::aliased(request, &alias, &answer),
            Err(ForwardError::NoServer) if alias.is_empty() => wire::failure(request, ResponseCode::Refused),
            Err(error) => {
                tracing::debug!(name = %query.name(), %error, "DNS question not forwarded");
                let mut response = wire::failure(request, ResponseCode::ServFail);
                response.add_answers(alias);
                response
            }
        }
    }
}

/// Another server's answer under this request's id.
fn relayed(request: &Message, mut answer: Message) -> Message {
    answer.metadata.id = request.metadata.id;
    answer.metadata.recursion_desired = request.metadata.recursion_desired;
    if request.edns.is_none() {
        answer.edns = None;
    }
    answer
}
