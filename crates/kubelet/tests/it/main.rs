//! The agent as a whole, against an API server in memory and a runtime in memory.
#![allow(clippy::unwrap_used)]

mod cluster;
mod content;
mod health;
mod lifecycle;
mod runtime;
mod server;
