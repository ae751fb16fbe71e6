//! Starts a container: its root as an overlay in a mount namespace of its own, then libcontainer.

use super::program::{self, COMPLAINT_PREFIX};
use super::{Complaint, Target, chain, text};
use crate::keeper::launch_file::{Launch, Program, ROOTFS_DIR};
use corten_sys::{cgroup::Cgroups, fdpass, mounts, namespace};
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// libcontainer's own files; of no use once the container runs.
const OCI_STATE_DIR: &str = "oci";
const CONSOLE_SOCKET: &str = "console.sock";

pub struct LaunchJob {
    pub target: Target,
    /// stdin, stdout, stderr of the container; None with a terminal.
    pub stdio: Option<[OwnedFd; 3]>,
}

/// Returns the container's pid, and its terminal's master if it has one. On failure nothing of it runs.
pub fn run(job: &LaunchJob) -> Result<(i32, Option<OwnedFd>), String> {
    let bundle = &job.target.bundle;
    let launch = Launch::read(bundle).map_err(|error| format!("read launch file: {error}"))?;
    mount_root(bundle, &launch)?;
    // Raising is always allowed, lowering only with CAP_SYS_RESOURCE: best effort.
    let _ = fs::write("/proc/self/oom_score_adj", launch.oom_score_adj.to_string());
    let cgroups = Cgroups::detect().map_err(text)?;
    cgroups.attach_tracking(&launch.cgroup, 0).map_err(text)?;

    let complaint = Complaint::new()?;
    record_errors(complaint.writer.as_raw_fd());
    let oci_dir = bundle.join(OCI_STATE_DIR);
    let _ = fs::remove_dir_all(&oci_dir);
    fs::create_dir_all(&oci_dir).map_err(text)?;
    let built = build(job, &launch.program, &oci_dir, complaint.writer.as_raw_fd());
    let outcome = match (built, complaint.hear()) {
        (Ok(started), None) => Ok(started),
        (Ok(_), Some(message)) => Err(best_complaint(&message)),
        (Err(error), message) => Err(message.map_or(error, |message| best_complaint(&message))),
    };
    let _ = fs::remove_dir_all(&oci_dir);
    outcome
}

fn mount_root(bundle: &Path, launch: &Launch) -> Result<(), String> {
    namespace::leave(&[namespace::Kind::Mount]).map_err(text)?;
    let layers = mounts::Overlay {
        lower: &launch.lower,
        upper_and_work: Some((&launch.upper, &launch.work)),
    };
    mounts::overlay(&layers, &bundle.join(ROOTFS_DIR)).map_err(text)
}

fn build(
    job: &LaunchJob,
    program: &Program,
    oci_dir: &Path,
    complaint: RawFd,
) -> Result<(i32, Option<OwnedFd>), String> {
    let failed = |error: libcontainer::error::LibcontainerError| chain(&error);
    let console = match job.stdio {
        Some(_) => None,
        None => Some(Console::listen(&job.target.bundle)?),
    };
    let mut builder = ContainerBuilder::new(job.target.id.clone(), SyscallType::Linux)
        .with_root_path(oci_dir)
        .map_err(failed)?
        .with_executor(Become {
            program: program.clone(),
            complaint,
        });
    if let Some([stdin, stdout, stderr]) = &job.stdio {
        let copy = |fd: &OwnedFd| fd.try_clone().map_err(text);
        builder = builder
            .with_stdin(copy(stdin)?)
            .with_stdout(copy(stdout)?)
            .with_stderr(copy(stderr)?);
    }
    builder = builder.with_console_socket(console.as_ref().map(|console| console.path.clone()));
    let mut container = builder
        .as_init(&job.target.bundle)
        .with_systemd(false)
        .with_detach(true)
        .build()
        .map_err(failed)?;
    let pid = container
        .pid()
        .ok_or("libcontainer reported no process")?
        .as_raw();
    let master = console.map(Console::take_master).transpose()?;
    container.start().map_err(failed)?;
    Ok((pid, master))
}

/// Where libcontainer sends the terminal's master.
struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Console {
    /// Bound by way of the directory's descriptor: socket names may not exceed 107 bytes.
    fn listen(bundle: &Path) -> Result<Self, String> {
        let dir = fs::File::open(bundle).map_err(text)?;
        let _ = fs::remove_file(bundle.join(CONSOLE_SOCKET));
        let short = PathBuf::from(format!("/proc/self/fd/{}/{CONSOLE_SOCKET}", dir.as_raw_fd()));
        let listener = UnixListener::bind(short).map_err(text)?;
        Ok(Self {
            listener,
            path: bundle.join(CONSOLE_SOCKET),
        })
    }

    fn take_master(self) -> Result<OwnedFd, String> {
        let (stream, _) = self.listener.accept().map_err(text)?;
        let mut fds = Vec::new();
        fdpass::receive(stream.as_fd(), &mut [0; 64], &mut fds).map_err(text)?;
        let _ = fs::remove_file(&self.path);
        fds.pop().ok_or_else(|| "no terminal arrived".to_owned())
    }
}

/// libcontainer's last step, ours to do: everything from the user to execve.
#[derive(Clone)]
struct Become {
    program: Program,
    complaint: RawFd,
}

impl Executor for Become {
    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        let message = program::become_program(&self.program);
        program::complain(self.complaint, &message);
        Err(ExecutorError::Other(message))
    }

    /// The program is looked up in `exec`, where the error text is ours.
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }

    /// The environment goes to execve directly.
    fn setup_envs(
        &self,
        _: std::collections::HashMap<String, String>,
    ) -> Result<(), libcontainer::workload::ExecutorSetEnvsError> {
        Ok(())
    }
}

/// libcontainer flattens errors when they cross its processes; its log still has the causes. Errors logged in any of them
/// go to the complaint pipe.
fn record_errors(complaint: RawFd) {
    let _ = tracing::subscriber::set_global_default(ErrorsTo(complaint));
}

struct ErrorsTo(RawFd);

impl tracing::Subscriber for ErrorsTo {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Vec::new();
        event.record(
            &mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                let _ = match field.name() {
                    "message" => write!(line, "{value:?}; "),
                    name => write!(line, "{name}={value:?}; "),
                };
            },
        );
        line.push(b'\n');
        program::complain(self.0, &String::from_utf8_lossy(&line));
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// The program's own complaint if there is one, else the first logged error: the ones after it only repeat it.
fn best_complaint(all: &str) -> String {
    match all.split_once(COMPLAINT_PREFIX) {
        Some((_, message)) => message.lines().next().unwrap_or_default().to_owned(),
        None => all
            .lines()
            .next()
            .unwrap_or_default()
            .trim_end_matches("; ")
            .to_owned(),
    }
}
