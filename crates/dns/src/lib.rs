//! Cluster DNS: answers for the cluster's own names by the Kubernetes DNS specification 1.1, forwarding for the
//! rest.
//!
//! Owns: records and their meaning, the protocol's sockets, forwarding. Must never know: the Kubernetes API (it
//! receives a [`Desired`] value) and how its address got onto the node (`net` puts it there).
//!
//! Read first: `records.rs` (what names there are) and `answer.rs` (what a question gets).

mod answer;
mod forward;
mod records;
mod resolv;
mod server;
mod wire;

pub use answer::{Outcome, answer};
pub use forward::{Forwarder, MAX_OUTSTANDING};
pub use records::{Desired, Endpoint, Port, Protocol, Records, Service, TTL_S, Target};
pub use resolv::nameservers;
pub use server::{Error, Server, Sockets};
