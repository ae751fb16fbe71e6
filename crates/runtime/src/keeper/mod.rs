//! The keeper: one small single-threaded process per node that starts and parents every container.
//!
//! It outlives corten, so that a restart or upgrade stops no pod: it holds the containers' pipes and terminals, writes
//! their logs, and keeps their exit codes until corten has them. Read `server.rs` next.

mod container;
mod launch_file;
mod log;
pub(crate) mod protocol;
mod server;
mod worker;

pub(crate) use launch_file::{
    CGROUP_VIEW_DIR, EXIT_FILE, ImageVolume, Launch, Program, ROOTFS_DIR, Seccomp, image_volume,
};

use corten_sys::process::{self, Fork, SingleThreaded};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) const SOCKET: &str = "keeper.sock";
const LOCK: &str = "keeper.lock";
const LOG: &str = "keeper.log";

/// The program: `corten keeper --state DIR --cgroup PATH`. Puts itself into the background; returns success once its
/// socket takes connections, or when another keeper already serves this state directory.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Corten does without them and we inherit that; containers must not.
    if let Err(error) = process::use_huge_pages(true) {
        let _ = writeln!(io::stderr(), "keeper: {error}");
    }
    let outcome = parse(args).and_then(|(state, cgroup)| start(&state, &cgroup));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "keeper: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: impl IntoIterator<Item = OsString>) -> io::Result<(PathBuf, String)> {
    let usage = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "usage: corten keeper --state DIR --cgroup PATH",
        )
    };
    let (mut state, mut cgroup) = (None, None);
    let mut args = args.into_iter();
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(usage)?;
        match flag.to_str() {
            Some("--state") => state = Some(PathBuf::from(value)),
            Some("--cgroup") => cgroup = value.into_string().ok(),
            _ => return Err(usage()),
        }
    }
    Ok((state.ok_or_else(usage)?, cgroup.ok_or_else(usage)?))
}

/// The first process waits for a byte from the second, which stays.
fn start(state: &Path, cgroup: &str) -> io::Result<()> {
    let (mut ready, tell) = io::pipe()?;
    match process::fork(&SingleThreaded::check()?)? {
        Fork::Parent(_) => {
            drop(tell);
            let mut answer = String::new();
            ready.read_to_string(&mut answer)?;
            if answer == "ready" {
                Ok(())
            } else {
                Err(io::Error::other(answer))
            }
        }
        Fork::Child => {
            drop(ready);
            let code = match serve(state, cgroup, tell) {
                Ok(()) => 0,
                Err(_) => 1,
            };
            process::exit_now(code)
        }
    }
}

fn serve(state: &Path, cgroup: &str, mut tell: io::PipeWriter) -> io::Result<()> {
    let prepared = prepare(state, cgroup);
    let (listener, _lock) = match prepared {
        Ok(Some(prepared)) => prepared,
        Ok(None) => return tell.write_all(b"ready"),
        Err(error) => {
            tell.write_all(error.to_string().as_bytes())?;
            return Err(error);
        }
    };
    tell.write_all(b"ready")?;
    drop(tell);
    let outcome = server::Server::new(listener, state.join(SOCKET))?.run();
    let _ = std::fs::remove_file(state.join(SOCKET));
    outcome
}

/// None: another keeper holds the lock.
fn prepare(state: &Path, cgroup: &str) -> io::Result<Option<(UnixListener, File)>> {
    process::new_session()?;
    let lock = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(state.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) if connect(state).is_ok() => return Ok(None),
        // Held, but nobody answers: the one before is on its way out.
        Err(std::fs::TryLockError::WouldBlock) => lock.lock()?,
        Err(std::fs::TryLockError::Error(error)) => return Err(error),
    }
    let cgroups = corten_sys::cgroup::Cgroups::detect()?;
    cgroups.create(cgroup)?;
    cgroups.attach(cgroup, 0)?;
    process::become_subreaper()?;
    process::raise_open_files()?;
    let _ = rustix::thread::set_name(c"corten-keeper");
    std::env::set_current_dir("/")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let null = File::open("/dev/null")?;
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(state.join(LOG))?;
    process::set_stdio(&null, &log, &log)?;
    let _ = std::fs::remove_file(state.join(SOCKET));
    let dir = File::open(state)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()));
    let listener = UnixListener::bind(&short)?;
    std::fs::set_permissions(&short, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(Some((listener, lock)))
}

/// Connects to the keeper of a state directory. By way of the directory's descriptor, because a socket's name may not
/// exceed 107 bytes.
pub(crate) fn connect(state: &Path) -> io::Result<UnixStream> {
    let dir = File::open(state)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))
}
