//! The keeper's other end: starts it where it does not run, sends requests, hands on its events.

use crate::keeper::protocol::{Answer, Call, Event, Inbox, Outbox, Reply, Request, Snapshot};
use crate::keeper::{self};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

/// Requests on their way; callers wait when it is full.
const REQUESTS: usize = 256;
/// Events not yet handled. The link stops reading when it is full.
const EVENTS: usize = 1024;

type Answered = io::Result<(Reply, Vec<OwnedFd>)>;

struct Outgoing {
    request: Request,
    fds: Vec<OwnedFd>,
    answer: oneshot::Sender<Answered>,
}

/// A connection to the keeper. Cheap to clone.
#[derive(Clone)]
pub struct KeeperLink {
    requests: mpsc::Sender<Outgoing>,
}

/// Starts a keeper for `state`; returns when it serves. One that runs already is left alone.
pub async fn spawn(command: &[OsString], state: &Path, cgroup: &str) -> io::Result<()> {
    let (program, args) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let output = tokio::process::Command::new(program)
        .args(args)
        .arg("--state")
        .arg(state)
        .arg("--cgroup")
        .arg(cgroup)
        // Where mimalloc is the allocator: the keeper needs a megabyte, not what a large program would want next.
        .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
        .stdin(std::process::Stdio::null())
        .output()
        .await?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "start the keeper: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

impl KeeperLink {
    /// Connects and says hello. The receiver ends when the keeper does.
    pub async fn connect(state: &Path) -> io::Result<(Self, Snapshot, mpsc::Receiver<Event>)> {
        let stream = keeper::connect(state)?;
        stream.set_nonblocking(true)?;
        let (requests, outgoing) = mpsc::channel(REQUESTS);
        let (events, received) = mpsc::channel(EVENTS);
        tokio::spawn(run(UnixStream::from_std(stream)?, outgoing, events));
        let link = Self { requests };
        match link.call(Request::Hello, Vec::new()).await? {
            (Reply::Snapshot(snapshot), _) => Ok((link, snapshot, received)),
            _ => Err(io::Error::other("the keeper did not answer hello")),
        }
    }

    /// Sends a request and waits for its answer. [`Reply::Failed`] becomes an error.
    pub async fn call(&self, request: Request, fds: Vec<OwnedFd>) -> Answered {
        let lost = || io::Error::new(io::ErrorKind::BrokenPipe, "the keeper process was lost");
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(Outgoing { request, fds, answer })
            .await
            .map_err(|_| lost())?;
        match answered.await.map_err(|_| lost())?? {
            (Reply::Failed { message }, _) => Err(io::Error::other(message)),
            other => Ok(other),
        }
    }

    /// For requests that answer with nothing but success.
    pub async fn tell(&self, request: Request) -> io::Result<()> {
        self.call(request, Vec::new()).await.map(drop)
    }
}

/// Everything one connection holds.
#[derive(Default)]
struct Link {
    inbox: Inbox,
    outbox: Outbox,
    waiting: HashMap<u64, oneshot::Sender<Answered>>,
    next_seq: u64,
}

/// Ends when the keeper closes, or every handle is gone. Dropping `Link` fails whoever still waits.
async fn run(socket: UnixStream, mut outgoing: mpsc::Receiver<Outgoing>, events: mpsc::Sender<Event>) {
    let mut link = Link::default();
    loop {
        let interest = if link.outbox.is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        tokio::select! {
            taken = outgoing.recv() => match taken {
                Some(next) => link.send(next),
                None => return,
            },
            ready = socket.ready(interest) => {
                let Ok(ready) = ready else { return };
                if ready.is_writable() && !link.outbox.is_empty() && link.flush(&socket).is_err() {
                    return;
                }
                if (ready.is_readable() || ready.is_read_closed()) && link.fill(&socket).is_err() {
                    return;
                }
            }
        }
        if link.deliver(&events).await.is_err() {
            return;
        }
    }
}

impl Link {
    fn flush(&mut self, socket: &UnixStream) -> io::Result<()> {
        let sent = socket.try_io(Interest::WRITABLE, || match self.outbox.flush(socket.as_fd()) {
            Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
            other => other,
        });
        match sent {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    fn fill(&mut self, socket: &UnixStream) -> io::Result<()> {
        match socket.try_io(Interest::READABLE, || self.inbox.fill(socket.as_fd())) {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn send(&mut self, next: Outgoing) {
        self.next_seq += 1;
        let call = Call {
            seq: self.next_seq,
            request: next.request,
        };
        match self.outbox.push(&call, next.fds) {
            Ok(()) => drop(self.waiting.insert(self.next_seq, next.answer)),
            Err(error) => drop(next.answer.send(Err(error))),
        }
    }

    async fn deliver(&mut self, events: &mpsc::Sender<Event>) -> io::Result<()> {
        while let Some(answer) = self.inbox.next::<Answer>()? {
            match answer {
                Answer::Reply { seq, reply } => {
                    let fds = self.inbox.take_fds(reply.fd_count())?;
                    if let Some(waiting) = self.waiting.remove(&seq) {
                        // A caller that gave up is no reason to stop.
                        let _ = waiting.send(Ok((reply, fds)));
                    }
                }
                Answer::Event(event) => events.send(event).await.map_err(|_| io::ErrorKind::BrokenPipe)?,
            }
        }
        Ok(())
    }
}
