//! The protocols as real kubectl speaks them. Without kubectl in `PATH` the tests pass without doing anything.

#![allow(clippy::unwrap_used)]

mod kubectl;
mod server;
