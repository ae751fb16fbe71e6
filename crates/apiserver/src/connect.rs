//! Requests the server passes on: to kubelets (log, exec, attach, port-forward) and to pods, services and nodes (proxy).

pub mod backend;
mod frames;
mod log;
mod proxy;
mod rewrite;
mod streaming;
mod tunnel;

pub use backend::{Backends, BoxIo, DirectDialer, Io, KubeletDialer, KubeletTls, Target};
pub(crate) use backend::{converse, forwarded_headers, passed_on, wants_upgrade};
pub use log::log;
pub use proxy::proxy;
pub use streaming::stream;

use corten_meta::Status;

use crate::call::Call;

/// What is passed on cannot be tried out first.
///
/// # Errors
/// 400 where that is asked for.
pub fn never_dry(call: &Call) -> Result<(), Status> {
    match call.query.get("dryRun") {
        Some(_) => Err(Status::bad_request("dryRun is not supported")),
        None => Ok(()),
    }
}
