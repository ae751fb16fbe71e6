//! The one way components reach the API: `kube::Client` over any transport, and what every reconciler needs around it.
//!
//! Owns: the in-process transport, informers (one watch per kind per process), the keyed work queue and its driver, the
//! events recorder, leader election by Lease. Must never know: what a controller decides, how the server stores.
//! Read first: `informer.rs`, `driver.rs`.

pub mod account;
pub mod cache;
pub mod driver;
pub mod events;
#[cfg(feature = "fake")]
pub mod fake;
pub mod informer;
mod intern;
pub mod lease;
pub mod object;
pub mod placement;
pub mod pod;
pub mod request;
pub mod selector;
pub mod watch;
pub mod workqueue;

pub use account::Remote;
pub use cache::Key;
pub use informer::{Event, Factory, Informer, Lister};
pub use object::{Object, Partial};
pub use pod::Pod;
pub use request::{Caller, Error, from_kubeconfig, in_process};
pub use tokio_util::sync::CancellationToken;
pub use workqueue::Queue;
