//! The object model every other crate speaks: identifiers of kinds and resources, the one API error type, field
//! errors, selectors, quantities, names, patches and times.
//!
//! Owns: shapes and rules that hold for every API object, whatever its kind. Must never know: a single kind, HTTP,
//! storage, or the clock (time is always an argument). No async, no I/O.
//!
//! Read first: `gvk.rs` for the identifiers, then `status.rs` for how an error reaches a client.

pub mod field;
pub mod fields;
mod gvk;
pub mod intstr;
pub mod json_patch;
pub mod labels;
pub mod metadata;
pub mod names;
pub mod number;
pub mod object;
pub mod patch;
pub mod quantity;
mod quote;
pub mod resource_version;
pub mod scan;
pub mod status;
pub mod time;
pub mod webhook;

pub use gvk::{GroupKind, GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource, api_version};
pub use intstr::IntOrString;
pub use quantity::Quantity;
pub use quote::{html_safe, is_printed, json_word, print_float, quote};
pub use status::{Result, Status};
