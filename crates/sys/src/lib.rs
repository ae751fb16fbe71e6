//! Every effect on the kernel that Corten's other crates need, behind small safe functions.
//!
//! Owns mounts, namespaces, cgroups (v1, hybrid, v2), processes, their memory, its allocation and passing of file descriptors; it is the only crate
//! that may use `unsafe`. Must never know what a pod, an image or a cluster is.
//! Read first: `cgroup/mod.rs` and `namespace.rs`.

pub mod allocator;
pub mod capability;
pub mod cgroup;
mod error;
pub mod fdpass;
pub mod memory;
pub mod mounts;
pub mod namespace;
pub mod process;
pub mod seccomp;
pub mod terminal;

pub use error::{Error, Result};
