//! The keeper's loop: one epoll over its socket, its clients, its workers, SIGCHLD and the containers' output.

mod reaping;
mod requests;

use super::container::{Container, Drained, now_ns};
use super::protocol::{Answer, Call, Ended, Event, Inbox, Outbox, Reply};
use super::worker::{Report, Worker};
use corten_sys::cgroup::Cgroups;
use corten_sys::process;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Connections at a time; more are refused.
const MAX_CLIENTS: usize = 16;
/// Frames a client may leave unread before it is cut off; it then reconnects and takes a snapshot.
const MAX_UNSENT: usize = 4096;
/// A worker that takes longer is killed.
const WORKER_DEADLINE: Duration = Duration::from_secs(60);
/// Ends of processes whose worker has not yet reported them.
const MAX_UNCLAIMED: usize = 1024;

const LISTENER: u64 = 0;
const SIGNALS: u64 = 1;
const DIRECTORY: u64 = 2;
const FIRST_FREE: u64 = 3;

/// What a descriptor in the epoll set belongs to.
enum Source {
    Client,
    Worker,
    Output { container: String, which: usize },
}

struct Client {
    stream: UnixStream,
    inbox: Inbox,
    outbox: Outbox,
    events: bool,
}

/// Whom to answer when a worker reports.
struct Pending {
    worker: Worker,
    client: u64,
    seq: u64,
    what: Expected,
    deadline: Instant,
}

enum Expected {
    Container(Box<Container>),
    Exec { id: String },
    SandboxInit { id: String },
}

pub struct Server {
    epoll: Epoll,
    cgroups: Cgroups,
    listener: UnixListener,
    signals: SignalFd,
    /// Tells when something is deleted from the state directory.
    directory: OwnedFd,
    socket: PathBuf,
    next_token: u64,
    sources: BTreeMap<u64, Source>,
    clients: BTreeMap<u64, Client>,
    workers: BTreeMap<u64, Pending>,
    containers: BTreeMap<String, Container>,
    execs: HashMap<String, i32>,
    sandbox_inits: BTreeMap<String, i32>,
    unclaimed: VecDeque<process::Exit>,
    last_event: u64,
    stopping: bool,
}

