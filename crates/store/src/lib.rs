//! A revisioned key-value store in etcd's model: one trait, an embedded engine on fjall.
//!
//! Owns: revisions, transactions guarded by mod revision, watch from a revision, leases, compaction, durability.
//! Must never know: what the keys and values mean. Read first: `api.rs` (the trait), `embedded/writer.rs`
//! (the group commit).

pub mod api;
pub mod embedded;

pub use api::*;
