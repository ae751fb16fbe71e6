//! CustomResourceDefinitions: from a definition in the registry to kinds that are served, and back.
//!
//! Owns: which definitions are served and their conditions, their rows in the catalog, their bodies, their conversion, and
//! the end of their instances. Must never know: what a schema means (that is the `crd` crate's).
//!
//! Read first: `follow.rs` (what happens on a change of a definition), then `served.rs`.

pub mod body;
mod cleanup;
mod conditions;
mod conversion;
mod follow;
pub mod openapi;
mod served;
mod status;

pub use conversion::Reviewer;
pub use follow::start;
pub use served::{CustomKind, Kinds};

/// The group of definitions.
pub const GROUP: &str = "apiextensions.k8s.io";
/// The resource of definitions.
pub const PLURAL: &str = "customresourcedefinitions";
