//! Short-lived children of the keeper: each starts one container, one exec session or one sandbox init, reports, ends.
//!
//! A worker is a plain fork of the single-threaded keeper. What it makes is parented by the keeper: libcontainer's init
//! through the subreaper, the others by being cloned as siblings.

mod exec;
mod image_volumes;
mod launch;
mod program;
mod sandbox_init;
mod seccomp;

use super::protocol::{Inbox, Outbox};
use corten_sys::cgroup::Cgroups;
use corten_sys::process::{self, Fork, SingleThreaded};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

pub use exec::ExecJob;
pub use launch::LaunchJob;

/// What a worker is to do.
pub enum Job {
    Launch(LaunchJob),
    Exec(ExecJob),
    SandboxInit,
}

/// What a worker reports; a terminal's master comes along when `fd` is set.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub result: Result<i32, String>,
    pub fd: bool,
}

/// A running worker, as the keeper sees it.
pub struct Worker {
    pub pid: i32,
    pub socket: UnixStream,
    pub inbox: Inbox,
}

/// Forks a worker for `job` in the control group that it is about. What the job holds (pipe ends for the container) closes
/// in the keeper on return.
pub fn start(job: Job, cgroups: &Cgroups, cgroup: &str) -> io::Result<Worker> {
    let (ours, theirs) = UnixStream::pair()?;
    let alone = SingleThreaded::check()?;
    let group = cgroups.open_tracking(cgroup)?;
    let forked = match &group {
        Some(group) => process::fork_into(&alone, group.as_fd()),
        None => process::fork(&alone),
    };
    let (forked, tracked) = match forked {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => (process::fork(&alone)?, false),
        other => (other?, group.is_some()),
    };
    match forked {
        Fork::Parent(pid) => {
            ours.set_nonblocking(true)?;
            Ok(Worker {
                pid,
                socket: ours,
                inbox: Inbox::default(),
            })
        }
        Fork::Child => {
            drop(ours);
            let joined = if tracked {
                cgroups.join_limits(cgroup)
            } else {
                cgroups.attach(cgroup, 0)
            };
            report(
                joined.map_err(text).and_then(|()| run(job, cgroups, cgroup)),
                &theirs,
            );
            process::exit_now(0)
        }
    }
}

type Outcome = Result<(i32, Option<OwnedFd>), String>;

fn run(job: Job, cgroups: &Cgroups, cgroup: &str) -> Outcome {
    let _ = process::reset_signals();
    match job {
        Job::Launch(job) => launch::run(&job, cgroups, cgroup),
        Job::Exec(job) => exec::run(job),
        Job::SandboxInit => sandbox_init::run().map(|pid| (pid, None)),
    }
}

fn report(outcome: Outcome, socket: &UnixStream) {
    let (result, fd) = match outcome {
        Ok((pid, fd)) => (Ok(pid), fd),
        Err(message) => (Err(message), None),
    };
    let report = Report {
        result,
        fd: fd.is_some(),
    };
    let mut out = Outbox::default();
    let sent = out.push(&report, fd.into_iter().collect());
    // A keeper that is gone hears nothing; there is nobody else to tell.
    let _ = sent.and_then(|()| out.flush(socket.as_fd()));
}

/// How a started program tells why it could not be: a pipe that closes by itself when execve succeeds.
struct Complaint {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Complaint {
    fn new() -> Result<Self, String> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(text)?;
        Ok(Self { reader, writer })
    }

    /// Closes this process's writing end and waits until every other one has closed. None: nobody complained.
    fn hear(self) -> Option<String> {
        drop(self.writer);
        let mut message = String::new();
        let _ = std::fs::File::from(self.reader)
            .take(16 << 10)
            .read_to_string(&mut message);
        (!message.is_empty()).then_some(message)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// An error with all that caused it, `a: b: c`.
fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.ends_with(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        source = cause.source();
    }
    message
}

/// The container that a job is about.
#[derive(Debug, Clone)]
pub struct Target {
    pub id: String,
    pub bundle: PathBuf,
}
