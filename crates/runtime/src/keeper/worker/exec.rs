//! Runs one more program in a running container.

use super::{Complaint, Target, program, text};
use crate::keeper::launch_file::Launch;
use corten_sys::namespace::Kind;
use corten_sys::process::{self, Fork, SingleThreaded};
use corten_sys::{namespace, terminal};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

pub struct ExecJob {
    pub target: Target,
    /// The container's process and a handle on it, so that a reused pid is not mistaken for it.
    pub pidfd: OwnedFd,
    pub args: Vec<String>,
    /// None with a terminal.
    pub stdio: Option<[OwnedFd; 3]>,
}

/// Returns the new process's pid (in the keeper's PID namespace) and its terminal's master if it has one.
pub fn run(job: ExecJob) -> Result<(i32, Option<OwnedFd>), String> {
    let launch = Launch::read(&job.target.bundle).map_err(|error| format!("read launch file: {error}"))?;
    let mut program = launch.program;
    program.args = job.args;
    let _ = std::fs::write("/proc/self/oom_score_adj", launch.oom_score_adj.to_string());
    // While /proc is still that of this process's PID namespace.
    let alone = SingleThreaded::check().map_err(text)?;
    let kinds = [
        Kind::Mount,
        Kind::Net,
        Kind::Ipc,
        Kind::Uts,
        Kind::Pid,
        Kind::Cgroup,
    ];
    namespace::enter_process(job.pidfd.as_fd(), &kinds).map_err(text)?;

    let (stdio, master) = match job.stdio {
        Some(stdio) => (stdio, None),
        None => {
            let (master, slave) = terminal::open().map_err(text)?;
            let copy = || slave.try_clone().map_err(text);
            ([copy()?, copy()?, slave], Some(master))
        }
    };
    let complaint = Complaint::new()?;
    match process::fork_sibling(&alone).map_err(text)? {
        Fork::Parent(pid) => {
            drop(stdio);
            match complaint.hear() {
                None => Ok((pid, master)),
                Some(message) => Err(message
                    .trim_start_matches(program::COMPLAINT_PREFIX)
                    .trim_end()
                    .to_owned()),
            }
        }
        Fork::Child => {
            let message = match prepare(&stdio, master.is_some()) {
                Ok(()) => program::become_program(&program),
                Err(message) => message,
            };
            // The child has its own copy of the descriptor under the same number.
            program::complain(complaint.writer.as_raw_fd(), &message);
            process::exit_now(127)
        }
    }
}

fn prepare(stdio: &[OwnedFd; 3], terminal: bool) -> Result<(), String> {
    process::new_session().map_err(text)?;
    process::set_stdio(&stdio[0], &stdio[1], &stdio[2]).map_err(text)?;
    if terminal {
        terminal::make_controlling(rustix::stdio::stdin()).map_err(text)
    } else {
        Ok(())
    }
}
