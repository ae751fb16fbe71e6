//! Processes: forking from a single-threaded parent, waiting, replacing, limits.

use crate::error::{Attempt, Error, Result};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Which side of a fork this is.
pub enum Fork {
    Parent(i32),
    Child,
}

/// How a process ended: its exit code (128 + signal where one killed it) and that signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    pub pid: i32,
    pub code: i32,
    pub signal: Option<i32>,
}

/// Proof that the process had one thread when it was asked. Whoever holds one starts no threads.
pub struct SingleThreaded(std::marker::PhantomData<*const ()>);

impl SingleThreaded {
    /// Refuses in a process with more than one thread: after a fork another thread's locks, the allocator's among them,
    /// would stay locked for ever. Needs `/proc` of the process's own PID namespace.
    pub fn check() -> Result<Self> {
        let threads = std::fs::read_dir("/proc/self/task")
            .attempt(|| "count threads".into())?
            .count();
        if threads == 1 {
            return Ok(Self(std::marker::PhantomData));
        }
        Err(Error::new(
            "fork",
            io::Error::other("refused: the process has several threads"),
        ))
    }
}

/// Forks.
#[allow(unsafe_code)]
pub fn fork(_: &SingleThreaded) -> Result<Fork> {
    // SAFETY: single-threaded, as the proof says, so the child may do all that the parent may.
    match unsafe { nix::unistd::fork() }.attempt(|| "fork".into())? {
        nix::unistd::ForkResult::Parent { child } => Ok(Fork::Parent(child.as_raw())),
        nix::unistd::ForkResult::Child => Ok(Fork::Child),
    }
}

/// linux/sched.h.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks a child that begins its life in a control group of the unified tree (clone3, CLONE_INTO_CGROUP): moving it there
/// afterwards waits for every processor to pass a quiet state, 10 ms and more on a busy machine.
/// Unsupported (kernels before 5.7) is an error of kind Unsupported.
#[allow(unsafe_code)]
pub fn fork_into(_: &SingleThreaded, group: BorrowedFd<'_>) -> Result<Fork> {
    use std::os::fd::AsRawFd;
    // SAFETY: all zeroes is a valid clone_args: no flags, no pointers.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = CLONE_INTO_CGROUP;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = group.as_raw_fd() as u64;
    // SAFETY: clone3 without CLONE_VM and without a stack is fork; single-threaded, as the proof says. The size is its own.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match result {
        0 => Ok(Fork::Child),
        -1 => {
            let error = io::Error::last_os_error();
            let unsupported = matches!(
                error.raw_os_error(),
                Some(libc::ENOSYS | libc::E2BIG | libc::EINVAL)
            );
            let error = if unsupported {
                io::ErrorKind::Unsupported.into()
            } else {
                error
            };
            Err(Error::new("clone3 into a control group", error))
        }
        pid => Ok(Fork::Parent(pid as i32)),
    }
}

/// Forks a child whose parent is this process's own parent.
#[allow(unsafe_code)]
pub fn fork_sibling(_: &SingleThreaded) -> Result<Fork> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: clone without CLONE_VM and with a null stack is fork; single-threaded as above.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags as libc::c_ulong,
            0usize,
            0usize,
            0usize,
            0usize,
        )
    };
    match result {
        -1 => Err(Error::new("clone", io::Error::last_os_error())),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid as i32)),
    }
}

/// Ends this process at once, running no destructors and no atexit handlers: the way out of a forked child.
#[allow(unsafe_code)]
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes no pointers and does not return.
    unsafe { libc::_exit(code) }
}

/// Makes this process adopt the orphans among its descendants.
pub fn become_subreaper() -> Result<()> {
    nix::sys::prctl::set_child_subreaper(true).attempt(|| "become subreaper".into())
}

/// Whether the kernel may back this process's memory with huge pages. Inherited by processes it starts.
pub fn use_huge_pages(wanted: bool) -> Result<()> {
    rustix::thread::disable_transparent_huge_pages(!wanted).attempt(|| "set the use of huge pages".into())
}

/// Looks at one ended child without reaping it. None when no child has ended (or there is none).
pub fn peek_ended() -> Option<i32> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::All, flags) {
        Ok(status) => status.pid().map(Pid::as_raw),
        Err(_) => None,
    }
}

/// Reaps one ended child. None when none has ended.
pub fn reap_any() -> Option<Exit> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => {
                return Some(Exit {
                    pid: pid.as_raw(),
                    code,
                    signal: None,
                });
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                let signal = signal as i32;
                return Some(Exit {
                    pid: pid.as_raw(),
                    code: 128 + signal,
                    signal: Some(signal),
                });
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Waits for one child.
pub fn wait(pid: i32) -> Result<Exit> {
    loop {
        match waitpid(Pid::from_raw(pid), None) {
            Ok(WaitStatus::Exited(_, code)) => {
                return Ok(Exit {
                    pid,
                    code,
                    signal: None,
                });
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return Ok(Exit {
                    pid,
                    code: 128 + signal as i32,
                    signal: Some(signal as i32),
                });
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(Error::new(format!("wait for {pid}"), error)),
        }
    }
}

/// A handle on a process that cannot come to mean another one.
pub fn pidfd(pid: i32) -> Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid)
        .ok_or_else(|| Error::new("pidfd", io::Error::from_raw_os_error(libc::EINVAL)))?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        .attempt(|| format!("open process {}", pid.as_raw_nonzero()))
}