impl Server {
    /// `socket` is the path that `listener` is bound to.
    pub fn new(listener: UnixListener, socket: PathBuf) -> io::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.add(Signal::SIGTERM);
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        epoll.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNALS))?;
        let directory = watch_deletions(&socket)?;
        epoll.add(&directory, EpollEvent::new(EpollFlags::EPOLLIN, DIRECTORY))?;
        Ok(Self {
            epoll,
            cgroups: Cgroups::detect()?,
            listener,
            signals,
            directory,
            socket,
            next_token: FIRST_FREE,
            sources: BTreeMap::new(),
            clients: BTreeMap::new(),
            workers: BTreeMap::new(),
            containers: BTreeMap::new(),
            execs: HashMap::new(),
            sandbox_inits: BTreeMap::new(),
            unclaimed: VecDeque::new(),
            last_event: 0,
            stopping: false,
        })
    }

    pub fn run(mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); 64];
        while !self.stopping {
            let count = match self.epoll.wait(&mut events, self.timeout()) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..count] {
                match event.data() {
                    LISTENER => self.accept(),
                    SIGNALS => self.take_signals(),
                    DIRECTORY => while rustix::io::read(&self.directory, &mut [0u8; 4096]).is_ok() {},
                    token => self.ready(token, event.events()),
                }
            }
            self.kill_overdue_workers();
            self.stopping |= self.is_abandoned();
        }
        Ok(())
    }

    /// Nobody can reach a keeper whose socket was deleted (with its data directory); without containers it has no
    /// reason to go on.
    fn is_abandoned(&self) -> bool {
        let idle = self.clients.is_empty() && self.workers.is_empty();
        idle && self.containers.values().all(|container| container.exit.is_some()) && !self.socket.exists()
    }

    fn timeout(&self) -> EpollTimeout {
        let next = self.workers.values().map(|pending| pending.deadline).min();
        next.map_or(EpollTimeout::NONE, |deadline| {
            EpollTimeout::try_from(
                deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1),
            )
            .unwrap_or(EpollTimeout::NONE)
        })
    }

    /// The worker's socket then ends, and that fails its request.
    fn kill_overdue_workers(&mut self) {
        let now = Instant::now();
        for pending in self
            .workers
            .values_mut()
            .filter(|pending| pending.deadline <= now)
        {
            let _ = process::signal(pending.worker.pid, libc::SIGKILL);
            pending.deadline = now + WORKER_DEADLINE;
        }
    }

    fn watch(&mut self, fd: impl AsFd, source: Source) -> io::Result<u64> {
        let token = self.next_token;
        self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        self.next_token += 1;
        self.sources.insert(token, source);
        Ok(token)
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let same_user = corten_sys::fdpass::peer_uid(stream.as_fd())
                .is_ok_and(|uid| uid == nix::unistd::geteuid().as_raw());
            if !same_user || self.clients.len() >= MAX_CLIENTS || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let Ok(token) = self.watch(&stream, Source::Client) else {
                continue;
            };
            let client = Client {
                stream,
                inbox: Inbox::default(),
                outbox: Outbox::default(),
                events: false,
            };
            self.clients.insert(token, client);
        }
    }

    fn ready(&mut self, token: u64, flags: EpollFlags) {
        match self.sources.get(&token) {
            Some(Source::Client) => self.client_ready(token, flags),
            Some(Source::Worker) => self.worker_ready(token),
            Some(Source::Output { container, which }) => {
                let (container, which) = (container.clone(), *which);
                self.output_ready(token, &container, which);
            }
            None => {}
        }
    }

    fn client_ready(&mut self, token: u64, flags: EpollFlags) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        let mut calls = Vec::new();
        let alive = loop {
            if !flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
                break true;
            }
            match client.inbox.fill(client.stream.as_fd()) {
                Ok(true) => {}
                Ok(false) => break false,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                Err(_) => break false,
            }
            let frames = std::iter::from_fn(|| match client.inbox.next::<Call>() {
                Ok(call) => call.map(|call| {
                    client
                        .inbox
                        .take_fds(call.request.fd_count())
                        .map(|fds| (call, fds))
                }),
                Err(error) => Some(Err(error)),
            });
            let taken: io::Result<Vec<_>> = frames.collect();
            match taken {
                Ok(taken) => calls.extend(taken),
                Err(_) => break false,
            }
        };
        for (call, fds) in calls {
            self.serve(token, call, fds);
        }
        if alive {
            self.flush(token)
        } else {
            self.drop_client(token)
        }
    }

    fn drop_client(&mut self, token: u64) {
        if let Some(client) = self.clients.remove(&token) {
            let _ = self.epoll.delete(&client.stream);
        }
        self.sources.remove(&token);
    }

    /// Sends what waits; watches for room while something does.
    fn flush(&mut self, token: u64) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        let flags = match client.outbox.flush(client.stream.as_fd()) {
            Ok(true) => EpollFlags::EPOLLIN,
            Ok(false) if client.outbox.len() <= MAX_UNSENT => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
            _ => return self.drop_client(token),
        };
        let _ = self
            .epoll
            .modify(&client.stream, &mut EpollEvent::new(flags, token));
    }

    fn answer(&mut self, token: u64, seq: u64, reply: Reply, fds: Vec<OwnedFd>) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        if client.outbox.push(&Answer::Reply { seq, reply }, fds).is_ok() {
            self.flush(token);
        }
    }

    fn emit(&mut self, what: Ended) {
        self.last_event += 1;
        let event = Answer::Event(Event {
            number: self.last_event,
            what,
        });
        let listening: Vec<u64> = self
            .clients
            .iter()
            .filter(|(_, c)| c.events)
            .map(|(token, _)| *token)
            .collect();
        for token in listening {
            if let Some(client) = self.clients.get_mut(&token)
                && client.outbox.push(&event, Vec::new()).is_ok()
            {
                self.flush(token);
            }
        }
    }

    fn output_ready(&mut self, token: u64, id: &str, which: usize) {
        let Some(container) = self.containers.get_mut(id) else {
            self.sources.remove(&token);
            return;
        };
        if container.drain(which) == Drained::Ended {
            container.close_output(which);
            self.sources.remove(&token);
        }
    }

    fn worker_ready(&mut self, token: u64) {
        let Some(pending) = self.workers.get_mut(&token) else {
            return;
        };
        let report = loop {
            match pending.worker.inbox.next::<Report>() {
                Ok(Some(report)) => break report,
                Ok(None) => {}
                Err(error) => break failed(&error.to_string()),
            }
            match pending.worker.inbox.fill(pending.worker.socket.as_fd()) {
                Ok(true) => {}
                Ok(false) => break failed("the worker ended without a report"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => break failed(&error.to_string()),
            }
        };
        self.sources.remove(&token);
        let Some(mut pending) = self.workers.remove(&token) else {
            return;
        };
        let fd = if report.fd {
            pending.worker.inbox.fds.pop_front()
        } else {
            None
        };
        let (client, seq) = (pending.client, pending.seq);
        match report.result {
            Ok(pid) => self.succeeded(client, seq, pending.what, pid, fd),
            Err(message) => self.answer(client, seq, Reply::Failed { message }, Vec::new()),
        }
        self.settle_unclaimed();
    }

    fn succeeded(&mut self, client: u64, seq: u64, what: Expected, pid: i32, fd: Option<OwnedFd>) {
        match what {
            Expected::Container(mut container) => {
                container.pid = pid;
                container.pidfd = process::pidfd(pid).ok();
                container.started_at_ns = now_ns();
                if let Some(master) = fd {
                    container.outputs[0] = Some(File::from(master));
                }
                let started_at_ns = container.started_at_ns;
                self.adopt(*container);
                self.answer(client, seq, Reply::Started { pid, started_at_ns }, Vec::new());
            }
            Expected::Exec { id } => {
                self.execs.insert(id, pid);
                let reply = Reply::ExecStarted {
                    pid,
                    fd: fd.is_some(),
                };
                self.answer(client, seq, reply, fd.into_iter().collect());
            }
            Expected::SandboxInit { id } => {
                self.sandbox_inits.insert(id, pid);
                self.answer(
                    client,
                    seq,
                    Reply::Started {
                        pid,
                        started_at_ns: now_ns(),
                    },
                    Vec::new(),
                );
            }
        }
    }

    /// Takes a started container in and listens to what it writes.
    fn adopt(&mut self, container: Container) {
        let id = container.id.clone();
        for which in 0..2 {
            if let Some(output) = &container.outputs[which] {
                let _ = rustix::io::ioctl_fionbio(output, true);
                let _ = self.watch(
                    output,
                    Source::Output {
                        container: id.clone(),
                        which,
                    },
                );
            }
        }
        self.containers.insert(id, container);
    }
}

fn watch_deletions(socket: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    let fd = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let dir = socket.parent().ok_or(io::ErrorKind::InvalidInput)?;
    add_watch(
        &fd,
        dir,
        WatchFlags::DELETE | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF,
    )?;
    Ok(fd)
}

fn gone(id: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{id} is not running"))
}

fn failed(message: &str) -> Report {
    Report {
        result: Err(message.to_owned()),
        fd: false,
    }
}
