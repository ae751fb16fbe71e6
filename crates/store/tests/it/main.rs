//! The suite every engine must pass, run on the embedded one, and what only the embedded engine promises.
#![allow(clippy::unwrap_used)]

mod crash;
mod embedded;
mod model;
mod no_space;
mod suite;
