//! The controllers of kube-controller-manager: each a pure plan over cached objects, and thin wiring around it.
//!
//! Owns: what becomes of workloads, namespaces, nodes and everything that is derived from other objects. Must never
//! know: how the server stores, how a node runs pods. Read first: `core/action.rs`, `replicaset/plan.rs`.

pub mod core;
pub mod daemonset;
pub mod deployment;
pub mod endpoints;
pub mod garbage;
pub mod job;
pub mod namespace;
pub mod nodes;
pub mod replicaset;
pub mod root_ca;
mod run;
pub mod service_account;
pub mod statefulset;

pub use run::{Config, run_all};
