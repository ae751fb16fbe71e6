//! Network namespaces: a handle that outlives its name, and running code inside one.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{NSFS_MAGIC, statfs};

use crate::error::{Context, Result};

const THREAD_NETNS: &str = "/proc/thread-self/ns/net";

/// A network namespace. It lives as long as a handle, a process, or a bind mount of it.
#[derive(Debug, Clone)]
pub struct NetNs {
    fd: Arc<OwnedFd>,
}

impl NetNs {
    /// The namespace of the calling thread.
    pub fn current() -> Result<Self> {
        Self::open(Path::new(THREAD_NETNS))
    }

    /// The namespace bind-mounted at a path (or `/proc/<pid>/ns/net`).
    pub fn open(path: &Path) -> Result<Self> {
        let file =
            File::open(path).with_context(|| format!("opening network namespace {}", path.display()))?;
        Ok(Self {
            fd: Arc::new(file.into()),
        })
    }

    /// A new namespace, nameless: it goes when the last handle goes.
    pub fn create() -> Result<Self> {
        on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("creating a network namespace")?;
            Self::current()
        })
    }

    /// A new namespace held by a bind mount at `path`, which is created.
    pub fn create_at(path: &Path) -> Result<Self> {
        File::create(path).with_context(|| format!("creating {}", path.display()))?;
        on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("creating a network namespace")?;
            mount(
                Some(THREAD_NETNS),
                path,
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )
            .with_context(|| format!("holding a network namespace at {}", path.display()))?;
            Self::current()
        })
    }

    /// The namespace held at `path`, or `None` when nothing is held there (a file that a reboot left).
    pub fn held_at(path: &Path) -> Result<Option<Self>> {
        Ok(held_at(path)?.map(|fd| Self { fd: Arc::new(fd) }))
    }

    /// Lets go of the bind mount at `path` and removes the file. Nothing there is fine.
    pub fn release(path: &Path) -> Result<()> {
        while umount2(path, MntFlags::MNT_DETACH).is_ok() {}
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Runs `f` inside, on a thread of its own: a runtime's worker must never change its namespace. Blocks for
    /// as long as `f` runs. What `f` opens (sockets) stays inside.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_thread(|| {
            setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET).context("entering a network namespace")?;
            f()
        })
    }

    /// Starts a process inside.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        self.run(|| {
            command
                .spawn()
                .with_context(|| format!("starting {:?}", command.get_program()))
        })
    }

    /// A listening TCP socket inside, non-blocking: ready for `tokio::net::TcpListener::from_std`.
    pub fn listen_tcp(&self, at: SocketAddr) -> Result<TcpListener> {
        self.run(|| {
            let listener = TcpListener::bind(at).with_context(|| format!("listening at {at}"))?;
            listener
                .set_nonblocking(true)
                .context("making a socket non-blocking")?;
            Ok(listener)
        })
    }

    /// A UDP socket inside, non-blocking: ready for `tokio::net::UdpSocket::from_std`.
    pub fn bind_udp(&self, at: SocketAddr) -> Result<UdpSocket> {
        self.run(|| {
            let socket = UdpSocket::bind(at).with_context(|| format!("binding UDP {at}"))?;
            socket
                .set_nonblocking(true)
                .context("making a socket non-blocking")?;
            Ok(socket)
        })
    }

    /// Connects from inside; the stream belongs to the caller's runtime.
    pub async fn connect_tcp(&self, to: SocketAddr) -> Result<tokio::net::TcpStream> {
        let ns = self.clone();
        let create = move || {
            ns.run(|| {
                let socket = if to.is_ipv4() {
                    tokio::net::TcpSocket::new_v4()
                } else {
                    tokio::net::TcpSocket::new_v6()
                };
                socket.context("creating a socket")
            })
        };
        let socket = tokio::task::spawn_blocking(create)
            .await
            .map_err(io::Error::other)
            .context("creating a socket in a namespace")??;
        socket
            .connect(to)
            .await
            .with_context(|| format!("connecting to {to}"))
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for NetNs {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The namespace, of whatever kind, that is bind-mounted at `path`.
pub(crate) fn held_at(path: &Path) -> Result<Option<OwnedFd>> {
    match statfs(path) {
        Ok(fs) if fs.filesystem_type() == NSFS_MAGIC => {
            let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
            Ok(Some(file.into()))
        }
        Ok(_) | Err(Errno::ENOENT) => Ok(None),
        Err(e) => Err(e).with_context(|| format!("looking at {}", path.display())),
    }
}

/// Runs `f` on a fresh thread and waits; a panic in `f` goes on in the caller.
pub(crate) fn on_thread<T: Send>(f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("corten-netns".into())
            .spawn_scoped(scope, f);
        match thread.context("starting a thread")?.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
