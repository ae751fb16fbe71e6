//! Containers on this node: the CRI seam, images, and the embedded runtime with its keeper process.
//!
//! Owns everything under its root and state directories, its cgroup subtree, and the keeper process. Must never know
//! the Kubernetes API, what a controller is, or how pod addresses are chosen ([`cri::PodNetwork`] is handed in).
//! Read first: `cri/service.rs` (what it promises) and `keeper/mod.rs` (who parents the containers).

pub mod cri;
pub mod embedded;
pub mod image;
pub mod keeper;
