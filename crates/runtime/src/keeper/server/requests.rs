//! What clients ask for.

use super::{Expected, Pending, Server, Source, WORKER_DEADLINE, gone};
use crate::keeper::container::{Container, End, Listener, MAX_LISTENERS};
use crate::keeper::log::LogFile;
use crate::keeper::protocol::{Call, Exec, Reply, Request, Snapshot, Start, VERSION};
use crate::keeper::worker::{self, ExecJob, Job, LaunchJob, Target};
use corten_sys::process;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

impl Server {
    pub(super) fn serve(&mut self, token: u64, call: Call, fds: Vec<OwnedFd>) {
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
