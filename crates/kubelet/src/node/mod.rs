//! The Node object and the lease that says it is alive.

mod capacity;
mod lease;
mod status;

pub use capacity::{Disk, KUBELET_VERSION, Machine, disk, low_memory, meminfo};
pub use lease::renew;
pub use status::{Reporter, Shape};
