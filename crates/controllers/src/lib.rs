//! The controllers of kube-controller-manager: each a pure plan over cached objects, and thin wiring around it.
//!
//! Owns: what becomes of workloads, namespaces, nodes and everything that is derived from other objects. Must never
//! know: how the server stores, how a node runs pods. Read first: `core/action.rs`, `replicaset/plan.rs`.

pub mod bootstrap;
pub mod certificates;
pub mod cluster_roles;
pub mod core;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod garbage;
pub mod job;
pub mod keys;
pub mod legacy_token_cleaner;
pub mod load_balancer;
pub mod namespace;
pub mod nodes;
pub mod protection;
pub mod quota;
pub mod replicaset;
pub mod replication_controller;
pub mod root_ca;
mod run;
pub mod service_account;
pub mod service_account_tokens;
pub mod service_cidrs;
pub mod statefulset;
pub mod storage_migration;
pub mod ttl;

pub use run::{Config, run_all};
