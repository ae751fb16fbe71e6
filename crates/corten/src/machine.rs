//! What the commands need of the machine they run on.

use anyhow::{Context, bail};
use corten_sys::memory::Code;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// More threads than this only cost memory: the server waits, it does not compute.
const WORKERS_MAX: usize = 8;
/// Threads for blocking calls (netlink, images); more wait their turn.
const BLOCKING_MAX: usize = 64;

/// For processes that run long: keeps their heap in small pages. With huge ones a few live bytes hold 2 MiB resident,
/// which made an idle server twice its size.
pub(crate) fn stay_small() {
    if let Err(error) = corten_sys::process::use_huge_pages(false) {
        tracing::warn!(%error, "the heap may take more memory than it needs");
    }
}

/// A start is over this long after it.
const SETTLED: Duration = Duration::from_secs(5);
/// How often the code that ran meanwhile is given back. What is in use comes back at page faults, a piece at a time.
const GIVE_BACK: Duration = Duration::from_secs(30);

/// For processes that run long: gives back the pages of code that only the start, and then that only rare requests needed:
/// they are half of an idle server.
pub(crate) async fn settle() {
    tokio::time::sleep(SETTLED).await;
    let code = match Code::find() {
        Ok(code) => code,
        Err(error) => return tracing::warn!(%error, "the program's code stays in memory"),
    };
    if let Err(error) = code.cut() {
        tracing::warn!(%error, "more of the program's code stays in memory than runs");
    }
    loop {
        match code.forget() {
            Ok(bytes) => tracing::debug!(bytes, "gave back the pages of the program's code"),
            Err(error) => return tracing::warn!(%error, "the program's code stays in memory"),
        }
        tokio::time::sleep(GIVE_BACK).await;
    }
}

/// The process's async runtime.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let workers = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .clamp(2, WORKERS_MAX);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(workers)
        .max_blocking_threads(BLOCKING_MAX)
        .thread_name("corten")
        .enable_all();
    builder.build().context("starting the async runtime")
}

/// Refuses to go on without root.
pub(crate) fn require_root(command: &str) -> anyhow::Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    bail!("corten {command} needs root: it makes namespaces, mounts and control groups. Run it with sudo")
}

/// The address that packets to the outside would leave with; `None` without a default route. Sends nothing.
pub(crate) fn default_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documentation (RFC 5737): connecting a UDP socket only looks up the route.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// Listens on all addresses at `port`.
pub(crate) fn listen(port: u16, flag: &str) -> anyhow::Result<TcpListener> {
    let listener = match TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))) {
        Ok(listener) => listener,
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("port {port} is in use by another process; choose another with {flag} PORT")
        }
        Err(error) => return Err(error).with_context(|| format!("listening on port {port}")),
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Listens at the port asked for; at upstream's 10250 or, where that is taken, a free one, when none was.
pub(crate) fn listen_kubelet(port: Option<u16>) -> anyhow::Result<TcpListener> {
    const KUBELET_PORT: u16 = 10_250;
    match port {
        Some(port) => listen(port, "--kubelet-port"),
        None => listen(KUBELET_PORT, "--kubelet-port").or_else(|_| listen(0, "--kubelet-port")),
    }
}

/// Resolves when the process is asked to end.
pub(crate) fn ends() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}