/// True once the process behind `pidfd` has ended.
pub fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
}

/// Waits for the end of the process behind `pidfd`, at most `timeout_ms`; false on timeout.
pub fn wait_ended(pidfd: BorrowedFd<'_>, timeout_ms: u16) -> bool {
    use nix::poll::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
    matches!(poll(&mut fds, timeout_ms), Ok(1))
}

/// Sends a signal; a process that is gone already is fine. Negative `pid`: its process group.
#[allow(unsafe_code)]
pub fn signal(pid: i32, signal: i32) -> Result<()> {
    // By libc, because nix's type has no real-time signals.
    // SAFETY: kill takes no pointers.
    if unsafe { libc::kill(pid, signal) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        error => Err(Error::new(format!("signal {signal} to {pid}"), error)),
    }
}

/// Start time in clock ticks since boot (proc_pid_stat(5), field 22): with the pid it names one process for good.
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// This boot's identity.
pub fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(std::fs::read_to_string(path)
        .attempt(|| format!("read {path}"))?
        .trim()
        .to_owned())
}

/// Puts `fds` in place of standard input, output and error.
pub fn set_stdio(stdin: impl AsFd, stdout: impl AsFd, stderr: impl AsFd) -> Result<()> {
    // First out of the way: a source may itself be one of 0, 1, 2.
    let above = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3).attempt(|| "dup".into());
    let (stdin, stdout, stderr) = (
        above(stdin.as_fd())?,
        above(stdout.as_fd())?,
        above(stderr.as_fd())?,
    );
    rustix::stdio::dup2_stdin(&stdin).attempt(|| "dup2 stdin".into())?;
    rustix::stdio::dup2_stdout(&stdout).attempt(|| "dup2 stdout".into())?;
    rustix::stdio::dup2_stderr(&stderr).attempt(|| "dup2 stderr".into())
}

/// Marks every descriptor from `first` up close-on-exec.
#[allow(unsafe_code)]
pub fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: close_range takes no pointers; with CLOSE_RANGE_CLOEXEC it closes nothing now.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 {
        Ok(())
    } else {
        Err(Error::new("close_range", io::Error::last_os_error()))
    }
}

/// Becomes a new session's leader.
pub fn new_session() -> Result<()> {
    nix::unistd::setsid().map(drop).attempt(|| "setsid".into())
}

/// Takes groups, group and user, in this order, keeping the permitted capabilities for the caller to drop.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    rustix::thread::set_keep_capabilities(true).attempt(|| "keep capabilities".into())?;
    setgroups(&groups).attempt(|| "set groups".into())?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setresgid(gid, gid, gid).attempt(|| format!("become group {gid}"))?;
    setresuid(uid, uid, uid).attempt(|| format!("become user {uid}"))?;
    rustix::thread::set_keep_capabilities(false).attempt(|| "keep capabilities".into())
}

pub fn set_no_new_privs() -> Result<()> {
    rustix::thread::set_no_new_privs(true).attempt(|| "set no_new_privs".into())
}

/// Replaces this process. Returns only on failure.
pub fn exec(path: &CString, args: &[CString], env: &[CString]) -> io::Error {
    match nix::unistd::execve(path, args, env) {
        Ok(never) => match never {},
        Err(error) => error.into(),
    }
}

/// The soft limit on open files, raised to the hard one. Returns it.
pub fn raise_open_files() -> Result<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).attempt(|| "read RLIMIT_NOFILE".into())?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).attempt(|| "raise RLIMIT_NOFILE".into())?;
    Ok(hard)
}

/// Empties the signal mask and restores default dispositions that a server may have changed (SIGPIPE).
#[allow(unsafe_code)]
pub fn reset_signals() -> Result<()> {
    use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
    for which in [
        Signal::SIGPIPE,
        Signal::SIGCHLD,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGTERM,
    ] {
        // SAFETY: installs the default disposition, no handler code of ours.
        unsafe { signal(which, SigHandler::SigDfl) }.attempt(|| "reset signals".into())?;
    }
    SigSet::empty()
        .thread_set_mask()
        .attempt(|| "reset signal mask".into())
}

/// Closes every descriptor from `first` up.
#[allow(unsafe_code)]
pub fn close_from(first: u32) -> Result<()> {
    // SAFETY: close_range takes no pointers. The caller is a forked child that uses none of its descriptors afterwards;
    // owners of them in memory are never dropped, because it leaves by exit_now.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(Error::new("close_range", io::Error::last_os_error()))
    }
}
