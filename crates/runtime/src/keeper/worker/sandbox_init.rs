//! The process that is PID 1 of a PID namespace shared by a sandbox's containers. It only reaps.

use super::text;
use corten_sys::namespace;
use corten_sys::process::{self, Fork, SingleThreaded};
use nix::sys::signal::{SigSet, Signal};

/// Returns its pid as the keeper sees it.
pub fn run() -> Result<i32, String> {
    namespace::leave(&[namespace::Kind::Pid]).map_err(text)?;
    match process::fork_sibling(&SingleThreaded::check().map_err(text)?).map_err(text)? {
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => reap_forever(),
    }
}

fn reap_forever() -> ! {
    let _ = rustix::thread::set_name(c"sandbox-init");
    let _ = process::new_session();
    // Pipes and sockets of the keeper must not live on in here.
    let _ = corten_sys::process::close_from(0);
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    let _ = signals.thread_block();
    loop {
        while process::reap_any().is_some() {}
        match signals.wait() {
            Ok(Signal::SIGTERM | Signal::SIGINT) => process::exit_now(0),
            _ => continue,
        }
    }
}
