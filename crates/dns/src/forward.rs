//! Asking the machine's name servers.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Questions under way at once; one more is refused with SERVFAIL. CoreDNS' deployed value.
pub const MAX_OUTSTANDING: usize = 1000;
/// One server's time for one attempt.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Longer answers come by TCP; a thousand questions under way then hold one megabyte of buffers.
const MAX_UDP_BYTES: u16 = 1232;

/// Why there is no answer from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    #[error("there is no name server to ask")]
    NoServer,
    #[error("{MAX_OUTSTANDING} questions are under way already")]
    Busy,
    #[error("no name server answered")]
    NoAnswer,
}

/// The servers and the bound on what is asked of them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Forwarder {
    servers: Arc<[SocketAddr]>,
    outstanding: Arc<Semaphore>,
}

impl Forwarder {
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers: servers.into(),
            outstanding: Arc::new(Semaphore::new(MAX_OUTSTANDING)),
        }
    }

    /// The first server's answer, whatever it says; the next server's where one does not answer. `tcp` asks by TCP
    /// at once, as the client did; else a truncated answer is asked for again by TCP.
    pub(crate) async fn ask(&self, question: &Message, tcp: bool) -> Result<Message, ForwardError> {
        if self.servers.is_empty() {
            return Err(ForwardError::NoServer);
        }
        let _permit = self.outstanding.try_acquire().map_err(|_| ForwardError::Busy)?;
        let mut question = question.clone();
        question.metadata.id = rand::random();
        question.metadata.recursion_desired = true;
        if let Some(edns) = &mut question.edns {
            edns.set_max_payload(MAX_UDP_BYTES);
        }
        for server in self.servers.iter() {
            match timeout(ATTEMPT, ask_one(*server, &question, tcp)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => tracing::debug!(%server, %error, "name server failed"),
                Err(_) => tracing::debug!(%server, "name server did not answer in time"),
            }
        }
        Err(ForwardError::NoAnswer)
    }
}

async fn ask_one(server: SocketAddr, question: &Message, tcp: bool) -> std::io::Result<Message> {
    let bytes = question.to_vec().map_err(std::io::Error::other)?;
    if !tcp {
        let answer = ask_udp(server, question, &bytes).await?;
        if !answer.metadata.truncation {
            return Ok(answer);
        }
    }
    ask_tcp(server, question, &bytes).await
}

/// From a fresh socket, so that its random port is part of what a forger would have to guess; whatever is not the
/// answer to this very question is ignored.
async fn ask_udp(server: SocketAddr, question: &Message, bytes: &[u8]) -> std::io::Result<Message> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; usize::from(MAX_UDP_BYTES)];
    loop {
        let n = socket.recv(&mut buffer).await?;
        if let Some(answer) = answer_to(question, &buffer[..n]) {
            return Ok(answer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, question: &Message, bytes: &[u8]) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), bytes].concat()).await?;
    let len = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(len)];
    stream.read_exact(&mut buffer).await?;
    answer_to(question, &buffer).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

fn answer_to(question: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let same = answer.metadata.id == question.metadata.id && answer.queries == question.queries;
    same.then_some(answer)
}
