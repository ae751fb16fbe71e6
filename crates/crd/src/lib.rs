//! Custom resources without I/O: structural schemas, what they do to objects, and the rules of a
//! `CustomResourceDefinition` itself (upstream's apiextensions-apiserver).
//!
//! Owns: the compact schema tree, pruning, defaulting, validation, rules, columns, scale and selectable fields of custom
//! objects; the validation, preparation, conditions and OpenAPI of definitions. Must never know: storage, HTTP, the
//! clock (time is an argument).
//!
//! Read first: `structural/mod.rs` for the tree, then `resource/mod.rs` for what a served version can do.

pub mod apply;
pub mod cel;
pub mod definition;
pub(crate) mod format;
pub mod jsonpath;
pub(crate) mod number;
pub mod object;
pub mod openapi;
mod place;
pub mod resource;
pub mod rules;
pub mod structural;
pub mod validate;

pub use resource::Version;
pub use structural::Structural;
