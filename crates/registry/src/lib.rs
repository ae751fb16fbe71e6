//! The one door to state: generic create, read, update, delete and watch over the store.
//!
//! Owns: the watch cache (each object as the JSON bytes clients receive), what webhooks made of it, the write path
//! (strategy, in-process admission, metadata rules, guaranteed update, deletion) and the events watchers see. One strategy
//! per kind that needs more than its schema. Must never know: HTTP, authentication, wire formats other than JSON.
//! Read first: `registry.rs` (the methods), `strategy/mod.rs` (what a kind can change).

pub mod admission;
mod cache;
pub mod context;
mod converted;
mod cursor;
mod dispatch;
mod encode;
mod encodings;
mod errors;
mod filter;
mod items;
pub mod lifecycle;
mod list;
pub mod metrics;
pub mod object;
pub mod options;
mod read;
pub mod registry;
pub mod resource;
pub mod strategy;
mod token;
mod versions;
pub mod watch;
mod write;

use corten_meta::metadata;

pub use admission::{Admission, Attributes, Operation};
pub use cache::Undecided;
pub use context::{RequestForm, SERVER, User, WriteContext};
pub use errors::precondition_detail;
pub use items::{Items, OpenPage};
pub use lifecycle::NamespaceLifecycle;
pub use object::Object;
pub use options::{
    CreateOptions, DeleteOptions, ListOptions, ListPage, Preconditions, Propagation, UpdateOptions,
    VersionMatch, WatchOptions,
};
pub use registry::{Deleted, Options, Registry, Unhealthy, Updated};
pub use resource::{Resource, ResourceInfo, Subresource};
pub use strategy::{DeleteStep, GcPolicy, Strategy, StrategyContext};
pub use versions::Versions;
pub use watch::{WatchEvent, WatchStream};
pub use write::dedup_owners;
