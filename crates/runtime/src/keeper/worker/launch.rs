//! Starts a container: its root as an overlay in a mount namespace of its own, then libcontainer.

use super::program::{self, COMPLAINT_PREFIX};
use super::{Complaint, Target, chain, image_volumes, text};
use crate::keeper::launch_file::{CGROUP_VIEW_DIR, Launch, Program, ROOTFS_DIR};
#[cfg(doc)]
use corten_sys::process;
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
/// Room for a few directories.
const VIEW_BYTES: u64 = 64 << 10;
const CONSOLE_SOCKET: &str = "console.sock";

pub struct LaunchJob {
    pub target: Target,
    /// stdin, stdout, stderr of the container; None with a terminal.
    pub stdio: Option<[OwnedFd; 3]>,
}

/// Returns the container's pid, and its terminal's master if it has one. On failure nothing of it runs.
pub fn run(job: &LaunchJob, cgroups: &Cgroups, cgroup: &str) -> Result<(i32, Option<OwnedFd>), String> {
    let bundle = &job.target.bundle;
    let launch = Launch::read(bundle).map_err(|error| format!("read launch file: {error}"))?;
    mount_root(bundle, &launch)?;
    show_cgroups(bundle, cgroups, cgroup)?;
    // Raising is always allowed, lowering only with CAP_SYS_RESOURCE: best effort.
    let _ = fs::write("/proc/self/oom_score_adj", launch.oom_score_adj.to_string());
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
    mounts::overlay(&layers, &bundle.join(ROOTFS_DIR)).map_err(text)?;
    image_volumes::mount(bundle, &launch.image_volumes)
}

/// On v1 the container gets a view of its own groups, bound together here. Then the machine's trees are detached, in this
/// mount namespace only: the process is where it belongs already, and libcontainer, which would move it again, slowly (see
/// [`process::fork_into`]), leaves control groups alone when it finds none. It looks for them by mount point, so the view's
/// go by other names. Trees mounted outside `/sys` stay: then it moves the process to where it is.
fn show_cgroups(bundle: &Path, cgroups: &Cgroups, cgroup: &str) -> Result<(), String> {
    let views = cgroups.v1_views(cgroup);
    if !views.is_empty() {
        let dir = bundle.join(CGROUP_VIEW_DIR);
        mounts::tmpfs(&dir, Some(VIEW_BYTES), 0o755).map_err(text)?;
        for (name, group) in views {
            let hidden = format!("own.{name}");
            fs::create_dir(dir.join(&hidden)).map_err(text)?;
            mounts::bind(&group, &dir.join(&hidden)).map_err(text)?;
            std::os::unix::fs::symlink(hidden, dir.join(name)).map_err(text)?;
        }
    }
    if mounts::isolate(Path::new("/sys")).is_err() {
        return Ok(());
    }
    // As one tree: each unmount waits for the other processors.
    mounts::detach(Path::new("/sys/fs/cgroup")).map_err(text)?;
    for entry in mounts::list().map_err(text)?.iter().rev() {
        if entry.fs_type.starts_with("cgroup") && entry.mount_point.starts_with("/sys") {
            mounts::detach(&entry.mount_point).map_err(text)?;
        }
    }
    mounts::tmpfs(Path::new("/sys/fs/cgroup"), Some(VIEW_BYTES), 0o755).map_err(text)
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
