//! The API kinds as data and one engine over them: decode, normalize, default, strategic merge, server-side apply,
//! OpenAPI and table cells, for every kind alike.
//!
//! Owns: what a kind looks like. Must never know: storage, HTTP, or who is asking. Tables under `src/generated` come from
//! `cargo xtask codegen`.
//!
//! Read first: `types.rs` for the model, then `typed.rs` for how a document is read against it.

pub mod apply;
pub mod convert;
mod declared;
pub mod decode;
pub mod defaults;
mod descriptions;
pub mod encode;
pub mod openapi;
pub mod resources;
pub mod strategic;
pub mod table;
pub mod typed;
pub mod types;
mod wire;

pub use defaults::default;
pub use resources::Resource;
pub use typed::{Mode, normalize};
pub use types::{TypeId, type_of};
