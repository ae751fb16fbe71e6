//! The keeper's loop: one epoll over its socket, its clients, its workers, SIGCHLD and the containers' output.

use super::container::{Container, Drained, End, Listener, MAX_LISTENERS, now_ns};
use super::log::LogFile;
use super::protocol::{
    Answer, Call, Ended, Event, Exec, Exit, Inbox, Outbox, Reply, Request, Snapshot, Start, VERSION,
};
use super::worker::{self, ExecJob, Job, LaunchJob, Report, Target, Worker};
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
const FIRST_FREE: u64 = 2;

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
    pub fn new(listener: UnixListener) -> io::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.add(Signal::SIGTERM);
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        epoll.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNALS))?;
        Ok(Self {
            epoll,
            cgroups: Cgroups::detect()?,
            listener,
            signals,
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
                    token => self.ready(token, event.events()),
                }
            }
            self.kill_overdue_workers();
        }
        Ok(())
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

    fn serve(&mut self, token: u64, call: Call, fds: Vec<OwnedFd>) {
        let seq = call.seq;
        let outcome = match call.request {
            Request::Hello => Ok(Some(self.hello(token))),
            Request::Start(start) => self.start(token, seq, &start).map(|()| None),
            Request::Exec(exec) => self.exec(token, seq, exec, fds).map(|()| None),
            Request::SandboxInit { id, cgroup } => self
                .spawn(
                    token,
                    seq,
                    &cgroup,
                    Job::SandboxInit,
                    Expected::SandboxInit { id },
                )
                .map(|()| None),
            Request::Attach { id, stdin } => match self.attach(&id, stdin, fds) {
                Ok(input) => {
                    let reply = Reply::Attached { fd: input.is_some() };
                    return self.answer(token, seq, reply, input.into_iter().collect());
                }
                Err(error) => Err(error),
            },
            other => self.small(other).map(Some),
        };
        match outcome {
            Ok(Some(reply)) => self.answer(token, seq, reply, Vec::new()),
            Ok(None) => {}
            Err(error) => self.answer(
                token,
                seq,
                Reply::Failed {
                    message: error.to_string(),
                },
                Vec::new(),
            ),
        }
    }

    fn hello(&mut self, token: u64) -> Reply {
        if let Some(client) = self.clients.get_mut(&token) {
            client.events = true;
        }
        Reply::Snapshot(Snapshot {
            version: VERSION,
            pid: i32::try_from(std::process::id()).unwrap_or(0),
            last_event: self.last_event,
            containers: self.containers.values().map(Container::state).collect(),
            sandbox_inits: self
                .sandbox_inits
                .iter()
                .map(|(id, pid)| (id.clone(), *pid))
                .collect(),
        })
    }

    /// Requests that need no worker and no descriptors.
    fn small(&mut self, request: Request) -> io::Result<Reply> {
        match request {
            Request::Signal { id, signal, group } => {
                let pid = self.pid_of(&id).ok_or_else(|| gone(&id))?;
                process::signal(if group { -pid } else { pid }, signal)?;
            }
            Request::Resize { id, width, height } => {
                let master = self.container(&id)?.outputs[0]
                    .as_ref()
                    .ok_or_else(|| gone(&id))?;
                corten_sys::terminal::resize(master, width, height)?;
            }
            Request::CloseStdin { id } => self.container(&id)?.stdin = None,
            Request::ReopenLog { id } => {
                if let Some(log) = &mut self.container(&id)?.log {
                    log.reopen()?;
                }
            }
            Request::Forget { id } => self.forget(&id)?,
            Request::Shutdown => {
                if self.containers.values().any(|container| container.exit.is_none())
                    || !self.workers.is_empty()
                {
                    return Err(io::Error::other("containers are running"));
                }
                self.stopping = true;
            }
            _ => return Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
        Ok(Reply::Done)
    }

    fn forget(&mut self, id: &str) -> io::Result<()> {
        if self
            .containers
            .get(id)
            .is_some_and(|container| container.exit.is_none())
        {
            return Err(io::Error::other("the container is running"));
        }
        self.containers.remove(id);
        Ok(())
    }

    fn container(&mut self, id: &str) -> io::Result<&mut Container> {
        self.containers.get_mut(id).ok_or_else(|| gone(id))
    }

    fn pid_of(&self, id: &str) -> Option<i32> {
        let container = self
            .containers
            .get(id)
            .filter(|container| container.exit.is_none())
            .map(|c| c.pid);
        container
            .or_else(|| self.execs.get(id).copied())
            .or_else(|| self.sandbox_inits.get(id).copied())
    }

    fn spawn(&mut self, client: u64, seq: u64, cgroup: &str, job: Job, what: Expected) -> io::Result<()> {
        let worker = worker::start(job, &self.cgroups, cgroup)?;
        let token = self.watch(&worker.socket, Source::Worker)?;
        let deadline = Instant::now() + WORKER_DEADLINE;
        self.workers.insert(
            token,
            Pending {
                worker,
                client,
                seq,
                what,
                deadline,
            },
        );
        Ok(())
    }

    fn start(&mut self, client: u64, seq: u64, start: &Start) -> io::Result<()> {
        if self.containers.contains_key(&start.id) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the container has been started",
            ));
        }
        let log = start.log_path.as_deref().map(LogFile::open).transpose()?;
        let mut container = Container::new(start, log, self.cgroups.oom_source(&start.cgroup));
        let stdio = if start.tty {
            None
        } else {
            Some(pipes(&mut container, start.stdin)?)
        };
        let target = Target {
            id: start.id.clone(),
            bundle: start.bundle.clone(),
        };
        let job = Job::Launch(LaunchJob { target, stdio });
        self.spawn(
            client,
            seq,
            &start.cgroup,
            job,
            Expected::Container(Box::new(container)),
        )
    }

    fn exec(&mut self, client: u64, seq: u64, exec: Exec, fds: Vec<OwnedFd>) -> io::Result<()> {
        let container = self.container(&exec.container)?;
        let pidfd = container
            .pidfd
            .as_ref()
            .ok_or_else(|| gone(&exec.container))?
            .try_clone()?;
        let stdio = match <[OwnedFd; 3]>::try_from(fds) {
            Ok(stdio) => Some(stdio),
            Err(_) if exec.tty => None,
            Err(_) => return Err(io::Error::from(io::ErrorKind::InvalidInput)),
        };
        let cgroup = container.cgroup.clone();
        let target = Target {
            id: exec.container.clone(),
            bundle: container.bundle.clone(),
        };
        let job = Job::Exec(ExecJob {
            target,
            pidfd,
            args: exec.args,
            stdio,
        });
        self.spawn(client, seq, &cgroup, job, Expected::Exec { id: exec.id })
    }

    fn attach(&mut self, id: &str, stdin: bool, fds: Vec<OwnedFd>) -> io::Result<Option<OwnedFd>> {
        let container = self.container(id)?;
        container
            .listeners
            .retain(|listener| listener.ends.iter().any(|end| end.file.is_some()));
        if container.exit.is_some() {
            return Err(gone(id));
        }
        if container.listeners.len() >= MAX_LISTENERS {
            return Err(io::Error::other("too many attach sessions"));
        }
        let ends: Vec<End> = fds.into_iter().map(End::new).collect();
        for end in ends.iter().filter_map(|end| end.file.as_ref()) {
            rustix::io::ioctl_fionbio(end, true)?;
        }
        let ends = <[End; 2]>::try_from(ends).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        container.listeners.push(Listener { ends });
        Ok(if stdin { container.input() } else { None })
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

    fn take_signals(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        while let Some(exit) = process::reap_any() {
            if self
                .workers
                .values()
                .any(|pending| pending.worker.pid == exit.pid)
            {
                continue;
            }
            if !self.claim(exit) {
                self.unclaimed.push_back(exit);
            }
        }
        self.settle_unclaimed();
    }

    /// Whatever no worker can still report was an orphan of some container.
    fn settle_unclaimed(&mut self) {
        let waiting = std::mem::take(&mut self.unclaimed);
        for exit in waiting {
            if !self.claim(exit) && !self.workers.is_empty() && self.unclaimed.len() < MAX_UNCLAIMED {
                self.unclaimed.push_back(exit);
            }
        }
    }

    /// True when the process was a container, an exec session or a sandbox init.
    fn claim(&mut self, ended: process::Exit) -> bool {
        let pid = ended.pid;
        let running = |container: &&mut Container| container.pid == pid && container.exit.is_none();
        if let Some(container) = self.containers.values_mut().find(running) {
            let exit = container.ended(ended.code, ended.signal);
            let id = container.id.clone();
            self.sources
                .retain(|_, source| !matches!(source, Source::Output { container, .. } if *container == id));
            self.emit(Ended::Container { id, exit });
            return true;
        }
        if let Some(id) = self
            .execs
            .iter()
            .find(|(_, exec)| **exec == pid)
            .map(|(id, _)| id.clone())
        {
            self.execs.remove(&id);
            let exit = Exit {
                code: ended.code,
                signal: ended.signal,
                oom_killed: false,
                at_ns: now_ns(),
            };
            self.emit(Ended::Exec { id, exit });
            return true;
        }
        if let Some(id) = self
            .sandbox_inits
            .iter()
            .find(|(_, init)| **init == pid)
            .map(|(id, _)| id.clone())
        {
            self.sandbox_inits.remove(&id);
            self.emit(Ended::SandboxInit { id });
            return true;
        }
        false
    }
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

/// Makes the container's pipes: our ends go into it, theirs are returned.
fn pipes(container: &mut Container, stdin: bool) -> io::Result<[OwnedFd; 3]> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let input = if stdin {
        let (reader, writer) = pipe()?;
        container.stdin = Some(writer);
        reader
    } else {
        File::open("/dev/null")?.into()
    };
    let ((stdout, out), (stderr, err)) = (pipe()?, pipe()?);
    container.outputs = [Some(File::from(stdout)), Some(File::from(stderr))];
    Ok([input, out, err])
}
